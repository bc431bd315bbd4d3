// SPDX-License-Identifier: GPL-2.0
//! The state table: what a segment in a direction makes of a state.
//!
//! The tracker stands between the ends and sees what either sends, not what either gets. So a
//! cell answers: given what both ends are believed to be in, what can this segment mean? Where
//! it may be right although it does not fit what was seen, it is let through without a change.

use crate::{packet::Segment, tuple::Direction};

/// The state of a connection, after RFC 9293 where it has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not seen yet.
    None,
    /// A SYN was seen.
    SynSent,
    /// A SYN and its SYN/ACK were seen.
    SynRecv,
    /// The handshake is over.
    Established,
    /// One end has closed.
    FinWait,
    /// One end has closed, and the other knows.
    CloseWait,
    /// Both ends have closed.
    LastAck,
    /// Both ends have closed, and both know.
    TimeWait,
    /// Reset.
    Close,
    /// SYNs were seen both ways, without an answer to either.
    SynSent2,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The state behind a number (`enum tcp_conntrack`).
    #[inline]
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::SynSent,
            2 => Self::SynRecv,
            3 => Self::Established,
            4 => Self::FinWait,
            5 => Self::CloseWait,
            6 => Self::LastAck,
            7 => Self::TimeWait,
            8 => Self::Close,
            9 => Self::SynSent2,
            _ => return None,
        })
    }

    /// Its name in `/proc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}

/// What a segment makes of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next state.
    To(State),
    /// It may be right, but not by what was seen: let through, nothing changes.
    Ignore,
    /// It cannot be right.
    Invalid,
}

/// One row: the step from each state, in the order of [`State::ALL`].
type Row = [Step; 10];

const SS: Step = Step::To(State::SynSent);
const SR: Step = Step::To(State::SynRecv);
const ES: Step = Step::To(State::Established);
const FW: Step = Step::To(State::FinWait);
const CW: Step = Step::To(State::CloseWait);
const LA: Step = Step::To(State::LastAck);
const TW: Step = Step::To(State::TimeWait);
const CL: Step = Step::To(State::Close);
const S2: Step = Step::To(State::SynSent2);
const IG: Step = Step::Ignore;
const IV: Step = Step::Invalid;

// A SYN of the client: the start, a retransmission of it, or a new start after the end. In
// between it may be a client that has lost its memory: the server's answer will tell.
//                       NO, SS, SR, ES, FW, CW, LA, TW, CL, S2
const CLIENT_SYN: Row = [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2];
// A SYN/ACK of the client answers a SYN of the server, so only a simultaneous open has one.
const CLIENT_SYNACK: Row = [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR];
// The first FIN begins the close, the second ends it, and later ones are retransmissions.
const CLIENT_FIN: Row = [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV];
// Mid-stream it is all there is to pick up; before the SYN/ACK it answers nothing.
const CLIENT_ACK: Row = [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV];
// A reset ends whatever there is, and starts nothing.
const CLIENT_RST: Row = [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL];
// No flag that means anything: never right.
const NONE: Row = [IV; 10];

// A SYN of the server: a simultaneous open, or a reopening with the parts changed.
const SERVER_SYN: Row = [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2];
// The answer to the SYN; later it is a retransmission, or the answer to a SYN that was let
// through, which the client will settle.
const SERVER_SYNACK: Row = [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR];
const SERVER_FIN: Row = [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV];
// Before the handshake is over it may be a challenge to a SYN (RFC 5961), so it is let through.
const SERVER_ACK: Row = [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG];
const SERVER_RST: Row = [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL];

/// The rows by direction and segment, in the order of their numbers.
static ROWS: [[Row; 6]; 2] = [
    [
        CLIENT_SYN,
        CLIENT_SYNACK,
        CLIENT_FIN,
        CLIENT_ACK,
        CLIENT_RST,
        NONE,
    ],
    [
        SERVER_SYN,
        SERVER_SYNACK,
        SERVER_FIN,
        SERVER_ACK,
        SERVER_RST,
        NONE,
    ],
];

/// What `segment`, seen in `direction`, makes of `state`.
#[inline(always)]
#[must_use]
pub fn step(direction: Direction, segment: Segment, state: State) -> Step {
    let [client, server] = &ROWS;
    let rows = match direction {
        Direction::Original => client,
        Direction::Reply => server,
    };
    let row = rows.get(segment as usize);
    // There is one for each.
    let step = row.and_then(|row| row.get(state as usize));
    step.copied().unwrap_or(Step::Invalid)
}
