// SPDX-License-Identifier: GPL-2.0
//! A packet, looked at once with every length checked.

use crate::{
    reason::Reason,
    seq::Seq,
    tuple::{protocol, Family, Tuple},
    wire::{
        icmp::{self, IcmpView},
        icmpv6,
        ip::{self, Network},
        sctp::{self, SctpView},
        tcp::{self, TcpView},
        udp::{self, UdpView},
    },
};

pub use crate::wire::{
    icmp::IcmpView as Icmp,
    sctp::SctpView as Sctp,
    tcp::{Options, Segment, TcpOption, TcpView as Tcp},
    Bytes, Rest,
};

/// How many bytes of a packet, from its network header on, are enough for nearly all that is
/// looked at. The options of a TCP segment that lie behind them are not seen.
pub const HEADER_WINDOW: usize = 256;

/// What the transport header says.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(TcpView<'a>),
    /// UDP.
    Udp(UdpView),
    /// ICMP over IPv4.
    Icmp(IcmpView),
    /// ICMP over IPv6.
    Icmpv6(IcmpView),
    /// SCTP.
    Sctp(SctpView<'a>),
    /// GRE.
    Gre,
    /// Anything else: addresses and protocol are all that is known.
    Other,
}

impl Transport<'_> {
    /// Whether the state of its protocol is more than a word, and changed by one packet at a time.
    #[inline(always)]
    #[must_use]
    pub fn has_lock(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Sctp(_))
    }
}

/// A checksum that the caller can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The transport protocol.
    pub protocol: u8,
    /// Where its header begins, from the network header on; the packet holds that header.
    pub offset: u16,
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: Bytes<'a>,
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

/// The transport protocol's number of a packet, as far as its network header can be read.
#[must_use]
pub fn protocol_of(family: Family, bytes: Bytes<'_>) -> Option<u8> {
    Some(ip::parse(family, bytes, 0).ok()?.protocol)
}

/// The words of a packet's addresses, source and destination, as far as its network header can be
/// read.
#[must_use]
pub fn addresses_of(family: Family, bytes: Bytes<'_>) -> Option<[[u32; 4]; 2]> {
    let network = ip::parse(family, bytes, 0).ok()?;
    Some([network.src, network.dst])
}

/// The flow that a packet is of, whatever its transport protocol has to say of it.
#[must_use]
pub fn flow_of(family: Family, bytes: Bytes<'_>) -> Option<Tuple> {
    let network = ip::parse(family, bytes, 0).ok()?;
    tuple(bytes, &network).ok()
}

/// The tuple of a packet as far as it can be read: for what is said of packets that are INVALID.
#[must_use]
pub fn tuple_of(family: Family, bytes: Bytes<'_>) -> Option<Tuple> {
    let network = ip::parse(family, bytes, 0).ok()?;
    tuple(bytes, &network).ok().or_else(|| {
        Some(Tuple::new(
            family,
            network.protocol,
            network.src,
            [0; 2],
            network.dst,
            [0; 2],
        ))
    })
}

/// What becomes of a packet that was read in the quickest way. Each kind of packet has a copy of its
/// own of [`Ways::flow`], where the compiler knows the kind.
pub trait Ways<'a>: Sized {
    /// What comes of it.
    type End;

    /// A packet of a flow.
    fn flow(self, tuple: Tuple, header: impl Header<'a>) -> Self::End;

    /// A TCP segment that does something else than to acknowledge.
    fn segment(self, tuple: Tuple, segment: TcpView<'a>) -> Self::End;
}

/// A transport header that lies at hand and makes sense. It is read when it is needed, for what was read
/// long before would be kept in memory.
pub trait Header<'a>: Copy {
    /// Whether the state of its protocol is more than a word, as [`Transport::has_lock`] says.
    fn has_lock(&self) -> bool;

    /// What it says.
    fn read(&self) -> Transport<'a>;
}

impl Header<'_> for UdpView {
    #[inline(always)]
    fn has_lock(&self) -> bool {
        false
    }

    #[inline(always)]
    fn read(&self) -> Transport<'static> {
        Transport::Udp(*self)
    }
}

impl<'a> Header<'a> for tcp::Acknowledgement<'a> {
    #[inline(always)]
    fn has_lock(&self) -> bool {
        true
    }

    #[inline(always)]
    fn read(&self) -> Transport<'a> {
        Transport::Tcp(self.view())
    }
}

/// An echo, which is another for each family.
#[derive(Clone, Copy)]
struct Echo<const V4: bool>(IcmpView);

impl<const V4: bool> Header<'_> for Echo<V4> {
    #[inline(always)]
    fn has_lock(&self) -> bool {
        false
    }

    #[inline(always)]
    fn read(&self) -> Transport<'static> {
        if V4 {
            Transport::Icmp(self.0)
        } else {
            Transport::Icmpv6(self.0)
        }
    }
}

/// A packet of the usual form, read in the quickest way: UDP, TCP, or an echo, without options of the network header, whole, and all of its headers
/// within what lies at hand in `bytes`.
///
/// `None` says nothing of the packet: [`Packet::parse`] does.
#[inline(always)]
pub fn quick<'a, W: Ways<'a>>(family: Family, bytes: Bytes<'a>, ways: W) -> Option<W::End> {
    match family {
        Family::Ipv4 => {
            let (network, at) = ip::usual_v4(bytes)?;
            transport(family, &network, bytes, at, ways)
        }
        Family::Ipv6 => {
            let (network, at) = ip::usual_v6(bytes)?;
            transport(family, &network, bytes, at, ways)
        }
    }
}

/// The same behind the network header.
#[inline(always)]
fn transport<'a, W: Ways<'a>>(
    family: Family,
    network: &ip::Usual,
    bytes: Bytes<'a>,
    at: usize,
    ways: W,
) -> Option<W::End> {
    // Those that come most are asked for first.
    if network.protocol == protocol::TCP {
        let segment = tcp::usual(bytes, at)?;
        let tuple = network.tuple(family, protocol::TCP, segment.ports());
        return Some(match segment.acknowledgement(bytes, at) {
            Some(header) => ways.flow(tuple, header),
            None => ways.segment(tuple, segment.any()?),
        });
    }
    if network.protocol == protocol::UDP {
        let (ports, view) = udp::usual(bytes, at)?;
        let tuple = network.tuple(family, protocol::UDP, ports);
        return Some(ways.flow(tuple, view));
    }
    seldom();
    match (network.protocol, family) {
        (protocol::ICMP, Family::Ipv4) => {
            let view = icmp::usual(bytes, at, icmp::ECHOES)?;
            let ids = [view.id, [view.kind, view.code]];
            let tuple = network.tuple(family, protocol::ICMP, ids);
            Some(ways.flow(tuple, Echo::<true>(view)))
        }
        (protocol::ICMPV6, Family::Ipv6) => {
            let view = icmp::usual(bytes, at, icmpv6::ECHOES)?;
            let ids = [view.id, [view.kind, view.code]];
            let tuple = network.tuple(family, protocol::ICMPV6, ids);
            Some(ways.flow(tuple, Echo::<false>(view)))
        }
        _ => None,
    }
}

/// Tells the compiler that few packets come by.
#[cold]
#[inline(never)]
fn seldom() {}

/// The same packets: their tuple, and what their transport header says.
pub fn usual(family: Family, bytes: Bytes<'_>) -> Option<(Tuple, Transport<'_>)> {
    quick(family, bytes, Read)
}

/// To read a packet, and no more.
struct Read;

impl<'a> Ways<'a> for Read {
    type End = (Tuple, Transport<'a>);

    #[inline(always)]
    fn flow(self, tuple: Tuple, header: impl Header<'a>) -> Self::End {
        (tuple, header.read())
    }

    #[inline(always)]
    fn segment(self, tuple: Tuple, segment: TcpView<'a>) -> Self::End {
        (tuple, Transport::Tcp(segment))
    }
}

impl<'a> Packet<'a> {
    /// Looks at a packet.
    ///
    /// # Errors
    ///
    /// The reason why it is INVALID.
    #[inline]
    pub fn parse(family: Family, bytes: Bytes<'a>) -> Result<Self, Reason> {
        let network = ip::parse(family, bytes, 0)?;
        let at = network.transport;
        let transport = match (network.protocol, family) {
            (protocol::TCP, _) => Transport::Tcp(tcp::parse(bytes, at)?),
            (protocol::UDP, _) => Transport::Udp(udp::parse(family, bytes, at)?),
            (protocol::ICMP, Family::Ipv4) => Transport::Icmp(icmp::parse(bytes, at)?),
            (protocol::ICMPV6, Family::Ipv6) => Transport::Icmpv6(icmp::parse(bytes, at)?),
            (protocol::ICMP | protocol::ICMPV6, _) => return Err(Reason::IcmpFamily),
            (protocol::SCTP, _) => Transport::Sctp(sctp::parse(bytes, at)?),
            (protocol::GRE, _) => Transport::Gre,
            _ => Transport::Other,
        };
        Ok(Self {
            bytes,
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

    /// The transport protocol's number.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.network.protocol
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

    /// What follows the transport header, and where it begins in the stream (TCP; zero of UDP);
    /// `None` of other protocols, and where it does not all lie at hand.
    #[must_use]
    pub fn payload(&self) -> Option<(&'a [u8], Seq)> {
        let at = self.network.transport;
        let (from, to, seq) = match self.transport {
            Transport::Tcp(view) => {
                let from = at.checked_add(tcp::header_len(self.bytes, at)?)?;
                (from, self.bytes.len(), view.seq)
            }
            Transport::Udp(_) => {
                let (from, to) = udp::payload(self.bytes, at)?;
                (from, to, Seq::default())
            }
            _ => return None,
        };
        Some((self.bytes.at_hand(from, to)?, seq))
    }

    /// The checksum to verify, where the packet has one that counts.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> Option<Checksum> {
        match self.transport {
            Transport::Udp(udp) if !udp.has_checksum => None,
            Transport::Gre | Transport::Other => None,
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
            Transport::Icmp(icmp) => self.classify_icmp(icmp),
            Transport::Icmpv6(icmp) => self.classify_icmpv6(icmp),
            _ => Ok(Class::Flow(tuple(self.bytes, &self.network)?)),
        }
    }

    fn classify_icmp(&self, icmp: IcmpView) -> Result<Class, Reason> {
        if icmp.kind > icmp::LAST {
            return Err(Reason::IcmpType);
        }
        if icmp::is_error(icmp.kind) {
            return self.quoted(self.behind_icmp());
        }
        self.query()
    }

    fn classify_icmpv6(&self, icmp: IcmpView) -> Result<Class, Reason> {
        if icmpv6::is_link_upkeep(icmp.kind) {
            return Ok(Class::Untracked);
        }
        if icmp.kind == icmpv6::REDIRECT {
            return self.redirect(icmp.code);
        }
        if icmpv6::is_error(icmp.kind) {
            return self.quoted(self.behind_icmp());
        }
        self.query()
    }

    /// Where an error's quote begins.
    fn behind_icmp(&self) -> usize {
        self.network.transport.saturating_add(icmp::HEADER_LEN)
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
        if at > self.bytes.len() {
            return Err(Reason::TransportTruncated);
        }
        let option: [u8; 2] = self.bytes.read(at).ok_or(Reason::Redirect)?;
        match option {
            [_, 0] => Err(Reason::Redirect),
            [icmpv6::OPTION_REDIRECTED, _] => self.quoted(at.saturating_add(8)),
            _ => self.query(),
        }
    }

    /// The flow of the packet quoted at `offset`.
    fn quoted(&self, offset: usize) -> Result<Class, Reason> {
        let inner =
            ip::parse(self.network.family, self.bytes, offset).map_err(|reason| match reason {
                Reason::NetworkTruncated => Reason::QuoteTruncated,
                _ => Reason::QuoteInvalid,
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
fn tuple(bytes: Bytes<'_>, network: &Network) -> Result<Tuple, Reason> {
    let at = network.transport;
    let (src_id, dst_id) = match network.protocol {
        // Ports are the first four bytes; of a quoted packet there may be no more than eight.
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let [src, dst]: [[u8; 2]; 2] = bytes.read(at).ok_or(Reason::TransportTruncated)?;
            (src, dst)
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let icmp = icmp::parse(bytes, at)?;
            (icmp.id, [icmp.kind, icmp.code])
        }
        protocol::GRE => ([0; 2], gre_key(bytes, at)?),
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

/// What tells the calls of a PPTP connection apart (RFC 2637, 4.1); other GRE has nothing.
fn gre_key(bytes: Bytes<'_>, at: usize) -> Result<[u8; 2], Reason> {
    const VERSION: u8 = 7;
    const PPP: [u8; 2] = [0x88, 0x0b];
    match bytes.read::<[u8; 4]>(at) {
        Some([_, flags, a, b]) if flags & VERSION == 1 => match bytes.read::<[u8; 8]>(at) {
            Some(_) if [a, b] != PPP => Err(Reason::GreProtocol),
            Some([.., c, d]) => Ok([c, d]),
            None => Ok([0; 2]),
        },
        _ => Ok([0; 2]),
    }
}
