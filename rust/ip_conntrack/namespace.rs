// SPDX-License-Identifier: GPL-2.0
//! What the tracker keeps for each namespace.

use core::sync::atomic::{AtomicU32, Ordering};

use conntrack::{
    packet::{Class, Packet},
    setting::Setting,
    timeouts::Config,
    tuple::Tuple,
    zone::Zone,
};
use kernel::prelude::*;
use netfilter::{
    sysctl::Directory, Census, Conn, Context, Net, PerNet, Place, ProcFile, ReadSide, Skb, Tracker,
    Verdict, Window, HZ,
};
use rcu_table::Ref;

use crate::{
    confirm,
    counts::{self, Counts},
    expire, list,
    policies::Policies,
    settings,
    shared::Shared,
    track,
    wanted::Wanted,
};

/// The namespaces that are tracked.
pub(crate) static NAMESPACES: PerNet<Namespace> = PerNet::new();

/// The tracker's part of a namespace.
pub struct Namespace {
    pub(crate) shared: Shared,
    pub(crate) config: Config,
    pub(crate) counts: Counts,
    pub(crate) policies: Policies,
    /// The tick in which nothing was found to evict.
    pub(crate) exhausted: Setting<u32>,
    pub(crate) wanted: Wanted,
    /// How many rules work with labels: connections can have them if there are any.
    pub(crate) labels_used: AtomicU32,
    /// The most connections that it may have, if fewer than the first one may.
    pub(crate) own_max: Setting<u32>,
    /// Whether helpers that have ports of their own read what goes to these ports.
    pub(crate) assign_helpers: Setting<bool>,
}

/// Its files. Those that tell who talks to whom are for the namespace's root alone.
static FILES: [ProcFile<Namespace>; 7] = [
    ProcFile::new::<list::Connections<false>>(Place::Net, c"ip_conntrack", 0o440),
    ProcFile::new::<list::Connections<true>>(Place::Net, c"nf_conntrack", 0o440),
    ProcFile::new::<list::Expectations<false>>(Place::Net, c"ip_conntrack_expect", 0o440),
    ProcFile::new::<list::Expectations<true>>(Place::Net, c"nf_conntrack_expect", 0o440),
    ProcFile::new::<counts::Invalid>(Place::Net, c"ip_conntrack_invalid", 0o440),
    ProcFile::new::<counts::Stat>(Place::Stat, c"ip_conntrack", 0o444),
    ProcFile::new::<counts::Stat>(Place::Stat, c"nf_conntrack", 0o444),
];

impl Namespace {
    /// The most connections that it may have.
    #[inline]
    pub(crate) fn max(&self) -> u32 {
        self.own_max.get().min(self.shared.max())
    }

    /// Whether new connections can have labels.
    #[inline]
    pub(crate) fn has_labels(&self) -> bool {
        self.labels_used.load(Ordering::Relaxed) != 0
    }
}

impl Tracker for Namespace {
    type Shared = Shared;

    fn namespaces() -> &'static PerNet<Self> {
        &NAMESPACES
    }

    fn new(shared: &Shared, census: &Census) -> Result<Self> {
        let defaults = shared.defaults();
        Ok(Self {
            shared: shared.clone(),
            config: Config::defaults(HZ),
            counts: Counts::new()?,
            policies: Policies::new()?,
            exhausted: Setting::new(netfilter::now().as_ticks().wrapping_sub(1)),
            wanted: Wanted::new(defaults.acct, defaults.timestamp),
            labels_used: AtomicU32::new(0),
            own_max: Setting::new(u32::MAX),
            // Who loads a helper's module means it; one image with all of them means nothing.
            assign_helpers: Setting::new(census.is_first() && !cfg!(ip_conntrack_static)),
        })
    }

    fn files() -> &'static [ProcFile<Self>] {
        &FILES
    }

    fn directories() -> &'static [Directory<Self>] {
        &settings::DIRECTORIES
    }

    #[inline(always)]
    fn track(context: &mut Context<'_, Self>) -> Verdict {
        track::packet(context)
    }

    #[inline]
    fn confirm(net: &Net<Self>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict {
        confirm::packet(net, skb, read)
    }

    fn find(net: &Net<Self>, tuple: &Tuple, read: ReadSide<'_>) -> Option<Ref<Conn>> {
        let shared = &net.tracker().shared;
        shared
            .find(net, Zone::DEFAULT, tuple, read)
            .map(|(conn, _)| conn)
    }

    fn answer(net: &Net<Self>, skb: &Skb, read: ReadSide<'_>) -> Option<Tuple> {
        let mut window = Window::new();
        let packet = Packet::parse(conntrack::tuple::Family::Ipv4, skb.bytes(&mut window)).ok()?;
        let Class::Flow(tuple) = packet.classify().ok()? else {
            return None;
        };
        let shared = &net.tracker().shared;
        let (conn, direction) = shared.find(net, Zone::DEFAULT, &tuple, read)?;
        Some(*conn.tuple(direction.other()))
    }

    fn set_closing(net: &Net<Self>, conn: &Ref<Conn>) {
        track::close(net, conn);
    }

    fn flush(net: &Net<Self>) {
        expire::flush(net);
    }
}
