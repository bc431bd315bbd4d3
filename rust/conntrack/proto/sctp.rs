// SPDX-License-Identifier: GPL-2.0
//! SCTP (RFC 9260): states, and the tags by which the ends know each other.

use super::{Before, Effect, Outcome};
use crate::{
    packet::Sctp as View,
    reason::Reason,
    setting::Setting,
    status::Status,
    time::Ticks,
    tuple::Direction,
    wire::sctp::{kind, Chunk, Kinds},
};

/// The state of an association, as the chunks on their way tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not seen yet.
    None,
    /// Over, or only asked for.
    Closed,
    /// The answer to the request was seen.
    CookieWait,
    /// The cookie was sent back.
    CookieEchoed,
    /// Open.
    Established,
    /// The client shuts down.
    ShutdownSent,
    /// The server shuts down.
    ShutdownReceived,
    /// The other end agrees.
    ShutdownAckSent,
    /// A further path of an association is being tried.
    HeartbeatSent,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownSent,
        Self::ShutdownReceived,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
    ];

    /// The state behind a number (`enum sctp_conntrack`).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in `/proc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownReceived => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }
}

/// A timeout for each state.
#[derive(Clone, Debug)]
pub struct StateTimeouts([Setting<Ticks>; 9]);

impl StateTimeouts {
    /// What `timeout` says of each state.
    pub fn new(timeout: impl FnMut(State) -> Setting<Ticks>) -> Self {
        Self(State::ALL.map(timeout))
    }

    /// The timeout of a state.
    #[must_use]
    pub fn of(&self, state: State) -> Ticks {
        self.setting(state).get()
    }

    /// The same, to be changed.
    #[must_use]
    pub fn setting(&self, state: State) -> &Setting<Ticks> {
        let [none, closed, wait, echoed, open, sent, received, acked, heartbeat] = &self.0;
        match state {
            State::None => none,
            State::Closed => closed,
            State::CookieWait => wait,
            State::CookieEchoed => echoed,
            State::Established => open,
            State::ShutdownSent => sent,
            State::ShutdownReceived => received,
            State::ShutdownAckSent => acked,
            State::HeartbeatSent => heartbeat,
        }
    }
}

/// What is remembered of an association.
#[derive(Clone, Copy, Debug)]
pub struct Sctp {
    /// The tags that packets of a direction carry; zero where it is not known.
    tags: [u32; 2],
    state: State,
    /// Which directions have sent an INIT that is not settled.
    inits: [bool; 2],
    /// The direction of a heartbeat with a wrong tag, whose answer would set it right.
    strange_heartbeat: Option<Direction>,
}

/// What a user makes of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its state.
    pub state: State,
    /// The tags that packets of a direction carry, original and reply.
    pub tags: [u32; 2],
}

/// What a chunk makes of a state; `None` where it cannot be right.
#[must_use]
pub fn step(direction: Direction, chunk: u8, state: State) -> Option<State> {
    use State::{
        Closed, CookieEchoed, CookieWait, Established, HeartbeatSent, None as Fresh,
        ShutdownAckSent, ShutdownReceived, ShutdownSent,
    };
    let original = direction == Direction::Original;
    let known = matches!(
        chunk,
        kind::INIT
            | kind::INIT_ACK
            | kind::HEARTBEAT
            | kind::HEARTBEAT_ACK
            | kind::ABORT
            | kind::SHUTDOWN
            | kind::SHUTDOWN_ACK
            | kind::ERROR
            | kind::COOKIE_ECHO
            | kind::COOKIE_ACK
            | kind::SHUTDOWN_COMPLETE
    );
    if !known {
        return Some(state);
    }
    let heartbeat = matches!(chunk, kind::HEARTBEAT | kind::HEARTBEAT_ACK);
    if !original && (state == Fresh || (state == HeartbeatSent && !heartbeat)) {
        return None;
    }
    Some(match (chunk, state) {
        (kind::HEARTBEAT, Fresh) => HeartbeatSent,
        (kind::HEARTBEAT_ACK, HeartbeatSent) if !original => Established,
        (kind::HEARTBEAT | kind::HEARTBEAT_ACK, HeartbeatSent) => HeartbeatSent,
        (kind::SHUTDOWN_ACK, Fresh | HeartbeatSent) => ShutdownAckSent,
        (kind::INIT, HeartbeatSent) => CookieWait,
        (_, Fresh | HeartbeatSent) => Closed,
        (kind::ABORT, _) => Closed,
        (kind::INIT, ShutdownSent | ShutdownReceived) if original => Closed,
        (kind::INIT_ACK, Closed) if !original => CookieWait,
        (kind::SHUTDOWN, Established) if original => ShutdownSent,
        (kind::SHUTDOWN, Established) => ShutdownReceived,
        (kind::SHUTDOWN_ACK, ShutdownSent | ShutdownReceived) => ShutdownAckSent,
        (kind::ERROR, CookieEchoed) if !original => Closed,
        (kind::COOKIE_ECHO, CookieWait) => CookieEchoed,
        (kind::COOKIE_ACK, CookieEchoed) => Established,
        (kind::SHUTDOWN_COMPLETE, ShutdownAckSent) => Closed,
        _ => state,
    })
}

/// What a chunk does beside its step.
enum Note {
    Nothing,
    /// It passes and gives no more time.
    Stale,
}

impl Sctp {
    /// The state of an association that a packet may start.
    pub(super) fn open(packet: &View<'_>) -> Result<Self, Reason> {
        let kinds = packet.kinds()?;
        // RFC 9260, 8.4: out of the blue these are discarded.
        if [kind::ABORT, kind::SHUTDOWN_COMPLETE, kind::COOKIE_ACK]
            .iter()
            .any(|kind| kinds.has(*kind))
        {
            return Err(Reason::SctpNotNew);
        }
        let mut new = Self {
            tags: [0; 2],
            state: State::None,
            inits: [false; 2],
            strange_heartbeat: None,
        };
        for chunk in packet.chunks() {
            if step(Direction::Original, chunk.kind, State::None) == Some(State::None) {
                return Err(Reason::SctpNotNew);
            }
            match chunk.kind {
                kind::INIT => {
                    // RFC 9260, 8.5.1 (A).
                    let tag = packet.initiate_tag(&chunk).filter(|_| packet.tag == 0);
                    *new.tag_mut(Direction::Reply) = tag.ok_or(Reason::SctpTag)?;
                }
                kind::HEARTBEAT => *new.tag_mut(Direction::Original) = packet.tag,
                // RFC 9260, 8.4 (5) and (8): the answer, if one comes, reflects the tag.
                kind::SHUTDOWN_ACK => *new.tag_mut(Direction::Reply) = packet.tag,
                _ => {}
            }
        }
        Ok(new)
    }

    /// As words: the tags; then bytes for the state, for each INIT, for the heartbeat.
    pub(super) fn keep(self) -> [u32; 3] {
        let [original, reply] = self.tags;
        let [first, second] = self.inits.map(u8::from);
        let heartbeat = match self.strange_heartbeat {
            None => 0,
            Some(Direction::Original) => 1,
            Some(Direction::Reply) => 2,
        };
        let rest = [self.state as u8, first, second, heartbeat];
        [original, reply, u32::from_ne_bytes(rest)]
    }

    /// From words that `keep` has made.
    pub(super) fn kept([original, reply, rest]: [u32; 3]) -> Self {
        let [state, first, second, heartbeat] = rest.to_ne_bytes();
        Self {
            tags: [original, reply],
            state: State::from_number(state).unwrap_or(State::None),
            inits: [first, second].map(|init| init != 0),
            strange_heartbeat: match heartbeat {
                1 => Some(Direction::Original),
                2 => Some(Direction::Reply),
                _ => None,
            },
        }
    }

    /// Changes it as a user wants.
    pub(super) fn change(&mut self, change: &Change) {
        self.state = change.state;
        self.tags = change.tags;
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The tags that packets of a direction carry, original and reply; zero where one is not known.
    #[must_use]
    pub fn tags(&self) -> [u32; 2] {
        self.tags
    }

    /// Whether it is shutting down; such an entry may be evicted.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(
            self.state,
            State::ShutdownSent | State::ShutdownReceived | State::ShutdownAckSent
        )
    }

    fn tag(&self, direction: Direction) -> u32 {
        let [original, reply] = self.tags;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    fn tag_mut(&mut self, direction: Direction) -> &mut u32 {
        let [original, reply] = &mut self.tags;
        match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        }
    }

    /// Whether a direction has sent an INIT that is not settled, and the other one.
    fn inits(&mut self, direction: Direction) -> (&mut bool, &mut bool) {
        let [original, reply] = &mut self.inits;
        match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        }
    }

    /// What a packet does.
    pub(super) fn update(
        &mut self,
        packet: &View<'_>,
        direction: Direction,
        entry: Before<'_>,
    ) -> Outcome {
        let kinds = match packet.kinds() {
            Ok(kinds) => kinds,
            Err(reason) => return Outcome::Invalid(reason),
        };
        if !has_own_rule(&kinds) && packet.tag != self.tag(direction) {
            return Outcome::Invalid(Reason::SctpTag);
        }
        let confirmed = entry.status.contains(Status::CONFIRMED);
        let before = self.state;
        let mut stale = false;
        let mut set = Status::NONE;
        let mut last = State::None;
        for chunk in packet.chunks() {
            match self.check_tag(packet, &chunk, &kinds, direction, stale) {
                Ok(Note::Nothing) => {}
                Ok(Note::Stale) => {
                    stale = true;
                    continue;
                }
                Err(reason) => return Outcome::Invalid(reason),
            }
            let Some(new) = step(direction, chunk.kind, self.state) else {
                return Outcome::Invalid(Reason::SctpState);
            };
            match self.take_tag(packet, &chunk, direction, new, confirmed) {
                Ok(Note::Nothing) => {}
                Ok(Note::Stale) => stale = true,
                Err(reason) => return Outcome::Invalid(reason),
            }
            if new == State::Established && self.state != new {
                set = Status::ASSURED;
            }
            self.state = new;
            last = new;
        }
        Outcome::Accept(Effect {
            timeout: (!stale).then(|| entry.timeouts.sctp.of(last)),
            set,
            moved: self.state != before,
            remark: None,
        })
    }

    /// Whether the packet's tag suits a chunk (RFC 9260, 8.5.1).
    fn check_tag(
        &mut self,
        packet: &View<'_>,
        chunk: &Chunk,
        kinds: &Kinds,
        direction: Direction,
        stale: bool,
    ) -> Result<Note, Reason> {
        let right = match chunk.kind {
            kind::INIT => packet.tag == 0,
            kind::ABORT | kind::SHUTDOWN_COMPLETE if chunk.is_reflected() => {
                packet.tag == self.tag(direction.other())
            }
            kind::ABORT | kind::SHUTDOWN_COMPLETE | kind::COOKIE_ECHO => {
                packet.tag == self.tag(direction)
            }
            kind::COOKIE_ACK => {
                self.inits = [false; 2];
                true
            }
            kind::HEARTBEAT | kind::HEARTBEAT_ACK => {
                return self.heartbeat(packet, chunk, kinds, direction, stale);
            }
            _ => true,
        };
        if right {
            Ok(Note::Nothing)
        } else {
            Err(Reason::SctpTag)
        }
    }

    /// Heartbeats try paths that saw no handshake: the tags are those that both ends use, once
    /// one has asked and the other has answered.
    fn heartbeat(
        &mut self,
        packet: &View<'_>,
        chunk: &Chunk,
        kinds: &Kinds,
        direction: Direction,
        stale: bool,
    ) -> Result<Note, Reason> {
        if self.tag(direction) == 0 {
            *self.tag_mut(direction) = packet.tag;
            return Ok(Note::Nothing);
        }
        if packet.tag == self.tag(direction) {
            self.strange_heartbeat = None;
            return Ok(Note::Nothing);
        }
        if kinds.has(kind::DATA) || stale {
            return Err(Reason::SctpTag);
        }
        if chunk.kind == kind::HEARTBEAT {
            self.strange_heartbeat = Some(direction);
            return Ok(Note::Stale);
        }
        if self.strange_heartbeat != Some(direction.other()) {
            return Err(Reason::SctpTag);
        }
        self.strange_heartbeat = None;
        *self.tag_mut(direction) = packet.tag;
        *self.tag_mut(direction.other()) = 0;
        Ok(Note::Nothing)
    }

    /// Remembers the tag that a chunk asks for. Where both ends ask at once (RFC 9260, 5.2), what
    /// one has asked for last holds.
    fn take_tag(
        &mut self,
        packet: &View<'_>,
        chunk: &Chunk,
        direction: Direction,
        new: State,
        confirmed: bool,
    ) -> Result<Note, Reason> {
        if !matches!(chunk.kind, kind::INIT | kind::INIT_ACK) {
            return Ok(Note::Nothing);
        }
        let tag = packet.initiate_tag(chunk).ok_or(Reason::SctpChunks)?;
        let known = self.tag(direction.other());
        let state = self.state;
        let (mine, others) = self.inits(direction);
        let mut note = Note::Nothing;
        if chunk.kind == kind::INIT {
            // One that comes again says nothing new.
            if state == State::None || known != tag {
                if *mine && *others {
                    *others = false;
                }
                *mine = true;
            }
            // Else whoever keeps asking keeps the entry for ever.
            if new == State::Closed && state == State::Closed && confirmed {
                note = Note::Stale;
            }
        } else {
            let strange = known != tag;
            let settled = !*others && known != 0;
            let collision = *mine && *others;
            if strange && (settled || collision) {
                return Err(Reason::SctpTag);
            }
        }
        *self.tag_mut(direction.other()) = tag;
        Ok(note)
    }
}

/// Whether a chunk in the packet has a rule of its own for the tag.
fn has_own_rule(kinds: &Kinds) -> bool {
    [
        kind::INIT,
        kind::SHUTDOWN_COMPLETE,
        kind::COOKIE_ECHO,
        kind::ABORT,
        kind::SHUTDOWN_ACK,
        kind::HEARTBEAT,
        kind::HEARTBEAT_ACK,
    ]
    .iter()
    .any(|kind| kinds.has(*kind))
}
