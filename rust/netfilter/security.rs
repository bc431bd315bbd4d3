// SPDX-License-Identifier: GPL-2.0
//! Security marks as text.

/// Room for the text of a security mark; the longest that Smack and SELinux have fit.
pub type Room = [u8; 256];

/// The text of a security mark; `None` where nobody knows what it means. May sleep.
pub fn context_of(mark: u32, room: &mut Room) -> Option<&str> {
    // SAFETY: room for so many bytes; it says how many it has written.
    let len = unsafe { raw::ipct_secctx(mark, room.as_mut_ptr().cast(), room.len() as u32) };
    let text = room.get(..usize::try_from(len).ok()?)?;
    core::str::from_utf8(text).ok()
}
