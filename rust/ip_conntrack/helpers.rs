// SPDX-License-Identifier: GPL-2.0
//! The registry of helpers: what other modules call to have one of theirs read packets.
//!
//! `../helpers/README.md` is the guide.

use core::sync::atomic::{AtomicU64, Ordering};

use conntrack::{
    helper::{Helper, Port},
    tuple::Tuple,
};
use kernel::{prelude::*, sync::Arc};
use netfilter::{Conn, Guarded, Helper as Handle, ModuleRef, Reading, PORTS};

use crate::{
    events::Cause,
    expect,
    namespace::{Namespace, NAMESPACES},
    shared::Shared,
};

/// The helpers of all namespaces.
pub(crate) struct Helpers {
    list: KBox<Guarded<List>>,
    /// A bit for each port that a helper has of its own, by its last six bits: whoever opens a
    /// connection to another port need not look at the list.
    ports: AtomicU64,
}

struct List {
    helpers: KVec<Registered>,
    /// The helpers that rules are having loaded.
    loading: KVec<KVec<u8>>,
}

struct Registered {
    helper: Arc<Handle>,
    ports: [Option<Port>; PORTS],
}

/// The bit of a port.
fn bit(port: u16) -> u64 {
    1_u64.wrapping_shl(u32::from(port))
}

impl Helpers {
    pub(crate) fn new() -> Result<Self> {
        let list = List {
            helpers: KVec::new(),
            loading: KVec::new(),
        };
        Ok(Self {
            list: Guarded::new(list, GFP_KERNEL)?,
            ports: AtomicU64::new(0),
        })
    }

    /// Adds a helper. One that a rule has loaded gets no ports of its own: only rules say what it
    /// reads.
    fn add(&self, helper: &Arc<Handle>, ports: &[Port]) -> Result {
        let room = KVec::with_capacity(PORTS, GFP_KERNEL)?;
        let mut new = Registered {
            helper: helper.clone(),
            ports: [None; PORTS],
        };
        for (to, from) in new.ports.iter_mut().zip(ports) {
            *to = Some(*from);
        }
        let mut by_rule = false;
        let added = self.list.with(|list| {
            if list.helpers.capacity() == 0 {
                list.helpers = room;
            }
            by_rule = list.loading.iter().any(|name| **name == *helper.name());
            if by_rule {
                new.ports = [None; PORTS];
            }
            if list.helpers.iter().any(|known| known.clashes(&new)) {
                return Err(EEXIST);
            }
            list.helpers.push(new, GFP_ATOMIC)?;
            self.note_ports(list);
            Ok(())
        });
        if by_rule {
            pr_info!("a helper that a rule has loaded reads only what rules say\n");
        }
        added
    }

    /// While `f` runs, a rule has the helper of this name loaded.
    fn loading(&self, name: &[u8], f: impl FnOnce()) -> Result {
        let mut copy = KVec::with_capacity(name.len(), GFP_KERNEL)?;
        copy.extend_from_slice(name, GFP_KERNEL)?;
        self.list.with(|list| list.loading.push(copy, GFP_ATOMIC))?;
        f();
        let done = self.list.with(|list| {
            let at = list.loading.iter().position(|one| **one == *name)?;
            list.loading.remove(at).ok()
        });
        drop(done);
        Ok(())
    }

    fn remove(&self, helper: &Arc<Handle>) {
        let gone = self.list.with(|list| {
            let mut at = list.helpers.iter();
            let at = at.position(|known| core::ptr::eq(&*known.helper, &**helper))?;
            let gone = list.helpers.remove(at).ok();
            self.note_ports(list);
            gone
        });
        drop(gone);
    }

    fn note_ports(&self, list: &List) {
        let ports = list.helpers.iter().flat_map(|known| &known.ports).flatten();
        let bits = ports.fold(0, |bits, port| bits | bit(port.get()));
        self.ports.store(bits, Ordering::Relaxed);
    }

    /// The helper of a name for a transport protocol, with its module held.
    fn hold(&self, name: &[u8], protocol: u8) -> Option<(Arc<Handle>, ModuleRef)> {
        self.list.with(|list| {
            let known = list
                .helpers
                .iter()
                .find(|known| known.helper.name() == name && known.helper.reads(protocol))?;
            Some((known.helper.clone(), known.helper.hold_module()?))
        })
    }

    /// The helper that has a port of its own.
    fn of_port(&self, port: u16, protocol: u8) -> Option<Arc<Handle>> {
        let port = Some(Port::new(port)?);
        self.list.with(|list| {
            let mut helpers = list.helpers.iter();
            let known = helpers
                .find(|known| known.ports.contains(&port) && known.helper.reads(protocol))?;
            Some(known.helper.clone())
        })
    }
}

impl Registered {
    /// Whether both have the same name, or a port, and a transport protocol in common.
    fn clashes(&self, other: &Self) -> bool {
        let protocol =
            (0..=u8::MAX).any(|number| self.helper.reads(number) && other.helper.reads(number));
        let port = self
            .ports
            .iter()
            .flatten()
            .any(|port| other.ports.contains(&Some(*port)));
        protocol && (port || self.helper.name() == other.helper.name())
    }
}

/// A helper reads packets while this lives. To drop it may sleep; what the helper has expected
/// goes with it.
pub struct Registration<H: Helper> {
    reading: Reading<H>,
    shared: Shared,
}

impl<H: Helper> Registration<H> {
    /// Registers a helper for rules (`-j CT --helper NAME`) and, where the administrator has
    /// loaded `module`, for connections to the ports that this has as its parameter `ports`, or
    /// else to the helper's own, in namespaces whose setting `net.netfilter.nf_conntrack_helper`
    /// is 1. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a name of more than 15 bytes, a port 0, or policies that are none or too many;
    /// `EEXIST` where another has the name or a port; `ENOMEM`.
    pub fn new(module: &'static ThisModule, helper: H) -> Result<Self> {
        let ports = netfilter::ports(module, H::PORT)?;
        let this = Self {
            reading: Reading::new(module, helper)?,
            shared: shared()?,
        };
        add(&this.shared, this.reading.handle(), &ports)?;
        Ok(this)
    }
}

impl<H: Helper> Drop for Registration<H> {
    fn drop(&mut self) {
        remove(&self.shared, self.reading.handle());
    }
}

// Not generic, so that they are compiled into the core.

#[inline(never)]
fn shared() -> Result<Shared> {
    NAMESPACES.shared().ok_or(ENODEV)
}

#[inline(never)]
fn add(shared: &Shared, helper: &Arc<Handle>, ports: &[Port]) -> Result {
    shared.helpers().add(helper, ports)
}

#[inline(never)]
fn remove(shared: &Shared, helper: &Arc<Handle>) {
    shared.helpers().remove(helper);
    helper.retire();
    let its = |conn: &Conn| {
        conn.session()
            .is_some_and(|session| core::ptr::eq(&**session.helper(), &**helper))
    };
    expect::sweep(shared, Cause::NOBODY, |expectation| {
        its(expectation.master())
    });
}

/// The helper that a rule names, with its module held; it is loaded if need be. May sleep.
pub(crate) fn for_rule(
    shared: &Shared,
    name: &[u8],
    protocol: u8,
) -> Option<(Arc<Handle>, ModuleRef)> {
    let helpers = shared.helpers();
    helpers.hold(name, protocol).or_else(|| {
        let load = || netfilter::request_helper(name);
        helpers.loading(name, load).ok()?;
        helpers.hold(name, protocol)
    })
}

/// Whether there is a helper of a name for a transport protocol.
pub(crate) fn is_known(shared: &Shared, name: &[u8], protocol: u8) -> bool {
    shared.helpers().hold(name, protocol).is_some()
}

/// Whether there are helpers at all: what they cost others is measured beside modules that know of
/// none (tools/bench.sh).
pub(crate) const KNOWN: bool = !cfg!(ip_conntrack_bare);

/// Whether a new connection may be to a helper's port.
#[inline]
pub(crate) fn may_be_assigned(tracker: &Namespace, tuple: &Tuple) -> bool {
    if !KNOWN {
        return false;
    }
    let ports = tracker.shared.helpers().ports.load(Ordering::Relaxed);
    ports & bit(u16::from_be_bytes(tuple.dst_id())) != 0 && tracker.assign_helpers.get()
}

/// The helper whose port a new connection is to.
pub(crate) fn assigned(tracker: &Namespace, tuple: &Tuple) -> Option<Arc<Handle>> {
    if !may_be_assigned(tracker, tuple) {
        return None;
    }
    let port = u16::from_be_bytes(tuple.dst_id());
    let helpers = tracker.shared.helpers();
    helpers.of_port(port, tuple.protocol())
}

/// A module that registers a helper: its ports are what the module is given as `ports=`, or else
/// the one that stands here.
#[macro_export]
macro_rules! helper_module {
    (
        module: $module:tt,
        description: $description:tt,
        helper: $helper:ty = $make:expr,
        params: $params:tt,
    ) => {
        use kernel::prelude::*;

        module! {
            type: Edge,
            name: $module,
            authors: ["The ip_conntrack developers"],
            description: $description,
            license: "GPL v2",
            params: $params,
        }

        struct Edge {
            _registration: ip_conntrack::helpers::Registration<$helper>,
        }

        impl kernel::Module for Edge {
            fn init(module: &'static ThisModule) -> Result<Self> {
                Ok(Self {
                    _registration: ip_conntrack::helpers::Registration::new(module, $make)?,
                })
            }
        }
    };
}
