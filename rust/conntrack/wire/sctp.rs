// SPDX-License-Identifier: GPL-2.0
//! SCTP packets (RFC 9260): a header, then chunks.

use zerocopy::network_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Bytes;
use crate::reason::Reason;

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    src: [u8; 2],
    dst: [u8; 2],
    tag: U32,
    checksum: [u8; 4],
}

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct ChunkHeader {
    kind: u8,
    flags: u8,
    length: U16,
}

/// What INIT and INIT ACK carry.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct InitHeader {
    tag: U32,
    window: U32,
    streams: [U16; 2],
    first: U32,
}

/// Types of chunks (RFC 9260, 3.2).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const INIT: u8 = 1;
    pub(crate) const INIT_ACK: u8 = 2;
    pub(crate) const HEARTBEAT: u8 = 4;
    pub(crate) const HEARTBEAT_ACK: u8 = 5;
    pub(crate) const ABORT: u8 = 6;
    pub(crate) const SHUTDOWN: u8 = 7;
    pub(crate) const SHUTDOWN_ACK: u8 = 8;
    pub(crate) const ERROR: u8 = 9;
    pub(crate) const COOKIE_ECHO: u8 = 10;
    pub(crate) const COOKIE_ACK: u8 = 11;
    pub(crate) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// A packet's header, and the way to its chunks.
#[derive(Clone, Copy, Debug)]
pub struct SctpView<'a> {
    /// The verification tag.
    pub tag: u32,
    bytes: Bytes<'a>,
    offset: usize,
}

/// A chunk.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    length: u16,
    offset: usize,
}

impl Chunk {
    /// Whether its sender has no association and uses the other end's tag (RFC 9260, 8.5.1).
    pub(crate) fn is_reflected(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// A set of types of chunks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds([u64; 4]);

impl Kinds {
    fn add(&mut self, kind: u8) {
        if let Some(word) = self.0.get_mut(usize::from(kind >> 6)) {
            *word |= 1 << (kind & 63);
        }
    }

    /// Whether a type is in it.
    #[must_use]
    pub fn has(&self, kind: u8) -> bool {
        self.0
            .get(usize::from(kind >> 6))
            .is_some_and(|word| word & (1 << (kind & 63)) != 0)
    }
}

impl<'a> SctpView<'a> {
    /// The chunks, up to the end of the packet or to one without a length.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk> + 'a {
        let bytes = self.bytes;
        let mut next = Some(self.offset);
        core::iter::from_fn(move || {
            let offset = next.take()?;
            let header: ChunkHeader = bytes.read(offset)?;
            let length = header.length.get();
            if length != 0 {
                // They are padded to whole words.
                next = offset.checked_add(usize::from(length).checked_next_multiple_of(4)?);
            }
            Some(Chunk {
                kind: header.kind,
                flags: header.flags,
                length,
                offset,
            })
        })
    }

    /// The types of the chunks.
    ///
    /// # Errors
    ///
    /// There is none, one without a length, or one that must be alone or the first and is not
    /// (RFC 9260, 6.10).
    pub(crate) fn kinds(&self) -> Result<Kinds, Reason> {
        let mut kinds = Kinds::default();
        let mut alone = false;
        let mut any = false;
        for chunk in self.chunks() {
            alone |= matches!(
                chunk.kind,
                kind::INIT | kind::INIT_ACK | kind::SHUTDOWN_COMPLETE
            );
            let first = alone || matches!(chunk.kind, kind::COOKIE_ACK | kind::COOKIE_ECHO);
            if (first && any) || chunk.length == 0 {
                return Err(Reason::SctpChunks);
            }
            kinds.add(chunk.kind);
            any = true;
        }
        if any {
            Ok(kinds)
        } else {
            Err(Reason::SctpChunks)
        }
    }

    /// The tag that an INIT or INIT ACK asks the other end to use.
    pub(crate) fn initiate_tag(&self, chunk: &Chunk) -> Option<u32> {
        let offset = chunk.offset.checked_add(size_of::<ChunkHeader>())?;
        Some(self.bytes.read::<InitHeader>(offset)?.tag.get())
    }
}

/// Reads the packet at `offset`.
#[inline]
pub(crate) fn parse(bytes: Bytes<'_>, offset: usize) -> Result<SctpView<'_>, Reason> {
    let header: Header = bytes.read(offset).ok_or(Reason::TransportTruncated)?;
    Ok(SctpView {
        tag: header.tag.get(),
        bytes,
        offset: offset.saturating_add(size_of::<Header>()),
    })
}
