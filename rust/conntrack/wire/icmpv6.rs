// SPDX-License-Identifier: GPL-2.0
//! ICMPv6 (RFC 4443), neighbour discovery (RFC 4861), multicast listeners (RFC 3810).
//! The first eight bytes are those of ICMP.

const ECHO: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// An echo and its answer.
pub(crate) const ECHOES: [u8; 2] = [ECHO, ECHO_REPLY];
const NODE_QUERY: u8 = 139;
const NODE_REPLY: u8 = 140;
/// A router's word that there is a better one.
pub(crate) const REDIRECT: u8 = 137;
/// How long a redirect's header is, in bytes.
pub(crate) const REDIRECT_LEN: usize = 40;
/// The option that quotes the packet which was redirected.
pub(crate) const OPTION_REDIRECTED: u8 = 4;

/// Whether a message reports that a packet went wrong, and quotes it.
pub(crate) fn is_error(kind: u8) -> bool {
    kind < 128
}

/// Whether a message keeps the link going and belongs to no flow: listeners (130 to 132, 143),
/// routers and neighbours (133 to 136), multicast routers (151, 152).
pub(crate) fn is_link_upkeep(kind: u8) -> bool {
    matches!(kind, 130..=136 | 143 | 151 | 152)
}

/// The type that answers a type, or is answered by it.
#[inline(always)]
pub(crate) fn answer(kind: u8) -> Option<u8> {
    Some(match kind {
        ECHO => ECHO_REPLY,
        ECHO_REPLY => ECHO,
        NODE_QUERY => NODE_REPLY,
        NODE_REPLY => NODE_QUERY,
        _ => return None,
    })
}

/// Whether a message asks for an answer, and so may start a connection.
#[inline]
pub(crate) fn is_request(kind: u8) -> bool {
    matches!(kind, ECHO | NODE_QUERY)
}
