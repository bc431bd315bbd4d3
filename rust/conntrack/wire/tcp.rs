// SPDX-License-Identifier: GPL-2.0
//! TCP segments (RFC 9293).

use zerocopy::{
    network_endian::{U16, U32},
    FromBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Bytes;
use crate::{reason::Reason, seq::Seq};

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
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

impl Segment {
    /// The segment behind a number; [`Segment::None`] behind one that is none.
    #[inline]
    #[must_use]
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Syn,
            1 => Self::SynAck,
            2 => Self::Fin,
            3 => Self::Ack,
            4 => Self::Rst,
            _ => Self::None,
        }
    }
}

/// A segment's header, checked.
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    /// What it is to the state table.
    pub segment: Segment,
    /// Its sequence number.
    pub seq: Seq,
    /// What it acknowledges; means something only if `acks`.
    pub ack: Seq,
    /// Whether it acknowledges anything.
    pub acks: bool,
    /// Its window, not scaled.
    pub window: u16,
    /// How much of the sequence space it takes: data, SYN and FIN.
    pub space: u32,
    /// Its options; none where they lie behind what is looked at of a packet.
    pub options: Options<'a>,
}

impl TcpView<'_> {
    /// The sequence number after it.
    #[inline]
    #[must_use]
    pub fn end(&self) -> Seq {
        self.seq.add(self.space)
    }

    /// Whether it asks for a connection, or agrees to one.
    #[inline]
    #[must_use]
    pub fn is_syn(&self) -> bool {
        matches!(self.segment, Segment::Syn | Segment::SynAck)
    }
}

/// The length of the header at `offset`, of a segment that was parsed.
pub(crate) fn header_len(bytes: Bytes<'_>, offset: usize) -> Option<usize> {
    let header: Header = bytes.read(offset)?;
    Some(usize::from(header.data_offset >> 4).saturating_mul(4))
}

/// A segment whose header lies at hand, all of it.
pub(crate) struct Usual<'a> {
    header: Header,
    options: &'a [u8],
    /// How much follows the header.
    data: u32,
}

/// One that acknowledges, with data or without, and does nothing else; not read yet.
#[derive(Clone, Copy)]
pub struct Acknowledgement<'a> {
    bytes: Bytes<'a>,
    /// Where its header begins.
    offset: usize,
    options: &'a [u8],
    data: u32,
}

impl<'a> Acknowledgement<'a> {
    /// What it says.
    #[inline(always)]
    pub(crate) fn view(&self) -> TcpView<'a> {
        // It is there.
        let header: Option<Header> = self.bytes.read_here(self.offset);
        let (seq, ack, window) = header.map_or_else(Default::default, |header| {
            (header.seq.get(), header.ack.get(), header.window.get())
        });
        TcpView {
            segment: Segment::Ack,
            seq: Seq::new(seq),
            ack: Seq::new(ack),
            acks: true,
            window,
            space: self.data,
            options: Options(self.options),
        }
    }
}

/// Reads the segment at `offset`, if all of its header lies at hand.
#[inline(always)]
pub(crate) fn usual(bytes: Bytes<'_>, offset: usize) -> Option<Usual<'_>> {
    let header: Header = bytes.read_here(offset)?;
    let len = usize::from(header.data_offset >> 4).saturating_mul(4);
    let behind = bytes.here_from(offset.saturating_add(size_of::<Header>()))?;
    // Less than a header wraps to more than there is.
    let options = behind.get(..len.wrapping_sub(size_of::<Header>()))?;
    // They are there, so these are no more than all bytes.
    let headers = offset.wrapping_add(len);
    Some(Usual {
        header,
        options,
        // CAST: a packet's length is a number of 32 bits.
        data: bytes.len().wrapping_sub(headers) as u32,
    })
}

impl<'a> Usual<'a> {
    /// Its ports.
    #[inline(always)]
    pub(crate) fn ports(&self) -> [[u8; 2]; 2] {
        [self.header.src, self.header.dst]
    }

    /// The same, if it acknowledges, with data or without, and does nothing else; it was read from here.
    #[inline(always)]
    pub(crate) fn acknowledgement(
        &self,
        bytes: Bytes<'a>,
        offset: usize,
    ) -> Option<Acknowledgement<'a>> {
        let plain = self.header.flags & (FIN | SYN | RST | ACK) == ACK;
        plain.then_some(Acknowledgement {
            bytes,
            offset,
            options: self.options,
            data: self.data,
        })
    }

    /// What any says whose flags make sense.
    #[inline(always)]
    pub(crate) fn any(&self) -> Option<TcpView<'a>> {
        let counted = counted(self.header.flags);
        sensible(self.header.flags).then(|| self.view(self.data.wrapping_add(counted)))
    }

    #[inline(always)]
    fn view(&self, space: u32) -> TcpView<'a> {
        let Self {
            header, options, ..
        } = self;
        TcpView {
            segment: segment(header.flags),
            seq: Seq::new(header.seq.get()),
            ack: Seq::new(header.ack.get()),
            acks: header.flags & ACK != 0,
            window: header.window.get(),
            space,
            options: Options(options),
        }
    }
}

/// How much of the sequence space flags take.
fn counted(flags: u8) -> u32 {
    u32::from(flags & SYN != 0).wrapping_add(u32::from(flags & FIN != 0))
}

/// Reads the segment at `offset`.
#[inline]
pub(crate) fn parse(bytes: Bytes<'_>, offset: usize) -> Result<TcpView<'_>, Reason> {
    let header: Header = bytes.read(offset).ok_or(Reason::TransportTruncated)?;
    let segment_len = bytes.len().saturating_sub(offset);
    let header_len = usize::from(header.data_offset >> 4).saturating_mul(4);
    if header_len < size_of::<Header>() || header_len > segment_len {
        return Err(Reason::TcpDataOffset);
    }
    if !sensible(header.flags) {
        return Err(Reason::TcpFlags);
    }
    let options = bytes
        .at_hand(
            offset.saturating_add(size_of::<Header>()),
            offset.saturating_add(header_len),
        )
        .unwrap_or_default();
    let data = u32::try_from(segment_len.saturating_sub(header_len)).unwrap_or(u32::MAX);
    let space = data.wrapping_add(counted(header.flags));
    let usual = Usual {
        header,
        options,
        data,
    };
    Ok(usual.view(space))
}

/// The options of a segment, from the first on; they end where one makes no sense.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(&'a [u8]);

/// An option that the tracker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// By how many bits the sender's windows are shifted (RFC 7323, 2).
    Scale(u8),
    /// Selective acknowledgements may be sent (RFC 2018, 2).
    SackPermitted,
    /// Blocks that were received (RFC 2018, 3): at least one, each its first sequence number
    /// and the one behind its last.
    Sack(&'a [[U32; 2]]),
    /// Another.
    Other,
}

#[cfg(test)]
impl<'a> Options<'a> {
    /// Options of these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Options<'_> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is nothing to be read in them, as in nearly all segments of open connections:
    /// none, or timestamps laid out as RFC 7323, appendix A, has it. `false` says nothing.
    #[inline]
    pub(crate) fn say_nothing(&self) -> bool {
        const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];
        match self.0 {
            [] => true,
            [a, b, c, d, rest @ ..] => rest.len() == 8 && [*a, *b, *c, *d] == TIMESTAMPS,
            _ => false,
        }
    }
}

impl Options<'_> {
    /// By how many bits windows are shifted, of a SYN that says what most do in the order in which most
    /// do: the largest segment, selective acknowledgements, timestamps, the shift. `None` says nothing.
    #[inline(always)]
    pub(crate) fn usual_scale(&self) -> Option<u8> {
        match *self.0 {
            [2, 4, _, _, 4, 2, 8, 10, _, _, _, _, _, _, _, _, 1, 3, 3, scale] => {
                Some(scale.min(MOST_SCALE))
            }
            _ => None,
        }
    }
}

/// By how many bits a window may be shifted at most (RFC 7323, 2.3).
pub const MOST_SCALE: u8 = 14;

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        const END: u8 = 0;
        const NOTHING: u8 = 1;
        const SCALE: u8 = 3;
        const SACK_PERMITTED: u8 = 4;
        const SACK: u8 = 5;
        loop {
            match *self.0 {
                [] | [END, ..] => return None,
                [NOTHING, ref rest @ ..] => self.0 = rest,
                [kind, length, ref rest @ ..] => {
                    let (value, rest) =
                        rest.split_at_checked(usize::from(length).checked_sub(2)?)?;
                    self.0 = rest;
                    return Some(match (kind, value) {
                        // Who says more means this.
                        (SCALE, [scale]) => TcpOption::Scale((*scale).min(MOST_SCALE)),
                        (SACK_PERMITTED, []) => TcpOption::SackPermitted,
                        (SACK, blocks) => match <[[U32; 2]]>::ref_from_bytes(blocks) {
                            Ok(blocks) if !blocks.is_empty() => TcpOption::Sack(blocks),
                            _ => TcpOption::Other,
                        },
                        _ => TcpOption::Other,
                    });
                }
                [_] => return None,
            }
        }
    }
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
    fn options_end_where_they_make_no_sense() {
        let read = |bytes: &'static [u8]| Options(bytes).collect::<Vec<_>>();
        let scale = TcpOption::Scale(7);
        assert_eq!(read(&[]), []);
        assert_eq!(
            read(&[2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 9]).get(1..),
            Some(&[TcpOption::SackPermitted, scale][..])
        );
        assert_eq!(read(&[3, 3, 200]), [TcpOption::Scale(14)]);
        // No length, lengths of 0 and 1, one that goes beyond the end.
        for tail in [&[3][..], &[3, 0, 7], &[3, 1, 7], &[3, 4, 7], &[254, 255, 0]] {
            assert_eq!(
                Options(&[&[3, 3, 7], tail].concat()).collect::<Vec<_>>(),
                [scale]
            );
        }
        // Of a wrong size they say nothing.
        assert_eq!(
            read(&[3, 2, 4, 3, 0, 5, 2, 5, 6, 0, 0, 0, 1]),
            [TcpOption::Other; 4]
        );
        let sack = [5, 10, 0, 0, 0, 1, 0, 0, 0, 9];
        let Some(TcpOption::Sack(blocks)) = Options(&sack).next() else {
            panic!()
        };
        assert_eq!(blocks, [[U32::new(1), U32::new(9)]]);
    }

    #[test]
    fn what_says_nothing_has_nothing_to_read() {
        let timestamps = [1, 1, 8, 10, 9, 9, 9, 9, 9, 9, 9, 9];
        let options = Options(&timestamps);
        assert!(options.say_nothing() && Options(&[]).say_nothing());
        assert_eq!(options.collect::<Vec<_>>(), [TcpOption::Other]);
        let more = [&timestamps[..], &[5, 10, 0, 0, 0, 1, 0, 0, 0, 9]].concat();
        for other in [
            &more,
            &more[..16],
            &timestamps[..11],
            &timestamps[2..],
            &[1],
        ] {
            assert!(!Options(other).say_nothing());
        }
        for at in 0..4 {
            let mut other = timestamps;
            other[at] ^= 1;
            assert!(!Options(&other).say_nothing());
        }
    }

    /// Where the shift is read without looking at all options, they all say the same.
    #[test]
    fn the_usual_scale_is_what_the_options_say() {
        let usual = [
            2, 4, 5, 180, 4, 2, 8, 10, 9, 9, 9, 9, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        for (scale, least) in [(0, 0), (7, 7), (14, 14), (15, 14), (255, 14)] {
            let mut options = usual;
            options[19] = scale;
            assert_eq!(Options(&options).usual_scale(), Some(least));
            let said = Options(&options).collect::<Vec<_>>();
            assert!(said.contains(&TcpOption::Scale(least)));
            assert!(said.contains(&TcpOption::SackPermitted));
        }
        for at in [0, 1, 4, 5, 6, 7, 16, 17, 18] {
            let mut options = usual;
            options[at] ^= 1;
            assert_eq!(Options(&options).usual_scale(), None);
        }
        assert_eq!(Options(&usual[..19]).usual_scale(), None);
        assert_eq!(Options(&[&usual[..], &[1]].concat()).usual_scale(), None);
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
