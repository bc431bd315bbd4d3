// SPDX-License-Identifier: GPL-2.0
//! The helpers in one image with the tracker (`make modules STATIC=y`), with their usual ports and
//! limits.
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

use kernel::prelude::*;

use crate::helpers::Registration;

#[path = "../helpers/amanda.rs"]
mod amanda;
#[path = "../helpers/ftp.rs"]
mod ftp;
#[path = "../helpers/irc.rs"]
mod irc;
#[path = "../helpers/talk.rs"]
mod talk;
#[path = "../helpers/tftp.rs"]
mod tftp;

/// All of them, registered.
pub(crate) struct BuiltIn {
    _ftp: Registration<ftp::Ftp>,
    _irc: Registration<irc::Irc>,
    _tftp: Registration<tftp::Tftp>,
    _amanda: Registration<amanda::Amanda>,
    _talk: Registration<talk::Talk>,
}

impl BuiltIn {
    /// Registers them, once namespaces are tracked. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn register(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _ftp: Registration::new(module, ftp::Ftp { loose: false })?,
            _irc: Registration::new(module, irc::Irc::default())?,
            _tftp: Registration::new(module, tftp::Tftp)?,
            _amanda: Registration::new(module, amanda::Amanda::default())?,
            _talk: Registration::new(module, talk::Talk)?,
        })
    }
}
