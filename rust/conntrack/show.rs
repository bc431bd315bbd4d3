// SPDX-License-Identifier: GPL-2.0
//! Entries as text: the lines of `/proc/net/ip_conntrack`.

use core::fmt::{self, Write};

use crate::{
    status::Status,
    tuple::{ipv4, ipv6, protocol, Family, Tuple},
};

/// Packets and bytes of a direction.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// How many packets.
    pub packets: u64,
    /// How many bytes, network headers included.
    pub bytes: u64,
}

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The time left, in seconds.
    pub remaining: u32,
    /// The protocol's state, where it has one.
    pub state: Option<&'static str>,
    /// The tuple of the first packet.
    pub original: &'a Tuple,
    /// The tuple of its answer.
    pub reply: &'a Tuple,
    /// The status bits.
    pub status: Status,
    /// The firewall mark.
    pub mark: u32,
    /// Original and reply, where accounting is on.
    pub counters: Option<[Counters; 2]>,
    /// How many hold the entry, the reader not counted.
    pub references: u32,
}

/// The name of a transport protocol, as the kernel's files have it.
#[must_use]
pub const fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::GRE => "gre",
        protocol::SCTP => "sctp",
        protocol::ICMPV6 => "icmpv6",
        _ => "unknown",
    }
}

impl Entry<'_> {
    /// Writes the line, with its end.
    ///
    /// # Errors
    ///
    /// Where `out` has no room.
    pub fn write_line(&self, out: &mut impl Write) -> fmt::Result {
        let number = self.original.protocol();
        write!(
            out,
            "{:<8} {number} {} ",
            protocol_name(number),
            self.remaining
        )?;
        if let Some(state) = self.state {
            write!(out, "{state} ")?;
        }
        let [original, reply] = match self.counters {
            Some([original, reply]) => [Some(original), Some(reply)],
            None => [None, None],
        };
        write_tuple(out, self.original, original)?;
        if !self.status.contains(Status::SEEN_REPLY) {
            out.write_str("[UNREPLIED] ")?;
        }
        write_tuple(out, self.reply, reply)?;
        if self.status.contains(Status::ASSURED) {
            out.write_str("[ASSURED] ")?;
        }
        if self.mark != 0 {
            write!(out, "mark={} ", self.mark)?;
        }
        writeln!(out, "use={}", self.references)
    }
}

/// Writes a tuple, with the blank behind it.
fn write_tuple(out: &mut impl Write, tuple: &Tuple, counters: Option<Counters>) -> fmt::Result {
    match tuple.family() {
        Family::Ipv4 => write!(
            out,
            "src={} dst={} ",
            ipv4(tuple.src_words()),
            ipv4(tuple.dst_words())
        )?,
        Family::Ipv6 => write!(
            out,
            "src={} dst={} ",
            ipv6(tuple.src_words()),
            ipv6(tuple.dst_words())
        )?,
    }
    let [kind, code] = tuple.dst_id();
    let [src, dst] = [tuple.src_id(), tuple.dst_id()].map(u16::from_be_bytes);
    match tuple.protocol() {
        protocol::TCP | protocol::UDP | protocol::SCTP => write!(out, "sport={src} dport={dst} ")?,
        protocol::ICMP | protocol::ICMPV6 => write!(out, "type={kind} code={code} id={src} ")?,
        _ => {}
    }
    match counters {
        Some(Counters { packets, bytes }) => write!(out, "packets={packets} bytes={bytes} "),
        None => Ok(()),
    }
}

/// Text in a caller's room; what does not fit is refused, never cut in silence.
pub struct Buffer<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl<'a> Buffer<'a> {
    /// Empty text.
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0 }
    }

    /// What was written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.room.get(..self.used).unwrap_or_default()
    }
}

impl Write for Buffer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used.checked_add(text.len()).ok_or(fmt::Error)?;
        let place = self.room.get_mut(self.used..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}
