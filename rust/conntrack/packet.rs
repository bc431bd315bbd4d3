// SPDX-License-Identifier: GPL-2.0
//! A packet, looked at once with every length checked.

use crate::{
    reason::Reason,
    tuple::{protocol, Family, Tuple},
    wire::{
        header, icmp, icmpv6,
        ip::{self, Network},
        tcp::{self, TcpView},
        udp::{self, UdpView},
    },
};

pub use crate::wire::tcp::{Options, Segment, TcpOption, TcpView as Tcp};

/// How many bytes of a packet, from its network header on, are enough for all that is looked at.
pub const HEADER_WINDOW: usize = 256;

/// What the transport header says.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(TcpView<'a>),
    /// UDP.
    Udp(UdpView),
    /// ICMP over IPv4.
    Icmp,
    /// ICMP over IPv6.
    Icmpv6,
    /// Anything else: addresses and protocol are all that is known.
    Other,
}

/// A checksum that the caller can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The transport protocol.
    pub protocol: u8,
    /// Where its header begins, from the network header on.
    pub offset: u16,
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    len: usize,
    network: Network,
    transport: Transport<'a>,
}

/// What a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A flow of its own.
    Flow(Tuple),
    /// The flow of a packet that went wrong: this is the tuple that an answer to it has.
    Error(Tuple),
    /// None: upkeep of the link, which is not tracked.
    Untracked,
}

impl<'a> Packet<'a> {
    /// Looks at a packet of `len` bytes, of which `bytes` holds at least the first
    /// [`HEADER_WINDOW`], both from the network header on.
    ///
    /// # Errors
    ///
    /// The reason why it is INVALID.
    #[inline]
    pub fn parse(family: Family, bytes: &'a [u8], len: u32) -> Result<Self, Reason> {
        // More bytes than the packet has would be another packet's.
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = bytes.get(..len).unwrap_or(bytes);
        let network = ip::parse(family, bytes, 0, len)?;
        let at = network.transport;
        let transport = match (network.protocol, family) {
            (protocol::TCP, _) => Transport::Tcp(tcp::parse(bytes, at, len)?),
            (protocol::UDP, _) => Transport::Udp(udp::parse(family, bytes, at, len)?),
            (protocol::ICMP, Family::Ipv4) => Transport::Icmp,
            (protocol::ICMPV6, Family::Ipv6) => Transport::Icmpv6,
            (protocol::ICMP | protocol::ICMPV6, _) => return Err(Reason::IcmpFamily),
            // They have trackers of their own; the generic one would let any port through where
            // a rule allows one (CVE-2014-8160).
            (protocol::SCTP | protocol::GRE, _) => return Err(Reason::ProtocolNotSupported),
            _ => Transport::Other,
        };
        Ok(Self {
            bytes,
            len,
            network,
            transport,
        })
    }

    /// The network protocol.
    #[inline]
    #[must_use]
    pub fn family(&self) -> Family {
        self.network.family
    }

    /// Whether this is the first fragment of an IPv4 packet, not the whole of one.
    #[inline]
    #[must_use]
    pub fn is_first_fragment(&self) -> bool {
        self.network.more_fragments
    }

    /// What the transport header says.
    #[inline]
    #[must_use]
    pub fn transport(&self) -> &Transport<'a> {
        &self.transport
    }

    /// The checksum to verify, where the packet has one that counts.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> Option<Checksum> {
        match self.transport {
            Transport::Udp(udp) if !udp.has_checksum => None,
            Transport::Other => None,
            _ => Some(Checksum {
                protocol: self.network.protocol,
                offset: u16::try_from(self.network.transport).ok()?,
            }),
        }
    }

    /// Tells which flow the packet is about.
    ///
    /// # Errors
    ///
    /// The reason why it is INVALID.
    #[inline]
    pub fn classify(&self) -> Result<Class, Reason> {
        match self.transport {
            Transport::Icmp => self.classify_icmp(),
            Transport::Icmpv6 => self.classify_icmpv6(),
            _ => Ok(Class::Flow(tuple(self.bytes, &self.network)?)),
        }
    }

    fn icmp_header(&self) -> Result<&icmp::Header, Reason> {
        header(self.bytes, self.network.transport).ok_or(Reason::TransportTruncated)
    }

    fn classify_icmp(&self) -> Result<Class, Reason> {
        let kind = self.icmp_header()?.kind;
        if kind > icmp::LAST {
            return Err(Reason::IcmpType);
        }
        if icmp::is_error(kind) {
            return self.quoted(
                self.network
                    .transport
                    .saturating_add(size_of::<icmp::Header>()),
            );
        }
        self.query()
    }

    fn classify_icmpv6(&self) -> Result<Class, Reason> {
        let icmp = self.icmp_header()?;
        if icmpv6::is_link_upkeep(icmp.kind) {
            return Ok(Class::Untracked);
        }
        if icmp.kind == icmpv6::REDIRECT {
            return self.redirect(icmp.code);
        }
        if icmpv6::is_error(icmp.kind) {
            return self.quoted(
                self.network
                    .transport
                    .saturating_add(size_of::<icmp::Header>()),
            );
        }
        self.query()
    }

    /// A message with an identifier, which somebody answers.
    fn query(&self) -> Result<Class, Reason> {
        let tuple = tuple(self.bytes, &self.network)?;
        match tuple.invert() {
            Some(_) => Ok(Class::Flow(tuple)),
            None => Err(Reason::IcmpNotRequest),
        }
    }

    /// An ICMPv6 redirect: only a router on the link may send one (RFC 4861, 8.1), and it quotes
    /// in an option.
    fn redirect(&self, code: u8) -> Result<Class, Reason> {
        if code != 0 {
            return self.query();
        }
        let [first, ..] = self.network.src;
        let [a, b, ..] = first.to_ne_bytes();
        let link_local = a == 0xfe && b & 0xc0 == 0x80;
        if self.network.hop_limit != 255 || !link_local {
            return Err(Reason::Redirect);
        }
        let at = self.network.transport.saturating_add(icmpv6::REDIRECT_LEN);
        if at > self.len {
            return Err(Reason::TransportTruncated);
        }
        let option: &[u8; 2] = header(self.bytes, at).ok_or(Reason::Redirect)?;
        match *option {
            [_, 0] => Err(Reason::Redirect),
            [icmpv6::OPTION_REDIRECTED, _] => self.quoted(at.saturating_add(8)),
            _ => self.query(),
        }
    }

    /// The flow of the packet quoted at `offset`.
    fn quoted(&self, offset: usize) -> Result<Class, Reason> {
        let inner =
            ip::parse(self.network.family, self.bytes, offset, self.len).map_err(|reason| {
                match reason {
                    Reason::NetworkTruncated => Reason::QuoteTruncated,
                    _ => Reason::QuoteInvalid,
                }
            })?;
        let sent = tuple(self.bytes, &inner).map_err(|_| Reason::QuoteTruncated)?;
        // The quoted packet went one way, the error comes the other: the answer's tuple finds
        // the connection, in the direction that the error travels.
        let answer = sent.invert().ok_or(Reason::QuoteInvalid)?;
        // An error goes to the host that sent what it quotes. Anything else is an attempt to be
        // RELATED to a connection of others.
        if self.network.dst != answer.dst_words() {
            return Err(Reason::QuoteAddress);
        }
        Ok(Class::Error(answer))
    }
}

/// The tuple of a packet in its own direction.
#[inline]
fn tuple(bytes: &[u8], network: &Network) -> Result<Tuple, Reason> {
    let at = network.transport;
    let (src_id, dst_id) = match network.protocol {
        // Ports are the first four bytes; of a quoted packet there may be no more than eight.
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let ports: &[[u8; 2]; 2] = header(bytes, at).ok_or(Reason::TransportTruncated)?;
            let [src, dst] = *ports;
            (src, dst)
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let icmp: &icmp::Header = header(bytes, at).ok_or(Reason::TransportTruncated)?;
            (icmp.id, [icmp.kind, icmp.code])
        }
        _ => ([0; 2], [0; 2]),
    };
    Ok(Tuple::new(
        network.family,
        network.protocol,
        network.src,
        src_id,
        network.dst,
        dst_id,
    ))
}
