// SPDX-License-Identifier: GPL-2.0
//! What helpers read in text: numbers, ports, words.

use super::Port;

/// Ports below belong to a host's services: no user's program listens there for an answer.
pub const UNPRIVILEGED: u16 = 1024;

/// A decimal number at the beginning, at most `most`, and what follows it. No sign, no blank; a
/// number that is too large is none.
#[must_use]
pub fn number(text: &[u8], most: u32) -> Option<(u32, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(len)?;
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_u32, |value, digit| {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        value.checked_mul(10)?.checked_add(digit)
    })?;
    (value <= most).then_some((value, rest))
}

/// A decimal port from `least` on, and what follows it.
#[must_use]
pub fn port(text: &[u8], least: u16) -> Option<(Port, &[u8])> {
    let (value, rest) = number(text, u16::MAX.into())?;
    let port = Port::new(u16::try_from(value).ok()?)?;
    (port.get() >= least).then_some((port, rest))
}

/// What follows `prefix`, whichever case its letters have.
#[must_use]
pub fn after<'a>(text: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    begin
        .eq_ignore_ascii_case(prefix.as_bytes())
        .then_some(rest)
}

/// The text up to the first blank, and what follows that blank; all of it where there is none.
#[must_use]
pub fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(at) => {
            let (word, rest) = text.split_at(at);
            (word, rest.get(1..).unwrap_or_default())
        }
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_go_round() {
        assert_eq!(number(b"65535,", 65535), Some((65535, &b","[..])));
        assert_eq!(number(b"007", 9), Some((7, &b""[..])));
        for text in [
            "",
            "x",
            "-1",
            "+1",
            " 1",
            "65536",
            "65615",
            "4294967297",
            "99999999999",
        ] {
            assert_eq!(number(text.as_bytes(), 65535), None, "{text}");
        }
        assert_eq!(number(b"4294967295", u32::MAX), Some((u32::MAX, &b""[..])));
        assert_eq!(number(b"4294967296", u32::MAX), None);
    }

    #[test]
    fn ports_are_never_zero_nor_below_what_is_allowed() {
        assert_eq!(port(b"0", 0), None);
        assert_eq!(port(b"1023)", UNPRIVILEGED), None);
        assert_eq!(
            port(b"1024)", UNPRIVILEGED),
            Port::new(1024).map(|port| (port, &b")"[..]))
        );
        assert_eq!(port(b"65536", 0), None);
    }

    #[test]
    fn words_end_with_a_blank() {
        assert_eq!(word(b"DCC SEND x"), (&b"DCC"[..], &b"SEND x"[..]));
        assert_eq!(word(b"DCC"), (&b"DCC"[..], &b""[..]));
        assert_eq!(after(b"port 1", "PORT "), Some(&b"1"[..]));
        assert_eq!(after(b"por", "PORT "), None);
    }
}
