// SPDX-License-Identifier: GPL-2.0
//! Why a packet is INVALID: a fixed set.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// Why a packet is INVALID, or goes no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, for users.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// The packet ends within its network header.
    NetworkTruncated => "network header truncated",
    /// A header length that cannot be.
    NetworkHeader => "bad network header",
    /// A fragment that was not put together.
    Fragment => "fragment",
    /// The transport header cannot be found behind the extension headers.
    NoTransport => "no transport header",
    /// The packet ends within its transport header.
    TransportTruncated => "transport header truncated",
    /// A checksum is wrong.
    Checksum => "bad checksum",
    /// TCP: a data offset below 20 bytes or behind the end.
    TcpDataOffset => "bad tcp data offset",
    /// TCP: flags that no sender sends together.
    TcpFlags => "bad tcp flags",
    /// TCP: no connection starts like this.
    TcpNotNew => "tcp segment starts no connection",
    /// TCP: not in this state.
    TcpState => "tcp segment does not fit the state",
    /// TCP: beyond what the other end has offered to take.
    TcpSeqAbove => "tcp sequence number above the window",
    /// TCP: data of long ago.
    TcpSeqBelow => "tcp sequence number below the window",
    /// TCP: acknowledges what was not seen.
    TcpAckAbove => "tcp acknowledgement of data not seen",
    /// TCP: acknowledges data of long ago.
    TcpAckBelow => "tcp acknowledgement below the window",
    /// TCP: a little more than the other end has offered to take.
    TcpOvershot => "tcp segment larger than the window",
    /// TCP: a reset that its receiver would not believe (RFC 5961, 3).
    TcpReset => "tcp reset below the window",
    /// TCP: perhaps of a connection that was not seen to begin.
    TcpUnjudged => "tcp segment let through unjudged",
    /// TCP: asks whether a SYN was meant (RFC 5961, 4).
    TcpChallenge => "tcp challenge acknowledgement",
    /// UDP: a length that is too small or behind the end.
    UdpLength => "bad udp length",
    /// ICMP: a type that nobody defined (RFC 1122, 3.2.2).
    IcmpType => "unknown icmp type",
    /// ICMP: neither a request nor an error.
    IcmpNotRequest => "icmp message starts no connection",
    /// ICMP of the other family.
    IcmpFamily => "icmp of the other family",
    /// ICMP error: what it quotes cannot be read.
    QuoteTruncated => "quoted packet truncated",
    /// ICMP error: what it quotes cannot be of a connection.
    QuoteInvalid => "quoted packet is of no connection",
    /// ICMP error: not sent to the host that sent what it quotes.
    QuoteAddress => "icmp error to another than the quoted sender",
    /// ICMP error: no connection has what it quotes.
    QuoteUnknown => "icmp error about no known connection",
    /// ICMPv6 redirect: not from a router on the link (RFC 4861, 8.1).
    Redirect => "bad icmpv6 redirect",
    /// GRE of PPTP that carries something other than PPP.
    GreProtocol => "pptp carries no ppp",
    /// SCTP: a chunk without a length, or no chunk at all.
    SctpChunks => "bad sctp chunks",
    /// SCTP: no association starts like this.
    SctpNotNew => "sctp packet starts no association",
    /// SCTP: not in this state.
    SctpState => "sctp chunk does not fit the state",
    /// SCTP: not the tag that the ends have agreed on.
    SctpTag => "wrong sctp verification tag",
    /// The table is full.
    TableFull => "table full",
    /// Another packet of the flow has made an entry in its own way.
    Clash => "flow is taken",
    /// Entries came and went faster than the packet could find its own.
    Unsettled => "table unsettled",
    /// There was no memory.
    NoMemory => "out of memory",
    /// What the packet announces finds no room among what is expected.
    NotExpected => "cannot expect a connection",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            for other in &Reason::ALL[at + 1..] {
                assert_ne!(reason.name(), other.name());
            }
        }
    }
}
