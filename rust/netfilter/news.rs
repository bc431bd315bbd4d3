// SPDX-License-Identifier: GPL-2.0
//! What happens to a connection while somebody listens: noted where it happens, told at the end of
//! the packet's way, and kept where it could not be told.

use core::sync::atomic::Ordering;

use conntrack::{event::Events, status::Status};

use crate::{
    conn::{Conn, QUIET},
    time,
};

/// Events in the upper half of the kernel's status word: those that are to be told, and those that
/// could not be. Then what is known of one that is dead, and has not been told: in bits of its own, for who has seen it
/// alive may just be taking the others.
const PENDING: u32 = 32;
const MISSED: u32 = PENDING + Events::COUNT;
const EVENTS: u64 = Events::ALL.bits() as u64;

/// It is dead and in the table, until that is told.
const KEPT: u64 = 1 << (MISSED + Events::COUNT);
/// A user has ended it, whose number stands in place of the time that was left.
pub(crate) const ENDED_BY_USER: u64 = KEPT << 1;

// CAST, all: a half has as many bits as there are events.
const fn pending(word: u64) -> Events {
    Events::from_bits((word >> PENDING & EVENTS) as u16)
}

const fn missed(word: u64) -> Events {
    Events::from_bits((word >> MISSED & EVENTS) as u16)
}

/// Whether anything is told at all: what that costs is measured beside modules that know of nothing
/// (tools/bench.sh).
pub const TOLD: bool = !cfg!(any(ip_conntrack_bare, ip_conntrack_unheard));

impl Conn {
    #[inline]
    fn news_word(&self) -> u64 {
        self.status_word().load(Ordering::Relaxed)
    }

    /// Something has happened to it that is to be told, if anybody listens.
    #[inline]
    pub fn note(&self, events: Events) {
        if self.is_listened() {
            self.note_for_listener(events);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_for_listener(&self, events: Events) {
        if events.is_empty() || self.status().contains(Status::DYING) {
            return;
        }
        if pending(self.news_word()).is_empty() {
            self.touch();
        }
        self.put_news(u64::from(events.bits()) << PENDING);
    }

    /// Sets the status bits that packets bring about, SEEN_REPLY and ASSURED; where they are new, that is
    /// to be told, if anybody listens.
    pub fn gain(&self, bits: Status) {
        let before = self.set_status(bits);
        let news = [
            (Status::SEEN_REPLY, Events::REPLY),
            (Status::ASSURED, Events::ASSURED),
        ];
        for (bit, event) in news {
            if bits.contains(bit) && !before.contains(bit) {
                self.note(event);
            }
        }
    }

    /// Whether its packets have nothing to do at their last hook: one look, for each of them.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.news_word() & QUIET != 0
    }

    /// Something is to be told.
    fn put_news(&self, bits: u64) {
        self.change_word(|word| (word | bits) & !QUIET);
    }

    /// What is to be told since it was last taken, and what could not be before.
    pub fn take_news(&self) -> Events {
        let quiet = if self.session().is_none() { QUIET } else { 0 };
        let both = EVENTS << PENDING | EVENTS << MISSED;
        let word = self.change_word(|word| word & !both | quiet);
        pending(word) | missed(word)
    }

    /// Changes the status word; what it was before.
    fn change_word(&self, change: impl Fn(u64) -> u64) -> u64 {
        let word = self.status_word();
        let changed = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(change(word))
        });
        let (Ok(before) | Err(before)) = changed;
        before
    }

    /// What could not be told before.
    pub fn take_missed(&self) -> Events {
        let word = self
            .status_word()
            .fetch_and(!(EVENTS << MISSED), Ordering::Relaxed);
        missed(word)
    }

    /// That could not be told: it is to be told the next time.
    pub fn missed(&self, events: Events) {
        self.put_news(u64::from(events.bits()) << MISSED);
    }

    /// Something happens to it now.
    pub fn touch(&self) {
        if let Some(account) = self.clock() {
            account.set_last(time::real_ns());
        }
    }

    /// When that happened which is told next, in nanoseconds since 1970, where it is known. Its
    /// death happens whenever it is told.
    pub fn touched(&self) -> Option<u64> {
        let account = self.clock()?;
        if self.status().contains(Status::DYING) {
            return Some(time::real_ns());
        }
        Some(account.last()).filter(|time| *time != 0)
    }

    /// It is dead, and that could not be told: it stays in the table, where packets do not find
    /// it. `user` has ended it, if not zero; the time that it had left is forgotten for that.
    pub fn keep(&self, user: u32) {
        let mut bits = KEPT;
        if user != 0 {
            self.timeout_word().store(user, Ordering::Relaxed);
            bits |= ENDED_BY_USER;
        }
        self.take_news();
        // Release: with the mark goes the number.
        self.status_word().fetch_or(bits, Ordering::Release);
    }

    /// Whether it is kept, and by whom it was ended (zero for no user).
    pub fn kept(&self) -> Option<u32> {
        let word = self.status_word().load(Ordering::Acquire);
        if word & KEPT == 0 || !self.status().contains(Status::DYING) {
            return None;
        }
        if word & ENDED_BY_USER == 0 {
            return Some(0);
        }
        Some(self.timeout_word().load(Ordering::Relaxed))
    }

    /// It is kept no more; true for the one caller that has to take it out.
    pub fn let_go(&self) -> bool {
        let word = self.status_word().fetch_and(!KEPT, Ordering::Relaxed);
        word & KEPT != 0
    }

    /// How long it has left, in ticks, as far as that is known.
    pub fn left(&self) -> Option<conntrack::time::Ticks> {
        if self.kept().is_some_and(|user| user != 0) {
            return None;
        }
        self.expires().remaining(time::now())
    }
}
