// SPDX-License-Identifier: GPL-2.0
//! A connection as attributes: in the answer to a request, in an event, beside a packet.

use super::{
    kind::{counters, ct, help, protoinfo, sctp, secctx, seqadj, tcp, timestamp},
    tuple,
    write::{Writer, Written},
};
use crate::{
    event::Events,
    proto::{sctp::Sctp, tcp::Tcp, State},
    show::Counters,
    status::Status,
    tuple::Tuple,
    zone::{Directions, Zone},
};

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its tuples, original and reply.
    pub tuples: [&'a Tuple; 2],
    /// Its zone.
    pub zone: Zone,
    /// Its status bits.
    pub status: Status,
    /// The time left, in seconds.
    pub timeout: u32,
    /// The protocol's state.
    pub state: &'a State,
    /// The firewall mark, where this kernel has one.
    pub mark: Option<u32>,
    /// The security context, where it has one.
    pub context: Option<&'a [u8]>,
    /// A number that tells it from others.
    pub id: u32,
    /// How many hold it.
    pub references: u32,
    /// The original tuple of the connection that has announced it.
    pub master: Option<&'a Tuple>,
    /// What was counted, original and reply, where accounting is on.
    pub counters: Option<[Counters; 2]>,
    /// When it began and ended (zero if not yet), in nanoseconds since 1970, where that is known.
    pub stamps: Option<[u64; 2]>,
    /// The name of its helper.
    pub helper: Option<&'a [u8]>,
    /// Its labels, if it can have any.
    pub labels: Option<[u32; 4]>,
    /// By how much sequence numbers are shifted, original and reply.
    pub shifts: Option<[Shift; 2]>,
}

/// The longest text of a security mark that is told, in bytes.
pub const CONTEXT: usize = 256;

/// Bytes that [`Entry::write_beside_packet`] needs at most: of an IPv6 connection in a zone, with a
/// state, a master, a helper, labels, shifts, counters and stamps; and, if there is one, of the
/// text of a security mark.
#[must_use]
pub const fn room_beside_packet(has_context: bool) -> usize {
    const REST: usize = 500;
    if has_context {
        REST + 12 + CONTEXT // With its end.
    } else {
        REST
    }
}

/// By how much the sequence numbers of a direction are shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// From where on.
    pub position: u32,
    /// By how much before.
    pub before: u32,
    /// By how much after.
    pub after: u32,
}

impl Entry<'_> {
    /// Writes what a list of connections tells.
    ///
    /// # Errors
    ///
    /// [`super::write::NoRoom`], for this and all that follow.
    pub fn write_listed(&self, out: &mut Writer<'_>) -> Written {
        self.write_tuples(out)?;
        self.write_status(out)?;
        self.write_mark(out)?;
        self.write_context(out)?;
        self.write_id(out)?;
        out.be32(ct::USE, self.references)?;
        self.write_master(out)?;
        out.be32(ct::TIMEOUT, self.timeout)?;
        self.write_state(out, Depth::All)?;
        self.write_counters(out)?;
        self.write_stamps(out)?;
        self.write_helper(out)?;
        self.write_labels(out)?;
        self.write_shifts(out)
    }

    /// Writes what an event tells; `time` is when it happened, where that is known.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn write_event(&self, out: &mut Writer<'_>, events: Events, time: Option<u64>) -> Written {
        self.write_tuples(out)?;
        self.write_id(out)?;
        self.write_status(out)?;
        if events.meets(Events::DESTROY) {
            if self.timeout != 0 {
                out.be32(ct::TIMEOUT, self.timeout)?;
            }
            self.write_counters(out)?;
            self.write_stamps(out)?;
            self.write_state(out, Depth::StateAlone)?;
        } else {
            self.write_changes(out, events)?;
        }
        if events.meets(Events::MARK) || self.mark != Some(0) {
            self.write_mark(out)?;
        }
        match time {
            Some(time) => out.be64(ct::TIMESTAMP_EVENT, time),
            None => Ok(()),
        }
    }

    /// What an event tells of a connection that goes on.
    fn write_changes(&self, out: &mut Writer<'_>, events: Events) -> Written {
        out.be32(ct::TIMEOUT, self.timeout)?;
        if events.meets(Events::PROTOINFO) {
            self.write_state(out, Depth::All)?;
        }
        self.write_helper(out)?;
        self.write_context(out)?;
        if events.meets(Events::LABEL) {
            self.write_labels(out)?;
        }
        if events.meets(Events::RELATED) {
            self.write_master(out)?;
        }
        if events.meets(Events::SEQADJ) {
            self.write_shifts(out)?;
        }
        Ok(())
    }

    /// Writes what goes with a packet to who decides about it (NFQUEUE, NFLOG).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn write_beside_packet(&self, out: &mut Writer<'_>) -> Written {
        self.write_tuples(out)?;
        self.write_id(out)?;
        self.write_status(out)?;
        out.be32(ct::TIMEOUT, self.timeout)?;
        self.write_state(out, Depth::All)?;
        self.write_counters(out)?;
        self.write_stamps(out)?;
        self.write_helper(out)?;
        self.write_context(out)?;
        self.write_master(out)?;
        self.write_shifts(out)?;
        self.write_mark(out)?;
        self.write_labels(out)
    }

    /// Both tuples and the zone.
    fn write_tuples(&self, out: &mut Writer<'_>) -> Written {
        let zone = |at| {
            let zone = Some(self.zone).filter(|zone| zone.directions() == at);
            zone.map(Zone::number).filter(|number| *number != 0)
        };
        let [original, reply] = self.tuples;
        tuple::write(out, ct::TUPLE_ORIG, original, zone(Directions::Original))?;
        tuple::write(out, ct::TUPLE_REPLY, reply, zone(Directions::Reply))?;
        match zone(Directions::Both) {
            Some(number) => out.be16(ct::ZONE, number),
            None => Ok(()),
        }
    }

    fn write_status(&self, out: &mut Writer<'_>) -> Written {
        out.be32(ct::STATUS, self.status.bits())
    }

    fn write_id(&self, out: &mut Writer<'_>) -> Written {
        // Of no order: users send it back as it is.
        out.put(ct::ID, &self.id.to_ne_bytes())
    }

    fn write_mark(&self, out: &mut Writer<'_>) -> Written {
        match self.mark {
            Some(mark) => out.be32(ct::MARK, mark),
            None => Ok(()),
        }
    }

    fn write_context(&self, out: &mut Writer<'_>) -> Written {
        match self.context {
            Some(text) => out.nest(ct::SECCTX, |out| out.text(secctx::NAME, text)),
            None => Ok(()),
        }
    }

    fn write_master(&self, out: &mut Writer<'_>) -> Written {
        let master = self
            .master
            .filter(|_| self.status.contains(Status::EXPECTED));
        match master {
            Some(master) => tuple::write(out, ct::TUPLE_MASTER, master, None),
            None => Ok(()),
        }
    }

    fn write_state(&self, out: &mut Writer<'_>, depth: Depth) -> Written {
        match self.state {
            State::Tcp(state) => out.nest(ct::PROTOINFO, |out| {
                out.nest(protoinfo::TCP, |out| write_tcp(out, state, depth))
            }),
            State::Sctp(state) => out.nest(ct::PROTOINFO, |out| {
                out.nest(protoinfo::SCTP, |out| write_sctp(out, state, depth))
            }),
            _ => Ok(()),
        }
    }

    fn write_counters(&self, out: &mut Writer<'_>) -> Written {
        let Some([original, reply]) = self.counters else {
            return Ok(());
        };
        for (kind, counted) in [(ct::COUNTERS_ORIG, original), (ct::COUNTERS_REPLY, reply)] {
            out.nest(kind, |out| {
                out.be64(counters::PACKETS, counted.packets)?;
                out.be64(counters::BYTES, counted.bytes)
            })?;
        }
        Ok(())
    }

    fn write_stamps(&self, out: &mut Writer<'_>) -> Written {
        let Some([start, stop]) = self.stamps else {
            return Ok(());
        };
        out.nest(ct::TIMESTAMP, |out| {
            out.be64(timestamp::START, start)?;
            if stop != 0 {
                out.be64(timestamp::STOP, stop)?;
            }
            Ok(())
        })
    }

    fn write_helper(&self, out: &mut Writer<'_>) -> Written {
        match self.helper {
            Some(name) => out.nest(ct::HELP, |out| out.text(help::NAME, name)),
            None => Ok(()),
        }
    }

    fn write_labels(&self, out: &mut Writer<'_>) -> Written {
        match self.labels.filter(|labels| *labels != [0; 4]) {
            Some(labels) => out.put(ct::LABELS, labels.map(u32::to_ne_bytes).as_flattened()),
            None => Ok(()),
        }
    }

    fn write_shifts(&self, out: &mut Writer<'_>) -> Written {
        let Some([original, reply]) = self.shifts else {
            return Ok(());
        };
        for (kind, shift) in [(ct::SEQ_ADJ_ORIG, original), (ct::SEQ_ADJ_REPLY, reply)] {
            out.nest(kind, |out| {
                out.be32(seqadj::CORRECTION_POS, shift.position)?;
                out.be32(seqadj::OFFSET_BEFORE, shift.before)?;
                out.be32(seqadj::OFFSET_AFTER, shift.after)
            })?;
        }
        Ok(())
    }
}

/// How much is told of a protocol's state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All that a backup needs.
    All,
    /// Its number.
    StateAlone,
}

fn write_tcp(out: &mut Writer<'_>, state: &Tcp, depth: Depth) -> Written {
    out.u8(tcp::STATE, state.state() as u8)?;
    if depth == Depth::StateAlone {
        return Ok(());
    }
    let [original, reply] = state.agreed();
    out.u8(tcp::WSCALE_ORIGINAL, original.scale)?;
    out.u8(tcp::WSCALE_REPLY, reply.scale)?;
    // What is told has no mask.
    out.put(tcp::FLAGS_ORIGINAL, &[original.flags, 0])?;
    out.put(tcp::FLAGS_REPLY, &[reply.flags, 0])
}

fn write_sctp(out: &mut Writer<'_>, state: &Sctp, depth: Depth) -> Written {
    out.u8(sctp::STATE, state.state() as u8)?;
    if depth == Depth::StateAlone {
        return Ok(());
    }
    let [original, reply] = state.tags();
    out.be32(sctp::VTAG_ORIGINAL, original)?;
    out.be32(sctp::VTAG_REPLY, reply)
}
