// SPDX-License-Identifier: GPL-2.0
//! TCP segments (RFC 9293).

use zerocopy::network_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::header;
use crate::reason::Reason;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    src: [u8; 2],
    dst: [u8; 2],
    seq: U32,
    ack: U32,
    data_offset: u8,
    flags: u8,
    window: U16,
    checksum: U16,
    urgent: U16,
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// What a segment is to the state table: by its flags, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Segment {
    /// Asks for a connection.
    Syn,
    /// Agrees to one.
    SynAck,
    /// Ends a direction.
    Fin,
    /// Anything with an acknowledgement and nothing more.
    Ack,
    /// Ends it all.
    Rst,
    /// No flag that means anything.
    None,
}

/// A segment's header, checked.
#[derive(Clone, Copy, Debug)]
pub struct TcpView {
    /// What it is to the state table.
    pub segment: Segment,
    /// Its sequence number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// Its window, not scaled.
    pub window: u16,
    /// How much of the sequence space it takes: data, SYN and FIN.
    pub space: u32,
}

impl TcpView {
    /// The sequence number after it.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.space)
    }
}

/// Reads the segment at `offset` of a packet of `len` bytes.
#[inline]
pub(crate) fn parse(bytes: &[u8], offset: usize, len: usize) -> Result<TcpView, Reason> {
    let header: &Header = header(bytes, offset).ok_or(Reason::TransportTruncated)?;
    let segment_len = len.saturating_sub(offset);
    let header_len = usize::from(header.data_offset >> 4).saturating_mul(4);
    if header_len < size_of::<Header>() || header_len > segment_len {
        return Err(Reason::TcpDataOffset);
    }
    if !sensible(header.flags) {
        return Err(Reason::TcpFlags);
    }
    let data = u32::try_from(segment_len.saturating_sub(header_len)).unwrap_or(u32::MAX);
    let counted =
        u32::from(header.flags & SYN != 0).wrapping_add(u32::from(header.flags & FIN != 0));
    Ok(TcpView {
        segment: segment(header.flags),
        seq: header.seq.get(),
        ack: header.ack.get(),
        window: header.window.get(),
        space: data.wrapping_add(counted),
    })
}

/// Whether a sender would set these flags together; ECN and PSH say nothing.
fn sensible(flags: u8) -> bool {
    match flags & !(ECE | CWR | PSH) {
        // A start, or an answer to one; URG with the answer is nobody's.
        SYN => true,
        f if f == SYN | URG || f == SYN | ACK => true,
        // An end at once.
        RST => true,
        f if f == RST | ACK => true,
        // An orderly end, or data.
        f => f & ACK != 0 && f & (SYN | RST) == 0,
    }
}

fn segment(flags: u8) -> Segment {
    if flags & RST != 0 {
        Segment::Rst
    } else if flags & SYN != 0 {
        if flags & ACK != 0 {
            Segment::SynAck
        } else {
            Segment::Syn
        }
    } else if flags & FIN != 0 {
        Segment::Fin
    } else if flags & ACK != 0 {
        Segment::Ack
    } else {
        Segment::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Combinations of FIN, SYN, RST, ACK and URG that are let through, as text.
    const SENSIBLE: [&str; 9] = ["S", "SU", "SA", "R", "RA", "FA", "FAU", "A", "AU"];

    fn letters(flags: u8) -> String {
        [(FIN, 'F'), (SYN, 'S'), (RST, 'R'), (ACK, 'A'), (URG, 'U')]
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, letter)| letter)
            .collect()
    }

    #[test]
    fn only_sensible_flags() {
        for flags in 0..=u8::MAX {
            let name = letters(flags);
            assert_eq!(sensible(flags), SENSIBLE.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn the_weightiest_flag_decides() {
        assert_eq!(segment(RST | SYN | ACK | FIN), Segment::Rst);
        assert_eq!(segment(SYN | ACK | FIN), Segment::SynAck);
        assert_eq!(segment(SYN | FIN), Segment::Syn);
        assert_eq!(segment(FIN | ACK), Segment::Fin);
        assert_eq!(segment(ACK | PSH | URG), Segment::Ack);
        assert_eq!(segment(PSH | URG), Segment::None);
    }
}
