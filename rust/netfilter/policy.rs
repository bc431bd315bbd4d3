// SPDX-License-Identifier: GPL-2.0
//! Timeouts that rules give to connections.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use conntrack::timeouts::Timeouts;
use kernel::{prelude::*, sync::Arc};

/// Timeouts that many connections have in common.
pub struct Policy {
    timeouts: Timeouts,
    /// Those who had them have them no more.
    withdrawn: AtomicBool,
    shares: AtomicU32,
}

impl Policy {
    /// A policy that nobody has yet. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(timeouts: Timeouts) -> Result<Arc<Self>> {
        let this = Self {
            timeouts,
            withdrawn: AtomicBool::new(false),
            shares: AtomicU32::new(0),
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// The timeouts. Who changes them changes them for all who have them.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// How many connections and rules have them.
    pub fn shares(&self) -> u32 {
        self.shares.load(Ordering::Relaxed)
    }

    /// Takes them from all connections that have them; rules go on to give them to new ones, as
    /// with the stock tracker.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }
}

/// What a connection or a rule has of a policy.
pub struct Share {
    policy: Arc<Policy>,
    /// It is a rule's, or was given after the policy was withdrawn.
    lasting: bool,
}

impl Share {
    /// A rule's.
    pub fn of_rule(policy: &Arc<Policy>) -> Self {
        Self::new(policy, true)
    }

    /// A connection's, from a rule's.
    pub fn lend(&self) -> Self {
        Self::new(&self.policy, self.policy.withdrawn.load(Ordering::Relaxed))
    }

    fn new(policy: &Arc<Policy>, lasting: bool) -> Self {
        policy.shares.fetch_add(1, Ordering::Relaxed);
        Self {
            policy: policy.clone(),
            lasting,
        }
    }

    /// The timeouts, if they were not taken away.
    #[inline]
    pub fn timeouts(&self) -> Option<&Timeouts> {
        let has = self.lasting || !self.policy.withdrawn.load(Ordering::Relaxed);
        has.then_some(&self.policy.timeouts)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.policy.shares.fetch_sub(1, Ordering::Relaxed);
    }
}
