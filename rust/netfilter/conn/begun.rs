// SPDX-License-Identifier: GPL-2.0
//! A connection that has just begun, and what rules give it before anybody else sees it.

use core::sync::atomic::Ordering;

use conntrack::{event::Events, status::Status};
use kernel::prelude::*;

use super::{
    features::{own, LISTENED},
    Conn,
};
use crate::{
    extension::{Extension, Extras},
    helper::Session,
    policy::Share,
};

/// A connection that is not in the table yet, and that one packet alone has.
///
/// # Invariants
///
/// It is not confirmed, and no template. Its one reference is that of a packet, which is ours alone for `'a`: so nobody
/// else can come to it.
pub struct Begun<'a>(&'a Conn);

impl<'a> Begun<'a> {
    /// The connection of a packet, if it has just begun and no other packet has it.
    ///
    /// # Safety
    ///
    /// `conn` must be that of a packet which is the caller's alone for `'a`, and nobody else look at what it leads to.
    pub(crate) unsafe fn of(conn: &'a Conn) -> Option<Self> {
        if conn
            .status()
            .meets(Status::CONFIRMED | Status::TEMPLATE | Status::DYING)
        {
            return None;
        }
        // INVARIANT: Others have given up what they had (Acquire: and are done with it); new references come from
        // old ones and from the table, in which it is not.
        (conn.count().load(Ordering::Acquire) == 1).then_some(Self(conn))
    }

    /// The connection.
    #[must_use]
    pub fn conn(&self) -> &Conn {
        self.0
    }

    /// What few connections have, made if there is none.
    ///
    /// # Errors
    ///
    /// `EBUSY` where somebody has taken a reference meanwhile ([`Self::conn`] gives them); `ENOMEM`.
    fn extras(&mut self) -> Result<&mut Extras> {
        if self.0.count().load(Ordering::Acquire) != 1 {
            return Err(EBUSY);
        }
        let place = self.0.extension_place();
        // SAFETY: nobody else can come to it (invariant, and there is no other reference); what was borrowed by
        // `conn` is no more, for this is borrowed mutably. What is there is the connection's own.
        unsafe {
            if (*place).is_null() {
                let new = Extension::with(Extras::default())?;
                place.write(KBox::into_raw(new));
            }
            let extension = &mut **place;
            Ok(extension.extras_mut())
        }
    }

    /// A helper reads it.
    ///
    /// # Errors
    ///
    /// `EBUSY` where it is shared by now; `ENOMEM`.
    pub fn set_session(&mut self, session: KBox<Session>) -> Result {
        self.extras()?.session = Some(session);
        Ok(())
    }

    /// It has timeouts of its own.
    ///
    /// # Errors
    ///
    /// `EBUSY` where it is shared by now; `ENOMEM`.
    pub fn set_timeouts(&mut self, timeouts: Share) -> Result {
        self.extras()?.timeouts = Some(timeouts);
        self.0.status_word().fetch_or(own::TIMED, Ordering::Relaxed);
        Ok(())
    }

    /// Of its events, and of those of what it announces, only these are told.
    ///
    /// # Errors
    ///
    /// `EBUSY` where it is shared by now; `ENOMEM`.
    pub fn set_masks(&mut self, masks: [Events; 2]) -> Result {
        self.extras()?.masks = Some(masks);
        Ok(())
    }

    /// Its events are told if somebody listens.
    pub fn set_listened(&mut self) {
        self.0.status_word().fetch_or(LISTENED, Ordering::Relaxed);
    }
}
