// SPDX-License-Identifier: GPL-2.0
//! The expression `ct`: what rules read of a packet's connection, and write on it.

use core::ffi::CStr;

use conntrack::{
    ctinfo::CtInfo,
    event::Events,
    netlink::{
        write::{Writer, Written},
        Error,
    },
    rule::{
        nftables::{
            ct::{self, Key, Way},
            Operand, Step,
        },
        state::State,
        Seen,
    },
    tuple::{Direction, Family},
    zone::{Directions, Zone},
};
use netfilter::{
    nfnetlink::Message,
    nftables::{AtHook, Attributes, Expression, Place, Register},
    Account, Attached, Conn, Skb, HZ,
};

use super::check_family;
use crate::{
    control::SUPPORT,
    namespace::Namespace,
    rules::{conn, marks, states, traffic},
};

/// The expression.
#[derive(Clone, Copy)]
pub struct Ct(ct::Ct);

impl Expression for Ct {
    const NAME: &'static CStr = c"ct";
    const FORM: Message = Message::with(&ct::POLICY);

    fn new(attributes: &Attributes<'_>, place: &Place<'_>) -> Result<Self, Error> {
        let wanted = ct::Ct::read(|kind| attributes.get(kind), place.family, SUPPORT)?;
        check_family(place)?;
        Ok(Self(wanted))
    }

    fn made(&self, place: &Place<'_>) {
        match self.0.key {
            Key::Labels => marks::use_labels(&place.home),
            Key::Packets | Key::Bytes | Key::Average => {
                let home = &place.home;
                home.with::<Namespace, _>(|net, _| traffic::count_from_now_on(net));
            }
            _ => {}
        }
    }

    fn gone(&self, place: &Place<'_>) {
        if self.0.key == Key::Labels {
            marks::forget_labels(&place.home);
        }
    }

    fn operand(&self) -> Option<Operand> {
        Some(self.0.operand())
    }

    #[inline]
    fn eval(&self, mut register: Register<'_>, at: &mut AtHook<'_>) -> Step {
        let Self(ct) = self;
        match (ct.way, ct.key) {
            (Way::Read, Key::State) => {
                register.put(state(at.skb).to_ne_bytes());
                Step::On
            }
            (Way::Read, key) => match at.skb.attached() {
                Attached::Conn(conn, ctinfo) => {
                    match read(key, ct.direction, conn, ctinfo, &mut register) {
                        Some(()) => Step::On,
                        None => Step::Break,
                    }
                }
                _ => Step::Break,
            },
            (Way::Write, Key::Zone) => set_zone(at, register.get(), ct.direction),
            (Way::Write, Key::EventMask) => {
                set_events(at, register.get());
                Step::On
            }
            (Way::Write, key) => {
                if let Some(conn) = conn(at.skb) {
                    write(key, conn, &register);
                }
                Step::On
            }
        }
    }

    fn write(&self, out: &mut Writer<'_>) -> Written {
        self.0.write(out)
    }
}

/// What a packet is, as a bit. One that carries a wish for its connection is new: so has stock it.
#[inline]
fn state(skb: &Skb) -> u32 {
    State::bit(match skb.attached_any() {
        Some((_, ctinfo)) => Seen::Flow(ctinfo),
        None if skb.is_unmarked() => Seen::Invalid,
        None => Seen::Untracked,
    })
}

/// Puts what there is to a connection into a register; `None` where it has none of it.
#[inline(always)]
fn read(
    key: Key,
    direction: Option<Direction>,
    conn: &Conn,
    ctinfo: CtInfo,
    out: &mut Register<'_>,
) -> Option<()> {
    let tuple = conn.tuple(direction.unwrap_or(Direction::Original));
    let of = |family| (tuple.family() == family).then_some(());
    match key {
        Key::State | Key::EventMask => return None,
        // CAST: 0 or 1.
        Key::Direction => out.put([ctinfo.direction().index() as u8]),
        Key::Status => out.put(conn.status().bits().to_ne_bytes()),
        Key::Mark => out.put(marks::read(conn.mark()).to_ne_bytes()),
        Key::Secmark => out.put(marks::read(conn.secmark()).to_ne_bytes()),
        Key::Expiration => out.put(states::left(conn).as_millis(HZ).to_ne_bytes()),
        Key::Helper => out.put_text(states::announced_by(conn)?),
        // CAST: both fit.
        Key::L3Protocol => out.put([tuple.family().number() as u8]),
        Key::Protocol => out.put([tuple.protocol()]),
        Key::Src => put_words(out, tuple.src_words()),
        Key::Dst => put_words(out, tuple.dst_words()),
        Key::SrcIpv4 => {
            of(Family::Ipv4)?;
            put_first(out, tuple.src_words());
        }
        Key::DstIpv4 => {
            of(Family::Ipv4)?;
            put_first(out, tuple.dst_words());
        }
        Key::SrcIpv6 => {
            of(Family::Ipv6)?;
            put_words(out, tuple.src_words());
        }
        Key::DstIpv6 => {
            of(Family::Ipv6)?;
            put_words(out, tuple.dst_words());
        }
        Key::ProtoSrc => out.put(tuple.src_id()),
        Key::ProtoDst => out.put(tuple.dst_id()),
        Key::Labels => put_words(out, conn.labels().map_or([0; 4], |labels| labels.words())),
        Key::Packets | Key::Bytes | Key::Average => {
            out.put(carried(key, direction, conn).to_ne_bytes());
        }
        Key::Zone => {
            let zone = conn.zone();
            let id = direction.map_or(zone.number(), |direction| zone.id(direction));
            out.put(id.to_ne_bytes());
        }
        Key::Id => out.put(conn.id().to_ne_bytes()),
    }
    Some(())
}

fn put_words(out: &mut Register<'_>, words: [u32; 4]) {
    let bytes: [u8; 16] = zerocopy::transmute!(words);
    out.put(bytes);
}

fn put_first(out: &mut Register<'_>, [first, ..]: [u32; 4]) {
    out.put(first.to_ne_bytes());
}

/// How much a connection has carried, in a direction or both.
fn carried(key: Key, direction: Option<Direction>, conn: &Conn) -> u64 {
    let Some(counters) = conn.counters().map(Account::counters) else {
        return 0;
    };
    let sum = |bytes| {
        let directions = [Direction::Original, Direction::Reply].into_iter();
        directions
            .zip(counters)
            .filter(|(of, _)| direction.is_none_or(|direction| direction == *of))
            .map(|(_, one)| if bytes { one.bytes } else { one.packets })
            .fold(0, u64::wrapping_add)
    };
    match key {
        Key::Packets => sum(false),
        Key::Bytes => sum(true),
        _ => sum(true).checked_div(sum(false)).unwrap_or_default(),
    }
}

/// Sets what there is to a connection.
fn write(key: Key, conn: &Conn, register: &Register<'_>) {
    let word = || u32::from_ne_bytes(register.get());
    match key {
        Key::Mark => {
            if marks::write(conn.mark(), word()) {
                conn.note(Events::MARK);
            }
        }
        Key::Secmark => {
            if marks::write(conn.secmark(), word()) {
                conn.note(Events::SECMARK);
            }
        }
        Key::Labels => {
            let more: [u32; 4] = zerocopy::transmute!(register.get::<16>());
            let add = |at, old| more.get(at).map_or(old, |more| old | more);
            if conn.labels().is_some_and(|labels| labels.change(add)) {
                conn.note(Events::LABEL);
            }
        }
        _ => {}
    }
}

/// Of a connection's events only some are told; of one that others know already what was said is kept.
fn set_events(at: &mut AtHook<'_>, bits: [u8; 4]) {
    let mask = Events::from_word(u32::from_ne_bytes(bits));
    let in_use = at
        .packet()
        .net::<Namespace>()
        .map(|net| net.tracker().wanted.events());
    let Some(mut begun) = at.skb.begun() else {
        return;
    };
    let listened = begun.conn().is_listened();
    let old = begun
        .conn()
        .extension()
        .and_then(|more| more.extras().masks);
    if !listened && (mask == Events::NONE || in_use != Some(0)) {
        return; // As with stock: where events are told if somebody listens, no rule asks for more.
    }
    let others = match old {
        Some([_, others]) => others,
        // What a rule begins with one of the two has nothing of the other.
        None if listened => Events::ALL,
        None => Events::NONE,
    };
    if begun.set_masks([mask, others]).is_ok() && !listened {
        begun.set_listened();
    }
}

/// The packet's connection will be in a zone, unless it has one already, or a wish.
fn set_zone(at: &mut AtHook<'_>, id: [u8; 2], direction: Option<Direction>) -> Step {
    if at.skb.attached_any().is_some() {
        return Step::On;
    }
    let directions = match direction {
        None => Directions::Both,
        Some(Direction::Original) => Directions::Original,
        Some(Direction::Reply) => Directions::Reply,
    };
    let zone = Zone::new(u16::from_ne_bytes(id), directions);
    let packet = at.packet();
    let Some(net) = packet.net::<Namespace>() else {
        return Step::On; // Nobody would look at it.
    };
    let shared = &net.tracker().shared;
    match shared.templates().make(shared.cache(), zone, None) {
        Some(template) => {
            at.skb.attach(template, CtInfo::New);
            Step::On
        }
        None => Step::Drop,
    }
}
