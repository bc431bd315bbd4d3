// SPDX-License-Identifier: GPL-2.0
//! Entries as text: the lines of `/proc/net/ip_conntrack` and `/proc/net/nf_conntrack`.

use core::fmt::{self, Write};

use crate::{
    netlink::expectation::Flags,
    status::Status,
    tuple::{ipv4, ipv6, protocol, Family, Tuple},
    zone::{Directions, Zone},
};

/// Packets and bytes of a direction.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// How many packets.
    pub packets: u64,
    /// How many bytes, network headers included.
    pub bytes: u64,
}

/// What a protocol has to say of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// The name of a state.
    State(&'static str),
    /// How long it lives in seconds, going one way and both ways (GRE).
    Timeouts(u32, u32),
}

/// The two forms of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// That of `/proc/net/ip_conntrack`: what is zero is left out.
    Short,
    /// That of `/proc/net/nf_conntrack`.
    Long,
}

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The time left, in seconds.
    pub remaining: u32,
    /// What the protocol has to say.
    pub state: Detail,
    /// The tuple of the first packet.
    pub original: &'a Tuple,
    /// The tuple of its answer.
    pub reply: &'a Tuple,
    /// The status bits.
    pub status: Status,
    /// The firewall mark, where this kernel has one.
    pub mark: Option<u32>,
    /// The security context, where it has one.
    pub context: Option<&'a str>,
    /// The zone, where this kernel has zones.
    pub zone: Option<Zone>,
    /// How long it has been there, in seconds, where timestamps are on.
    pub age: Option<u64>,
    /// Original and reply, where accounting is on.
    pub counters: Option<[Counters; 2]>,
    /// How many hold the entry; the short form does not count the reader, the long one does.
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
    /// Writes the line of `/proc/net/ip_conntrack`, with its end.
    ///
    /// # Errors
    ///
    /// Where `out` has no room.
    pub fn write_line(&self, out: &mut impl Write) -> fmt::Result {
        self.write(out, Form::Short)
    }

    /// Writes the line of `/proc/net/nf_conntrack`, with its end.
    ///
    /// # Errors
    ///
    /// Where `out` has no room.
    pub fn write_long_line(&self, out: &mut impl Write) -> fmt::Result {
        let family = self.original.family();
        let name = match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        write!(out, "{name:<8} {} ", family.number())?;
        self.write(out, Form::Long)
    }

    fn write(&self, out: &mut impl Write, form: Form) -> fmt::Result {
        let number = self.original.protocol();
        write!(
            out,
            "{:<8} {number} {} ",
            protocol_name(number),
            self.remaining
        )?;
        match self.state {
            Detail::None => {}
            Detail::State(name) => write!(out, "{name} ")?,
            Detail::Timeouts(one, both) => write!(out, "timeout={one}, stream_timeout={both} ")?,
        }
        let [original, reply] = match self.counters {
            Some([original, reply]) => [Some(original), Some(reply)],
            None => [None, None],
        };
        write_tuple(out, self.original)?;
        self.write_zone(out, Directions::Original, form)?;
        write_counters(out, original)?;
        if !self.status.contains(Status::SEEN_REPLY) {
            out.write_str("[UNREPLIED] ")?;
        }
        write_tuple(out, self.reply)?;
        self.write_zone(out, Directions::Reply, form)?;
        write_counters(out, reply)?;
        if self.status.contains(Status::ASSURED) {
            out.write_str("[ASSURED] ")?;
        }
        if let Some(mark) = self.mark {
            if mark != 0 || form == Form::Long {
                write!(out, "mark={mark} ")?;
            }
        }
        if let Some(context) = self.context {
            write!(out, "secctx={context} ")?;
        }
        self.write_zone(out, Directions::Both, form)?;
        if let Some(age) = self.age {
            write!(out, "delta-time={age} ")?;
        }
        writeln!(out, "use={}", self.references)
    }

    /// Writes the zone, if it counts in just these directions.
    fn write_zone(&self, out: &mut impl Write, at: Directions, form: Form) -> fmt::Result {
        let Some(zone) = self.zone.filter(|zone| zone.directions() == at) else {
            return Ok(());
        };
        if zone == Zone::DEFAULT && form == Form::Short {
            return Ok(());
        }
        let name = match at {
            Directions::Both => "zone",
            Directions::Original => "zone-orig",
            Directions::Reply => "zone-reply",
        };
        write!(out, "{name}={} ", zone.number())
    }
}

/// What a line of the list of expected connections says.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The time left, in seconds.
    pub remaining: u32,
    /// The expected tuple.
    pub tuple: &'a Tuple,
    /// What kind it is.
    pub flags: Flags,
    /// The name of the helper that has announced it.
    pub helper: &'a [u8],
}

impl Expected<'_> {
    /// Writes the line of `/proc/net/ip_conntrack_expect`, with its end.
    ///
    /// # Errors
    ///
    /// Where `out` has no room.
    pub fn write_line(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "{} proto={} ", self.remaining, self.tuple.protocol())?;
        write_tuple(out, self.tuple)?;
        out.write_char('\n')
    }

    /// Writes the line of `/proc/net/nf_conntrack_expect`, with its end.
    ///
    /// # Errors
    ///
    /// Where `out` has no room.
    pub fn write_long_line(&self, out: &mut impl Write) -> fmt::Result {
        write!(
            out,
            "{} l3proto = {} proto={} ",
            self.remaining,
            self.tuple.family().number(),
            self.tuple.protocol()
        )?;
        write_tuple(out, self.tuple)?;
        let kinds = [
            (Flags::PERMANENT, "PERMANENT"),
            (Flags::INACTIVE, "INACTIVE"),
            (Flags::USERSPACE, "USERSPACE"),
        ];
        let mut before = "";
        for (flag, kind) in kinds {
            if self.flags.contains(flag) {
                write!(out, "{before}{kind}")?;
                before = ",";
            }
        }
        let name = core::str::from_utf8(self.helper).unwrap_or_default();
        let blank = if before.is_empty() || name.is_empty() {
            ""
        } else {
            " "
        };
        writeln!(out, "{blank}{name}")
    }
}

/// Writes a tuple, with the blank behind it.
fn write_tuple(out: &mut impl Write, tuple: &Tuple) -> fmt::Result {
    match tuple.family() {
        Family::Ipv4 => write!(
            out,
            "src={} dst={} ",
            ipv4(tuple.src_words()),
            ipv4(tuple.dst_words())
        )?,
        Family::Ipv6 => {
            let [src, dst] = [tuple.src_words(), tuple.dst_words()].map(ipv6);
            out.write_str("src=")?;
            write_whole(out, src)?;
            out.write_str(" dst=")?;
            write_whole(out, dst)?;
            out.write_char(' ')?;
        }
    }
    let [kind, code] = tuple.dst_id();
    let [src, dst] = [tuple.src_id(), tuple.dst_id()].map(u16::from_be_bytes);
    match tuple.protocol() {
        protocol::TCP | protocol::UDP | protocol::SCTP => write!(out, "sport={src} dport={dst} "),
        protocol::ICMP | protocol::ICMPV6 => write!(out, "type={kind} code={code} id={src} "),
        protocol::GRE => write!(out, "srckey={src:#x} dstkey={dst:#x} "),
        _ => Ok(()),
    }
}

/// Writes what was counted, with the blank behind it.
fn write_counters(out: &mut impl Write, counters: Option<Counters>) -> fmt::Result {
    match counters {
        Some(Counters { packets, bytes }) => write!(out, "packets={packets} bytes={bytes} "),
        None => Ok(()),
    }
}

/// An address with all its zeros, as the kernel's files have it.
fn write_whole(out: &mut impl Write, address: core::net::Ipv6Addr) -> fmt::Result {
    let [first, rest @ ..] = address.segments();
    write!(out, "{first:04x}")?;
    rest.iter().try_for_each(|word| write!(out, ":{word:04x}"))
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
