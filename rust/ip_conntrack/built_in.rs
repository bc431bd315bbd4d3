// SPDX-License-Identifier: GPL-2.0
//! The helpers in one image with the tracker (`make modules STATIC=y`), with their usual ports and
//! limits.
#![allow(unreachable_pub)] // What is read is public in the crate of the host's tests.

use conntrack::{
    helper::{Helper, Port},
    tuple::protocol,
};
use core::ffi::CStr;
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
            _ftp: one(module, c"ftp", protocol::TCP, 21, ftp::Ftp { loose: false })?,
            _irc: one(module, c"irc", protocol::TCP, 6667, irc::Irc::default())?,
            _tftp: one(module, c"tftp", protocol::UDP, 69, tftp::Tftp)?,
            _amanda: one(
                module,
                c"amanda",
                protocol::UDP,
                10080,
                amanda::Amanda::default(),
            )?,
            _talk: one(module, c"talk", protocol::UDP, 518, talk::Talk)?,
        })
    }
}

fn one<H: Helper>(
    module: &'static ThisModule,
    name: &CStr,
    protocol: u8,
    port: u16,
    helper: H,
) -> Result<Registration<H>> {
    let port = Port::new(port).ok_or(EINVAL)?;
    Registration::new(module, name, &[protocol], &[port], helper)
}
