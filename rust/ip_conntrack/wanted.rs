// SPDX-License-Identifier: GPL-2.0
//! What the new connections of a namespace have, as its settings say.

use conntrack::setting::Setting;
use netfilter::Features;

/// Events are told where somebody listens when a connection begins.
const FOR_LISTENERS: u8 = 2;

/// The settings, and what follows from them: whoever changes one has changed that, too.
pub(crate) struct Wanted {
    /// Whether new connections are counted, and their begin and end known.
    acct: Setting<bool>,
    timestamp: Setting<bool>,
    /// Whether events of new connections are told: never, always, or where somebody listens.
    events: Setting<u8>,
    /// What new connections have by these three, while nobody listens.
    features: Setting<Features>,
}

impl Wanted {
    pub(crate) fn new(acct: bool, timestamp: bool) -> Self {
        let wanted = Self {
            acct: Setting::new(acct),
            timestamp: Setting::new(timestamp),
            events: Setting::new(FOR_LISTENERS),
            features: Setting::new(Features::default()),
        };
        wanted.settle();
        wanted
    }

    /// What a new connection has, unless a rule wants more.
    #[inline]
    pub(crate) fn features(&self) -> Features {
        let features = self.features.get();
        if netfilter::TOLD && netfilter::has_listener() {
            self.while_heard(features)
        } else {
            features
        }
    }

    #[cold]
    #[inline(never)]
    fn while_heard(&self, features: Features) -> Features {
        features.with(Features::EVENTS, self.events.get() == FOR_LISTENERS)
    }

    pub(crate) fn acct(&self) -> bool {
        self.acct.get()
    }

    pub(crate) fn timestamp(&self) -> bool {
        self.timestamp.get()
    }

    pub(crate) fn events(&self) -> u8 {
        self.events.get()
    }

    pub(crate) fn set_acct(&self, on: bool) {
        self.acct.set(on);
        self.settle();
    }

    pub(crate) fn set_timestamp(&self, on: bool) {
        self.timestamp.set(on);
        self.settle();
    }

    pub(crate) fn set_events(&self, when: u8) {
        self.events.set(when);
        self.settle();
    }

    fn settle(&self) {
        let always = !matches!(self.events.get(), 0 | FOR_LISTENERS);
        let features = Features::default()
            .with(Features::COUNTS, self.acct.get())
            .with(Features::STAMPS, self.timestamp.get())
            .with(Features::EVENTS, always);
        self.features.set(features);
    }
}
