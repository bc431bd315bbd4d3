// SPDX-License-Identifier: GPL-2.0
//! Timeout policies: a namespace's list of them, what users do to it, and what rules take from it.

use conntrack::{
    netlink::{
        policy::{Protocol, Request, Scope, Shown},
        Error,
    },
    rule::Refused,
    tuple::Family,
};
use kernel::{prelude::*, sync::Arc};
use netfilter::{Guarded, Net, Policy, Share};

use crate::namespace::Namespace;

/// The policies of a namespace.
pub(crate) struct Policies(KBox<Guarded<List>>);

struct List {
    /// In the order in which they were made.
    policies: KVec<Arc<Named>>,
    next: u64,
}

/// A policy under its name.
pub struct Named {
    name: KVec<u8>,
    number: u64,
    scope: Scope,
    policy: Arc<Policy>,
}

/// What is done to a policy that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing: EBUSY.
    Busy,
    /// Nothing: EEXIST.
    Exists,
    /// It gets other timeouts.
    Replace,
}

impl Named {
    /// Its place among the others: it grows from each to the next, and no two ever have the same.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What is told of it.
    pub fn shown(&self) -> Shown<'_> {
        // The list's own use counts.
        let uses = self.policy.shares().saturating_add(1);
        Shown {
            named: Some((&self.name, uses)),
            scope: self.scope,
            timeouts: self.policy.timeouts(),
        }
    }
}

impl Policies {
    /// None yet. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let list = List {
            policies: KVec::new(),
            next: 1,
        };
        Guarded::new(list, GFP_KERNEL).map(Self)
    }

    fn find(&self, name: &[u8]) -> Option<Arc<Named>> {
        self.0
            .with(|list| list.policies.iter().find(|one| *one.name == *name).cloned())
    }

    /// Adds a policy. Who adds is alone: nfnetlink serves one at a time.
    fn add(&self, name: &[u8], scope: Scope, policy: Arc<Policy>) -> Result {
        let mut copy = KVec::with_capacity(name.len(), GFP_KERNEL)?;
        copy.extend_from_slice(name, GFP_KERNEL)?;
        let number = self.0.with(|list| {
            let number = list.next;
            list.next = number.saturating_add(1);
            number
        });
        let named = Named {
            name: copy,
            number,
            scope,
            policy,
        };
        let named = Arc::new(named, GFP_KERNEL)?;
        self.0.with(|list| list.policies.push(named, GFP_ATOMIC))?;
        Ok(())
    }

    /// Takes out the policy of a name, or any.
    fn take(&self, name: Option<&[u8]>) -> Option<Arc<Named>> {
        self.0.with(|list| {
            let mut policies = list.policies.iter();
            let at = policies.position(|one| name.is_none_or(|name| *one.name == *name))?;
            list.policies.remove(at).ok()
        })
    }
}

/// Makes a policy, or changes one. May sleep.
///
/// # Errors
///
/// Why not.
pub fn put(net: &Net<Namespace>, request: &Request<'_>, existing: Existing) -> Result<(), Error> {
    let name = request.name().ok_or(Error::Invalid)?;
    let (family, number, data) = (request.family()?, request.protocol()?, request.data()?);
    let (policies, config) = (&net.tracker().policies, &net.tracker().config);
    if let Some(known) = policies.find(name) {
        return match existing {
            Existing::Exists => Err(Error::Exists),
            Existing::Busy => Err(Error::Busy),
            Existing::Replace => {
                let Scope {
                    family: of,
                    protocol,
                } = known.scope;
                if of != family || protocol.number() != number {
                    return Err(Error::Invalid);
                }
                let timeouts = known.policy.timeouts();
                protocol.set(timeouts, &data, Some(&config.timeouts), config.hz)
            }
        };
    }
    let protocol = Protocol::from_number(number).ok_or(Error::NotSupported)?;
    let timeouts = config.timeouts.clone();
    protocol.set(&timeouts, &data, None, config.hz)?;
    Policy::new(timeouts)
        .and_then(|policy| policies.add(name, Scope { family, protocol }, policy))
        .map_err(|_| Error::NoMemory)
}

/// The policy of a name.
pub fn find(net: &Net<Namespace>, name: &[u8]) -> Option<Arc<Named>> {
    net.tracker().policies.find(name)
}

/// The first policy behind the one of a number; zero for the first of all.
pub fn behind(net: &Net<Namespace>, number: u64) -> Option<Arc<Named>> {
    net.tracker().policies.0.with(|list| {
        let mut policies = list.policies.iter();
        policies.find(|one| one.number > number).cloned()
    })
}

/// Ends the policy of a name, or all. Connections that have it live on as others do; rules that
/// give it go on to give it.
///
/// # Errors
///
/// [`Error::NotFound`] where there is none of that name.
pub fn delete(net: &Net<Namespace>, name: Option<&[u8]>) -> Result<(), Error> {
    let policies = &net.tracker().policies;
    let mut found = name.is_none();
    while let Some(gone) = policies.take(name) {
        gone.policy.withdraw();
        found = true;
        if name.is_some() {
            break;
        }
    }
    found.then_some(()).ok_or(Error::NotFound)
}

/// Changes the timeouts of connections that have no policy. May sleep.
///
/// # Errors
///
/// Why not.
pub fn set_defaults(net: &Net<Namespace>, request: &Request<'_>) -> Result<(), Error> {
    let (number, data) = (request.protocol()?, request.data()?);
    let protocol = Protocol::from_number(number).ok_or(Error::NotSupported)?;
    let config = &net.tracker().config;
    protocol.set(&config.timeouts, &data, None, config.hz)
}

/// The timeouts of connections that have no policy.
///
/// # Errors
///
/// Why not.
pub fn defaults<'a>(net: &'a Net<Namespace>, request: &Request<'_>) -> Result<Shown<'a>, Error> {
    let (family, number) = (request.family()?, request.protocol()?);
    let protocol = Protocol::from_number(number).ok_or(Error::NotSupported)?;
    Ok(Shown {
        named: None,
        scope: Scope { family, protocol },
        timeouts: &net.tracker().config.timeouts,
    })
}

/// The policy that a rule names, for packets of its protocols.
///
/// # Errors
///
/// Why the rule cannot have it.
pub(crate) fn for_rule(
    net: &Net<Namespace>,
    name: &[u8],
    family: Family,
    protocol: u8,
) -> Result<Share, Refused> {
    let known = find(net, name).ok_or(Refused::NoTimeouts)?;
    if known.scope.family != family.number() || known.scope.protocol != Protocol::of(protocol) {
        return Err(Refused::OtherTimeouts);
    }
    Ok(Share::of_rule(&known.policy))
}
