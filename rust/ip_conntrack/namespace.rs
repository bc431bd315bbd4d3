// SPDX-License-Identifier: GPL-2.0
//! What the tracker keeps for each namespace.

use conntrack::{
    packet::{Class, Packet},
    timeouts::Config,
    tuple::Tuple,
};
use kernel::prelude::*;
use netfilter::{
    Conn, Context, Net, PerNet, ProcFile, ReadSide, Skb, Tracker, Verdict, Window, HZ,
};
use rcu_table::Ref;

use crate::{confirm, expire, list, shared::Shared, track};

/// The namespaces that are tracked.
pub(crate) static NAMESPACES: PerNet<Namespace> = PerNet::new();

/// The tracker's part of a namespace.
pub(crate) struct Namespace {
    pub(crate) shared: Shared,
    pub(crate) config: Config,
}

/// Its files. Readable for the namespace's root alone: they tell who talks to whom.
static FILES: [ProcFile<Namespace>; 2] = [
    ProcFile::new::<list::Connections>(c"ip_conntrack", 0o440),
    ProcFile::new::<list::Expectations>(c"ip_conntrack_expect", 0o440),
];

impl Tracker for Namespace {
    type Shared = Shared;

    fn namespaces() -> &'static PerNet<Self> {
        &NAMESPACES
    }

    fn new(shared: &Shared) -> Result<Self> {
        Ok(Self {
            shared: shared.clone(),
            config: Config::defaults(HZ),
        })
    }

    fn files() -> &'static [ProcFile<Self>] {
        &FILES
    }

    #[inline]
    fn track(context: &mut Context<'_, Self>) -> Verdict {
        track::packet(context)
    }

    #[inline]
    fn confirm(net: &Net<Self>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict {
        confirm::packet(net, skb, read)
    }

    fn find(net: &Net<Self>, tuple: &Tuple, read: ReadSide<'_>) -> Option<Ref<Conn>> {
        let shared = &net.tracker().shared;
        let hash = shared.hash(net, tuple);
        shared.find(net, tuple, hash, read).map(|(conn, _)| conn)
    }

    fn answer(net: &Net<Self>, skb: &Skb, read: ReadSide<'_>) -> Option<Tuple> {
        let mut window = Window::new();
        let packet = Packet::parse(
            conntrack::tuple::Family::Ipv4,
            skb.bytes(&mut window),
        )
        .ok()?;
        let Class::Flow(tuple) = packet.classify().ok()? else {
            return None;
        };
        let shared = &net.tracker().shared;
        let hash = shared.hash(net, &tuple);
        let (conn, direction) = shared.find(net, &tuple, hash, read)?;
        Some(*conn.tuple(direction.other()))
    }

    fn set_closing(net: &Net<Self>, conn: &Conn) {
        track::close(net, conn);
    }

    fn flush(net: &Net<Self>) {
        expire::flush(net);
    }
}
