// SPDX-License-Identifier: GPL-2.0
//! The match `connlimit`: how many connections a host, or a network, has at once.
//!
//! Each rule has a count for each address. Its packet's connection is counted in the one of the
//! packet's address, until it is over (`netfilter::Tally`): so the count is right without looking
//! at the connections that it counts, of which there may be many.

use core::{
    ffi::CStr,
    ops::Deref,
    sync::atomic::{AtomicU32, Ordering},
};

use conntrack::{
    packet,
    rule::{connlimit, Answer, Refused},
    status::Status,
    time::{Instant, Ticks},
    tuple::Tuple,
    zone::Zone,
};
use kernel::{
    alloc::Flags,
    cpu::CpuId,
    prelude::*,
    rbtree::{Entry, RBTree, RBTreeNodeReservation},
    sync::Arc,
};
use netfilter::{
    xtables::{Match, Part, Place},
    Attached, Conn, Guarded, Net, Packet, ReadSide, Tally, Window,
};
use rcu_table::Ref;

use crate::namespace::Namespace;

/// How many locks and trees a rule has; a power of two.
const SLOTS: usize = 64;

/// How many addresses are looked at for each new one whether anybody has connections there still.
/// More than one, so that they become fewer.
const SWEEP: usize = 4;

/// The number of a zone; an address, masked.
type Key = (u16, [u32; 4]);

/// The match `connlimit`.
pub struct Connlimit;

/// What is kept for a rule of it.
pub struct Limit {
    slots: KVec<KBox<Guarded<Slot>>>,
    early: Early,
}

/// Some of a rule's counts.
struct Slot {
    counts: RBTree<Key, Arc<Count>>,
    /// Where the next sweep begins.
    next: Key,
}

/// The count of an address.
pub(super) struct Count {
    tally: Arc<Tally>,
    /// How many are working with it: it stays in its slot.
    users: AtomicU32,
}

/// A count that somebody is working with.
pub(super) struct InUse(Arc<Count>);

impl Deref for InUse {
    type Target = Arc<Tally>;

    fn deref(&self) -> &Arc<Tally> {
        &self.0.tally
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Release);
    }
}

impl Count {
    /// Nothing is counted yet.
    pub(super) fn new(flags: Flags) -> Result<Arc<Self>> {
        let tally = Tally::new(flags)?;
        let users = AtomicU32::new(0);
        Ok(Arc::new(Self { tally, users }, flags)?)
    }

    /// Whoever has it counts no more: connections that are in it forget it.
    pub(super) fn retire(&self) {
        self.tally.retire();
    }

    /// In a slot: called with that locked, so that it stays there.
    pub(super) fn take(this: &Arc<Self>) -> InUse {
        this.users.fetch_add(1, Ordering::Relaxed);
        InUse(this.clone())
    }

    /// In a slot: called with that locked. Whether it can go.
    pub(super) fn is_idle(&self) -> bool {
        self.users.load(Ordering::Acquire) == 0 && self.tally.count() == 0
    }
}

impl Slot {
    /// Takes out some of the counts that count nobody.
    fn sweep(&mut self) {
        let Self { counts, next } = self;
        let mut cursor = counts.cursor_lower_bound_mut(next);
        for _ in 0..SWEEP {
            let Some(here) = cursor else { break };
            cursor = if here.current().1.is_idle() {
                here.remove_current().0
            } else {
                here.move_next()
            };
        }
        *next = cursor.map_or_else(Key::default, |here| *here.current().0);
    }
}

impl Limit {
    fn new() -> Result<Self> {
        let mut slots = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            let slot = Slot {
                counts: RBTree::new(),
                next: Key::default(),
            };
            slots.push(Guarded::new(slot, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            early: Early::new(GFP_KERNEL)?,
        })
    }

    fn slot(&self, (zone, words): &Key) -> Option<&Guarded<Slot>> {
        // Who makes addresses meet in a slot finds a tree there.
        let mix = |hash: u32, word: &u32| (hash ^ word).wrapping_mul(0x9e37_79b1).rotate_left(15);
        let hash = words
            .iter()
            .fold(u32::from(*zone), mix)
            .wrapping_mul(0x85eb_ca6b);
        // CAST: a few bits of a word.
        let at = (hash >> 16) as usize % SLOTS;
        self.slots.get(at).map(|slot| &**slot)
    }

    /// The count of an address; `None` where there is no memory for a new one.
    fn count(&self, key: Key) -> Option<InUse> {
        let slot = self.slot(&key)?;
        let known = slot.with(|slot| slot.counts.get(&key).map(Count::take));
        if known.is_some() {
            return known;
        }
        let room = RBTreeNodeReservation::new(GFP_ATOMIC).ok()?;
        let new = Count::new(GFP_ATOMIC).ok()?;
        Some(slot.with(|slot| {
            let count = match slot.counts.entry(key) {
                Entry::Occupied(known) => Count::take(known.get()),
                Entry::Vacant(place) => Count::take(place.insert(new, room)),
            };
            slot.sweep();
            count
        }))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.with(|slot| {
                for count in slot.counts.values() {
                    count.retire();
                }
            });
        }
    }
}

/// Packets that a rule has counted before their connections were there: in the table raw, which
/// is asked before the tracker. Who comes next looks what has become of them.
pub(super) struct Early {
    list: KBox<Guarded<KVec<Waiting>>>,
    /// How many there are.
    count: AtomicU32,
}

struct Waiting {
    tuple: Tuple,
    zone: Zone,
    count: InUse,
    since: Instant,
    cpu: u32,
}

impl Waiting {
    /// Counts it.
    fn new(tuple: Tuple, zone: Zone, count: InUse) -> Self {
        count.add();
        Self {
            tuple,
            zone,
            count,
            since: netfilter::now(),
            cpu: this_cpu(),
        }
    }

    /// Whether the packet's way is over: on the same CPU it is when the next one comes.
    fn has_gone(&self) -> bool {
        const LONG: Ticks = Ticks::new(2);
        let long_ago = self.since.add(LONG).remaining(netfilter::now()).is_none();
        long_ago || self.cpu == this_cpu()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.count.sub();
    }
}

/// The number of the CPU that runs this, or has run it just now.
fn this_cpu() -> u32 {
    CpuId::current().as_u32()
}

impl Early {
    /// How many may wait.
    const MOST: usize = 64;
    /// How many there is room for at first: most rules never need more.
    const FIRST: usize = 4;
    /// How many are looked after for each packet: more than come.
    const STEPS: usize = 8;

    pub(super) fn new(flags: Flags) -> Result<Self> {
        Ok(Self {
            list: Guarded::new(KVec::new(), flags)?,
            count: AtomicU32::new(0),
        })
    }

    /// Has one wait; `false` where there is no memory.
    fn push(&self, waiting: Waiting) -> bool {
        let (len, most) = self.list.with(|list| (list.len(), list.capacity()));
        let mut room = KVec::new();
        if len == most && most < Self::MOST {
            let more = most.saturating_mul(2).clamp(Self::FIRST, Self::MOST);
            match KVec::with_capacity(more, GFP_ATOMIC) {
                Ok(more) => room = more,
                Err(_) if most == 0 => return false,
                Err(_) => {} // The first of them gives way.
            }
        }
        let gone = self.list.with(|list| {
            if room.capacity() > list.capacity() {
                for one in core::mem::replace(list, room) {
                    let _ = list.push_within_capacity(one);
                }
            }
            let gone = if list.len() >= list.capacity().min(Self::MOST) {
                list.remove(0).ok()
            } else {
                None
            };
            let _ = list.push_within_capacity(waiting);
            self.note(list);
            gone
        });
        drop(gone);
        true
    }

    fn pop(&self) -> Option<Waiting> {
        self.list.with(|list| {
            let first = list.remove(0).ok();
            self.note(list);
            first
        })
    }

    fn note(&self, list: &KVec<Waiting>) {
        // CAST: a few.
        self.count.store(list.len() as u32, Ordering::Relaxed);
    }

    /// Looks what has become of those who have waited longest.
    pub(super) fn settle(&self, net: &Net<Namespace>, read: ReadSide<'_>) {
        for _ in 0..Self::STEPS {
            if self.count.load(Ordering::Relaxed) == 0 {
                return;
            }
            let Some(first) = self.pop() else { return };
            match find(net, first.zone, &first.tuple, read) {
                Some(conn) => {
                    let _ = Conn::count_in(&conn, &first.count);
                }
                None if first.has_gone() => {}
                None => {
                    self.push(first);
                    return;
                }
            }
        }
    }
}

/// The connection of a tuple.
fn find(net: &Net<Namespace>, zone: Zone, tuple: &Tuple, read: ReadSide<'_>) -> Option<Ref<Conn>> {
    let shared = &net.tracker().shared;
    Some(shared.find(net, zone, tuple, read)?.0)
}

/// Which connections a rule counts that are long open when it meets them first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LongOpen {
    /// None.
    None,
    /// The first of those with an address.
    First,
}

/// How many connections are in the count of a packet, that of the packet included; `None` where nobody can tell.
/// `of` finds the count of a zone and of addresses; `is_above` tells whether more are counted than a rule lets pass.
pub(super) fn connections(
    packet: &Packet<'_>,
    early: &Early,
    long_open: LongOpen,
    is_above: impl Fn(u32) -> bool,
    of: impl FnOnce(Zone, [[u32; 4]; 2]) -> Option<InUse>,
) -> Option<u32> {
    let net = packet.net::<Namespace>()?;
    let family = packet.family()?;
    let mut window = Window::new();
    let bytes = packet.skb.bytes(&mut window);
    let addresses = packet::addresses_of(family, bytes)?;
    let attached = packet.skb.attached();
    let zone = match attached {
        Attached::Conn(conn, _) => conn.zone(),
        Attached::Template(template) => template.zone().of_mark(packet.skb.mark()),
        Attached::None | Attached::Untracked => Zone::DEFAULT,
    };
    early.settle(net, packet.read);
    let count = of(zone, addresses)?;
    let known = match packet.skb.conn() {
        Some((conn, _)) => Ok(conn),
        None => {
            let tuple = packet::flow_of(family, bytes)?;
            find(net, zone, &tuple, packet.read).ok_or(tuple)
        }
    };
    match known {
        Ok(conn) => {
            add(&conn, &count, long_open)?;
            Some(settled(net, is_above, &count))
        }
        Err(tuple) => {
            let waiting = Waiting::new(tuple, zone, count);
            let connections = settled(net, is_above, &waiting.count);
            early.push(waiting).then_some(connections)
        }
    }
}

/// How many are counted.
fn settled(net: &Net<Namespace>, is_above: impl Fn(u32) -> bool, count: &Tally) -> u32 {
    if is_above(count.count()) {
        // The time of some may be over, and nobody has looked at them since.
        for conn in count.expired(netfilter::now()).iter().flatten() {
            net.tracker().shared.kill(conn);
        }
    }
    count.count()
}

/// Counts a connection, unless it was there before its count; `None` where there is no memory.
fn add(conn: &Ref<Conn>, count: &Arc<Tally>, long_open: LongOpen) -> Option<()> {
    let status = conn.status();
    let confirmed = status.contains(Status::CONFIRMED);
    let is_first = long_open == LongOpen::First && count.count() == 0;
    if confirmed && status.contains(Status::ASSURED) && !is_first {
        // As with stock, which wants to be told of connections when they begin.
        return Some(());
    }
    if !Conn::count_in(conn, count) {
        return None;
    }
    // Asked afterwards: if it is over from here on, whoever sees that takes it out.
    if confirmed && Conn::lock(conn).is_over() {
        conn.uncount();
    }
    Some(())
}

impl Part for Connlimit {
    const NAME: &'static CStr = c"connlimit";
    const REVISION: u8 = 1;
    type Rule = connlimit::Connlimit;
    type Kept = Limit;

    fn check(_: &Self::Rule, _: &Place<'_>) -> Result<Limit, Refused> {
        Limit::new().map_err(|_| Refused::NoMemory)
    }
}

impl Match for Connlimit {
    fn matches(rule: &Self::Rule, limit: &Limit, packet: &Packet<'_>) -> Answer {
        let of = |zone: Zone, [src, dst]: [[u32; 4]; 2]| {
            limit.count((zone.number(), rule.key(src, dst)))
        };
        let is_above = |count| rule.is_above(count);
        match connections(packet, &limit.early, LongOpen::First, is_above, of) {
            // The packet's own counts, be it over.
            Some(connections) => rule.matches(connections.max(1)).into(),
            None => Answer::Drop,
        }
    }
}
