// SPDX-License-Identifier: GPL-2.0
//! How a connection is made.

use core::{
    mem::{offset_of, size_of},
    ptr::null_mut,
    sync::atomic::{AtomicU32, Ordering},
};

use conntrack::{
    proto::{self, Kept, WORDS},
    status::Status,
    time::Ticks,
    tuple::{Direction, Family, Tuple},
    zone::Zone,
};
use kernel::prelude::*;
use rcu_table::{Link, Ref};

use super::{
    account::{Clock, Sums},
    features::{own, Features},
    Apart, Conn, Counted, PREFIX,
};
use crate::{
    cache::Cache,
    extension::Extension,
    namespace::{self, Census},
};

/// What is written of the prefix when a connection is made, by `Conn::new`: where, and how many bytes.
const WRITTEN: [(usize, usize); 10] = [
    (
        offset_of!(raw::nf_conn, ct_general),
        size_of::<raw::refcount_t>(),
    ),
    // Where locks are debugged there is more in it; there may be nothing on one CPU.
    (
        offset_of!(raw::nf_conn, lock),
        if size_of::<raw::spinlock_t>() < 4 {
            0
        } else {
            4
        },
    ),
    (offset_of!(raw::nf_conn, timeout), size_of::<u32>()),
    #[cfg(CONFIG_NF_CONNTRACK_ZONES)]
    (offset_of!(raw::nf_conn, zone), size_of::<Zone>()),
    #[cfg(not(CONFIG_NF_CONNTRACK_ZONES))]
    (0, 0),
    (
        offset_of!(raw::nf_conn, tuplehash),
        size_of::<[raw::nf_conntrack_tuple_hash; 2]>(),
    ),
    (offset_of!(raw::nf_conn, status), size_of::<u64>()),
    #[cfg(CONFIG_NET_NS)]
    (offset_of!(raw::nf_conn, ct_net), size_of::<usize>()),
    #[cfg(not(CONFIG_NET_NS))]
    (0, 0),
    // A part of the state is there.
    (offset_of!(raw::nf_conn, master), size_of::<usize>()),
    #[cfg(all(CONFIG_NF_CONNTRACK_MARK, CONFIG_NF_CONNTRACK_SECMARK))]
    (offset_of!(raw::nf_conn, mark), size_of::<[u32; 2]>()),
    #[cfg(not(all(CONFIG_NF_CONNTRACK_MARK, CONFIG_NF_CONNTRACK_SECMARK)))]
    (0, 0),
    (offset_of!(raw::nf_conn, ext), size_of::<usize>()),
];

#[cfg(all(CONFIG_NF_CONNTRACK_MARK, CONFIG_NF_CONNTRACK_SECMARK))]
const _: () =
    assert!(offset_of!(raw::nf_conn, secmark) == offset_of!(raw::nf_conn, mark) + size_of::<u32>());

/// The words of the prefix of which that is not all.
const LEFT: [bool; PREFIX / size_of::<u64>()] = {
    let mut written = [0_u8; PREFIX / size_of::<u64>()];
    let mut part = 0;
    while part < WRITTEN.len() {
        let (mut byte, len) = WRITTEN[part];
        let end = byte + len;
        while byte < end {
            written[byte / size_of::<u64>()] |= 1 << (byte % size_of::<u64>());
            byte += 1;
        }
        part += 1;
    }
    let mut left = [false; PREFIX / size_of::<u64>()];
    let mut at = 0;
    while at < left.len() {
        left[at] = written[at] != u8::MAX;
        at += 1;
    }
    left
};

/// What a new connection is made of.
#[derive(Clone, Copy)]
pub struct NewConn {
    /// The tuple of its first packet.
    pub original: Tuple,
    /// The tuple that an answer will have.
    pub reply: Tuple,
    /// The hash of both, or that of the second apart, where its zone is another or no answer would
    /// have it.
    pub hashes: (u32, Option<u32>),
    /// The protocol's state after the first packet.
    pub state: Kept,
    /// How long it lives, from its confirmation on.
    pub timeout: Ticks,
    /// Bits that it starts with.
    pub status: Status,
    /// The zone that its tuples are in.
    pub zone: Zone,
    /// The firewall mark and the security mark.
    pub marks: [u32; 2],
    /// What else it has.
    pub features: Features,
}

/// What rules wish for connections: each a connection that is none, to go with a packet from the
/// rule to the tracker. They belong to no namespace: a rule may go after its namespace's tracker.
pub struct Templates(());

/// How many templates there are.
pub(super) static TEMPLATES: AtomicU32 = AtomicU32::new(0);

impl Templates {
    /// No templates yet.
    pub fn none() -> Self {
        Self(())
    }

    /// A template of connections in `zone` that have what `extension` has.
    pub fn make(
        &self,
        cache: &Cache,
        zone: Zone,
        extension: Option<KBox<Extension>>,
    ) -> Option<Ref<Conn>> {
        let nothing = Tuple::new(Family::Ipv4, 0, [0; 4], [0; 2], [0; 4], [0; 2]);
        let new = NewConn {
            original: nothing,
            reply: nothing,
            hashes: (0, None),
            state: [0; WORDS],
            timeout: Ticks::default(),
            // Not on its way into the table: NFQUEUE drops what is, if others hold it too.
            status: Status::TEMPLATE | Status::CONFIRMED,
            zone,
            marks: [0; 2],
            features: Features::default(),
        };
        Conn::new(cache, None, new, extension)
    }

    /// Waits for the packets and rules that have one. May sleep.
    pub fn wait(&self) {
        namespace::wait_for(&TEMPLATES);
    }
}

impl Drop for Templates {
    fn drop(&mut self) {
        self.wait(); // Each has memory of the cache.
    }
}

impl Conn {
    /// Makes a connection that only the caller knows; callable from any context.
    ///
    /// `None` where there is no memory. A template has no census. `extension` is what few have. (Apart, so that
    /// all the rest need not be in memory.)
    #[inline(always)]
    pub(crate) fn new(
        cache: &Cache,
        census: Option<&Census>,
        new: NewConn,
        extension: Option<KBox<Extension>>,
    ) -> Option<Ref<Self>> {
        let (first, second) = new.hashes;
        let behind = new.features.account() && proto::is_large(new.original.protocol());
        let this = cache.alloc(behind, second.is_some())?;
        let bits = if second.is_some() { own::APART } else { 0 };
        let bits = if behind { bits | own::BEHIND } else { bits };
        let timed = |extension: &KBox<Extension>| extension.extras().timeouts.is_some();
        let timed = extension.as_ref().is_some_and(timed);
        let bits = if timed { bits | own::TIMED } else { bits };
        let conn = this.as_ptr();
        let head = conn.cast::<raw::nf_conn>();
        // SAFETY: the memory is of the size and alignment of `Conn`, with an account behind it of
        // `Counted`, and only ours; each field written lies within the prefix or is a field of
        // either.
        unsafe {
            // What is not written below is zero. (Volatile: or else the compiler calls memset, which
            // takes three times as long.)
            for (at, left) in LEFT.iter().enumerate() {
                if *left {
                    conn.cast::<u64>().add(at).write_volatile(0);
                }
            }
            if behind {
                (&raw mut (*conn.cast::<Counted>()).sums).write(Sums::default());
                (&raw mut (*conn.cast::<Counted>()).clock).write(Clock::default());
            }
            (&raw mut (*head).ct_general.use_).cast::<i32>().write(1);
            raw::ipct_spin_lock_init((&raw mut (*head).lock).cast());
            (&raw mut (*head).timeout).write(new.timeout.as_u32());
            (&raw mut (*head).status)
                .cast::<u64>()
                .write(u64::from(new.status.bits()) | new.features.word() | bits);
            #[cfg(CONFIG_NF_CONNTRACK_ZONES)]
            (&raw mut (*head).zone).cast::<Zone>().write(new.zone);
            let [_mark, _secmark] = new.marks;
            #[cfg(CONFIG_NF_CONNTRACK_MARK)]
            (&raw mut (*head).mark).write(_mark);
            #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
            (&raw mut (*head).secmark).write(_secmark);
            (&raw mut (*head).ext)
                .write(extension.map_or(null_mut(), |extension| KBox::into_raw(extension).cast()));
            #[cfg(CONFIG_NET_NS)]
            (&raw mut (*head).ct_net)
                .cast::<*const raw::net>()
                .write(census.map_or(&raw const raw::init_net, Census::net));
            if let Some(second) = second {
                (&raw mut (*conn.cast::<Apart>()).second).write(Link::new(second));
            }
            (&raw mut (*head).tuplehash[0].hnnode)
                .cast::<Link>()
                .write(Link::new(first));
            for (at, tuple) in [
                (Direction::Original, new.original),
                (Direction::Reply, new.reply),
            ] {
                let hash = &raw mut (*head).tuplehash[at.index()];
                (&raw mut (*hash).tuple)
                    .cast::<Tuple>()
                    .write(tuple.with_direction(at));
            }
            (*conn).places().set(&new.state);
        }
        match census {
            Some(census) => census.enter(),
            None => drop(TEMPLATES.fetch_add(1, Ordering::Relaxed)),
        }
        // SAFETY: fully made, with a count of one, which the reference takes over.
        Some(unsafe { Ref::from_raw(this) })
    }
}
