// SPDX-License-Identifier: GPL-2.0
//! What few connections have: a master, a helper's session, labels, masks of events, timeouts of their own.
//!
//! It begins as a genuine `struct nf_ct_ext`, for `nf_conn.ext` leads to it: the flow dissector
//! reads labels there. It names none of stock's other extensions.

use core::{
    mem::{offset_of, size_of},
    sync::atomic::{AtomicU32, Ordering},
};

use conntrack::event::Events;
use kernel::prelude::*;
use rcu_table::Ref;

use crate::{conn::Conn, helper::Session, policy::Share, shifts::Shifts};

/// Bytes of `struct nf_ct_ext` in front of its data.
const HEAD: usize = offset_of!(raw::nf_ct_ext, data);

/// What a connection is given beyond the usual.
#[derive(Default)]
pub struct Extras {
    /// The connection that has announced it.
    pub master: Option<Ref<Conn>>,
    /// What a helper keeps of it.
    pub session: Option<KBox<Session>>,
    /// Whether it can have labels.
    pub labels: bool,
    /// How long it lives after a packet, in place of what its namespace has set.
    pub timeouts: Option<Share>,
    /// Which of its events, and of those of what it announces, are told; `None` for all.
    pub masks: Option<[Events; 2]>,
    /// By how much its sequence numbers are shifted.
    pub shifts: Option<KBox<Shifts>>,
}

/// A connection's extras.
///
/// # Invariants
///
/// `head` is that of a `struct nf_ct_ext` of this size, whose offset of the labels is that of
/// `labels`, if there are any, and whose other offsets are zero.
#[repr(C, align(8))]
pub struct Extension {
    head: [u8; HEAD],
    labels: Labels,
    extras: Extras,
}

const _: () = assert!(size_of::<Labels>() == size_of::<raw::nf_conn_labels>());
const _: () = assert!(size_of::<Extension>() <= u8::MAX as usize);

impl Extension {
    /// Makes it; callable from any context. `None` where there is nothing to keep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(extras: Extras) -> Result<Option<KBox<Self>>> {
        let Extras {
            master: None,
            session: None,
            labels: false,
            timeouts: None,
            masks: None,
            shifts: None,
        } = extras
        else {
            return Self::with(extras).map(Some);
        };
        Ok(None)
    }

    /// Makes it, whatever there is to keep; callable from any context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn with(extras: Extras) -> Result<KBox<Self>> {
        let mut head = [0; HEAD];
        // CAST: asserted above.
        head[offset_of!(raw::nf_ct_ext, len)] = size_of::<Self>() as u8;
        #[cfg(CONFIG_NF_CONNTRACK_LABELS)]
        if extras.labels {
            head[raw::nf_ct_ext_id_NF_CT_EXT_LABELS as usize] = offset_of!(Self, labels) as u8;
        }
        let this = Self {
            head,
            labels: Labels::default(),
            extras,
        };
        Ok(KBox::new(this, GFP_ATOMIC)?)
    }

    /// The same to be changed; whether there are labels must stay.
    #[inline]
    pub(crate) fn extras_mut(&mut self) -> &mut Extras {
        &mut self.extras
    }

    /// What it was made of.
    #[inline]
    #[must_use]
    pub fn extras(&self) -> &Extras {
        &self.extras
    }

    /// The labels, where there are any.
    #[inline]
    #[must_use]
    pub fn labels(&self) -> Option<&Labels> {
        self.extras.labels.then_some(&self.labels)
    }
}

/// Labels of a connection: 128 bits whose meaning users give them (`struct nf_conn_labels`).
#[repr(C, align(8))]
#[derive(Default)]
pub struct Labels([AtomicU32; Labels::WORDS]);

impl Labels {
    /// Whether the kernel has labels.
    pub const SUPPORTED: bool = cfg!(CONFIG_NF_CONNTRACK_LABELS);
    /// Words of 32 bits; bit 0 is the lowest of the first.
    pub const WORDS: usize = 4;
    /// How many there are.
    pub const BITS: u16 = 128;

    /// The word and the bit in it of a label.
    fn place(&self, bit: u16) -> Option<(&AtomicU32, u32)> {
        let word = self.0.get(usize::from(bit / 32))?;
        Some((word, 1_u32.wrapping_shl(u32::from(bit % 32))))
    }

    /// Whether a label is set; one beyond the last is not.
    #[inline]
    #[must_use]
    pub fn has(&self, bit: u16) -> bool {
        self.place(bit)
            .is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Sets a label; whether it was not set before.
    pub fn set(&self, bit: u16) -> bool {
        self.place(bit)
            .is_some_and(|(word, bit)| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// All of them.
    #[must_use]
    pub fn words(&self) -> [u32; Self::WORDS] {
        [0, 1, 2, 3].map(|at| {
            self.0
                .get(at)
                .map_or(0, |word: &AtomicU32| word.load(Ordering::Relaxed))
        })
    }

    /// Makes of each word what `new` makes of its place and value; whether any has changed.
    pub fn change(&self, new: impl Fn(usize, u32) -> u32) -> bool {
        let mut changed = false;
        for (at, word) in self.0.iter().enumerate() {
            let done = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some(new(at, old)).filter(|new| *new != old)
            });
            changed |= done.is_ok();
        }
        changed
    }
}
