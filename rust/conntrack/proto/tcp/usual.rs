// SPDX-License-Identifier: GPL-2.0
//! The ways of nearly all segments, which have nothing unusual about them. Whatever else turns up is left to
//! [`Tcp::open`] and [`Tcp::update`], to which all of these come, in fewer steps.

use super::{
    assured,
    ends::{End, Ends},
    recent::{Place, Recent},
    step, Context, Parts, State, Step, Tcp,
};
use crate::{
    packet::{Segment, Tcp as View},
    proto::Effect,
    time::Ticks,
    timeouts::{Config, Timeouts},
    tuple::Direction,
};

impl Tcp {
    /// The state of a connection that `segment`, a SYN, has started: what [`Self::open`] and
    /// [`Self::update`] would make of it.
    #[inline(always)]
    pub(in super::super) fn request(segment: &View<'_>) -> Self {
        Self {
            ends: Ends::new(End::first(segment), End::asked(segment)),
            recent: Recent::new(Place::new(
                State::SynSent,
                Segment::Syn,
                Direction::Original,
            )),
        }
    }

    /// How long that lives.
    #[inline(always)]
    pub(in super::super) fn request_timeout(timeouts: &Timeouts) -> Ticks {
        // What the last segment's window was is not known yet.
        let usual = timeouts.tcp.of(State::SynSent);
        usual.min(timeouts.tcp_retrans.get())
    }

    /// What a segment does that has nothing unusual, to a connection that is open and stays so, was
    /// answered and is assured: the timeout that follows, which is all that changes but for what is
    /// remembered here. `None`: it is to be asked for by [`Self::update`], and nothing was changed.
    #[inline(always)]
    pub(in super::super) fn stay(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        timeouts: &Timeouts,
        config: &Config,
    ) -> Option<Ticks> {
        // A copy for each direction, where the compiler knows all places.
        match direction {
            Direction::Original => {
                Self::stay_in(parts, segment, Direction::Original, timeouts, config)
            }
            Direction::Reply => Self::stay_in(parts, segment, Direction::Reply, timeouts, config),
        }
    }

    /// The same in one direction.
    #[inline(always)]
    fn stay_in(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        timeouts: &Timeouts,
        config: &Config,
    ) -> Option<Ticks> {
        let Parts { mut ends, recent } = parts;
        let open = State::Established;
        // Both directions' tables leave it so.
        let stays = segment.segment == Segment::Ack && recent.place.state() == open;
        if !stays || !ends.keep_to(segment, direction) {
            return None;
        }
        recent.count_retransmission(segment, direction);
        recent.place = Place::new(open, Segment::Ack, direction);
        Some(recent.timeout(ends.about, open, segment, timeouts, config))
    }

    /// What a segment does that acknowledges, and perhaps ends its direction, to a connection that was
    /// answered, or that answers a SYN, if there is nothing unusual about either. `None`: it is to be
    /// asked for by [`Self::update`], and nothing was changed.
    #[inline(always)]
    pub(in super::super) fn advance(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Option<Effect> {
        // As in `stay`.
        match direction {
            Direction::Original => Self::advance_in(parts, segment, Direction::Original, context),
            Direction::Reply => Self::advance_in(parts, segment, Direction::Reply, context),
        }
    }

    /// The same in one direction.
    #[inline(always)]
    fn advance_in(
        parts: Parts<'_>,
        segment: &View<'_>,
        direction: Direction,
        context: &Context<'_>,
    ) -> Option<Effect> {
        let Parts { mut ends, recent } = parts;
        let old = recent.place.state();
        let kind = segment.segment;
        if ends.about.is_odd() {
            return None;
        }
        let answers = kind == Segment::SynAck;
        let new = if answers {
            let asked = old == State::SynSent && direction == Direction::Reply;
            if !asked || !ends.answer(segment) {
                return None;
            }
            State::SynRecv
        } else {
            let Step::To(new) = step(direction, kind, old) else {
                return None;
            };
            if !ends.keep_to(segment, direction) {
                return None;
            }
            new
        };
        if kind == Segment::Ack {
            recent.count_retransmission(segment, direction);
        }
        recent.place = Place::new(new, kind, direction);
        if new == State::FinWait && old != State::FinWait {
            ends.close_first(direction);
        }
        let timeout = recent.timeout(ends.about, new, segment, context.timeouts, context.config);
        Some(Effect {
            timeout: Some(timeout),
            set: assured(old, new),
            moved: new != old,
            remark: None,
        })
    }

    /// All of it, part by part.
    #[cfg(test)]
    fn parts(&mut self) -> Parts<'_> {
        Parts {
            ends: self.ends.parts(),
            recent: &mut self.recent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::ends::{Flags, Offer},
        *,
    };
    use crate::{proto::Outcome, seq::Seq, status::Status, time::Instant, wire::tcp::Options};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    /// Options of segments of open connections: none, timestamps, timestamps and a block, a block.
    fn options() -> impl Strategy<Value = Vec<u8>> {
        let timestamps = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let block = |at: u32| {
            let [low, high] = [at, at.wrapping_add(500)].map(u32::to_be_bytes);
            [&[1, 1, 5, 10][..], &low, &high].concat()
        };
        (any::<[bool; 2]>(), near()).prop_map(move |([timed, sack], at)| {
            let parts = [(timed, timestamps.clone()), (sack, block(at))];
            parts
                .into_iter()
                .filter(|(has, _)| *has)
                .flat_map(|(_, part)| part)
                .collect()
        })
    }

    /// Options of a SYN: none, in the usual order with any shift, others, any.
    fn offer() -> impl Strategy<Value = Vec<u8>> {
        let usual = |scale| {
            let most = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3];
            [&most[..], &[scale]].concat()
        };
        prop_oneof![
            Just(Vec::new()),
            any::<u8>().prop_map(usual),
            Just(vec![2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]),
            prop::collection::vec(0..12u8, 1..40),
        ]
    }

    /// Numbers near each other, over the wrap too.
    fn near() -> impl Strategy<Value = u32> {
        prop_oneof![4 => (0..3000u32).prop_map(|at| at.wrapping_sub(1000)), 1 => any::<u32>()]
    }

    fn window() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), 1..3000u32, any::<u32>()]
    }

    /// What there is to know beside a segment of a connection with this status.
    fn context(config: &Config, status: Status) -> Context<'_> {
        Context {
            status,
            expires: None,
            now: Instant::from_ticks(0),
            timeouts: &config.timeouts,
            config,
        }
    }

    prop_compose! {
        fn open()(
            numbers in prop::array::uniform6(near()),
            last in prop::array::uniform3(near()),
            windows in [window(), window()],
            flags: [u8; 2],
            scales: u8,
            offer: u8,
            last_window in prop_oneof![Just(0), Just(700), any::<u16>()],
            retrans in 0..5u8,
            place in 0..16u8,
        ) -> Tcp {
            let [a, b, c, d, e, f] = numbers;
            let [seq, ack, end] = last;
            let [first, second] = windows;
            let [low, high] = last_window.to_ne_bytes();
            let words = [a, b, first, c, d, e, second, f];
            let rest = [flags[0], flags[1], scales, offer];
            let tail = [low, high, retrans, (place << 4) | State::Established as u8];
            let mut bytes = [0; 52];
            let parts = [words.as_bytes(), &rest, [seq, ack, end].as_bytes(), &tail].concat();
            bytes.copy_from_slice(&parts);
            zerocopy::transmute!(bytes)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// The short way of open connections comes to what the table and the windows say.
        #[test]
        fn the_short_way_is_the_long_one(
            tcp in open(),
            numbers in [near(), near()],
            space in prop_oneof![Just(0), 1..2000u32],
            window in prop_oneof![Just(0), Just(700), any::<u16>()],
            again: bool,
            options in options(),
            back: bool,
        ) {
            let config = Config::defaults(250);
            let [seq, ack] = if again {
                [tcp.recent.last.seq, tcp.recent.last.ack]
            } else {
                numbers.map(Seq::new)
            };
            let segment = View {
                segment: Segment::Ack,
                seq,
                ack,
                acks: true,
                window,
                space: if again { tcp.recent.last.end.since(seq) } else { space },
                options: Options::new(&options),
            };
            let direction = if back { Direction::Reply } else { Direction::Original };
            let context = context(&config, Status::CONFIRMED | Status::SEEN_REPLY | Status::ASSURED);
            let (mut short, mut long) = (tcp, tcp);
            match Tcp::stay(short.parts(), &segment, direction, &config.timeouts, &config) {
                Some(timeout) => {
                    let outcome = Outcome::Accept(Effect {
                        timeout: Some(timeout),
                        set: Status::ASSURED,
                        ..Effect::default()
                    });
                    prop_assert_eq!(long.update(&segment, direction, &context), outcome);
                    prop_assert_eq!(short.as_bytes(), long.as_bytes());
                }
                None => prop_assert_eq!(short.as_bytes(), tcp.as_bytes()),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        /// What a SYN starts is what the table and the windows say.
        #[test]
        fn the_short_way_of_a_request_is_the_long_one(
            seq: u32,
            ack: u32,
            data in prop_oneof![Just(0), 1..1400u32],
            window in prop_oneof![Just(0), any::<u16>()],
            offer in offer(),
            limits in prop::array::uniform2(prop_oneof![1..400u32, 40_000..200_000u32]),
            retrans in prop_oneof![Just(0), Just(3)],
        ) {
            let config = Config::defaults(250);
            let [request, retransmitted] = limits.map(Ticks::new);
            config.timeouts.tcp.setting(State::SynSent).set(request);
            config.timeouts.tcp_retrans.set(retransmitted);
            config.tcp_max_retrans.set(retrans);
            let segment = View {
                segment: Segment::Syn,
                seq: Seq::new(seq),
                ack: Seq::new(ack),
                acks: false,
                window,
                space: data + 1,
                options: Options::new(&offer),
            };
            let context = context(&config, Status::NONE);
            let mut long = Tcp::open(&segment, &config).map_err(|_| TestCaseError::fail("open"))?;
            let outcome = long.update(&segment, Direction::Original, &context);
            let Outcome::Accept(effect) = outcome else {
                return Err(TestCaseError::fail("update"));
            };
            let short = Tcp::request(&segment);
            prop_assert_eq!(short.as_bytes(), long.as_bytes());
            prop_assert_eq!(effect.timeout, Some(Tcp::request_timeout(&config.timeouts)));
            prop_assert_eq!((effect.set, effect.remark), (Status::NONE, None));
        }
    }

    prop_compose! {
        /// A connection in any state, and as often as not where the server has said nothing yet.
        fn any_state()(mut tcp in open(), state in 0..10u8, silent: bool) -> Tcp {
            tcp.recent.place = tcp.recent.place.with_number(state);
            // (What is of the connection is never noted with the reply.)
            let (original, reply) = tcp.ends.pair(Direction::Original);
            let reply = if silent { End::default() } else { reply };
            tcp.ends.set(Direction::Original, original, reply);
            tcp
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40_000))]
        /// The way of usual segments through all states comes to what the table and the windows say.
        #[test]
        fn the_usual_way_is_the_long_one(
            tcp in any_state(),
            kind in prop::sample::select(vec![Segment::Ack, Segment::Fin, Segment::SynAck]),
            numbers in [near(), near()],
            answers: bool,
            space in prop_oneof![Just(0), Just(1), 1..2000u32],
            window in prop_oneof![Just(0), Just(700), any::<u16>()],
            options in prop_oneof![options(), offer()],
            back: bool,
        ) {
            let config = Config::defaults(250);
            let (client, _) = tcp.ends.pair(Direction::Original);
            let [seq, ack] = numbers.map(Seq::new);
            let segment = View {
                segment: kind,
                seq,
                ack: if answers { client.sent } else { ack },
                acks: true,
                window,
                space: space + u32::from(kind != Segment::Ack),
                options: Options::new(&options),
            };
            let answered = kind != Segment::SynAck;
            let direction = if back { Direction::Reply } else { Direction::Original };
            let seen = if answered { Status::SEEN_REPLY } else { Status::NONE };
            let context = context(&config, Status::CONFIRMED | seen);
            let (mut short, mut long) = (tcp, tcp);
            match Tcp::advance(short.parts(), &segment, direction, &context) {
                Some(effect) => {
                    let outcome = long.update(&segment, direction, &context);
                    prop_assert_eq!(outcome, Outcome::Accept(effect));
                    prop_assert_eq!(short.as_bytes(), long.as_bytes());
                }
                None => prop_assert_eq!(short.as_bytes(), tcp.as_bytes()),
            }
        }
    }

    /// It is gone by a whole connection as it should be: the answer to a SYN, its acknowledgement, and
    /// the end from either side.
    #[test]
    fn the_usual_way_is_gone() {
        let config = Config::defaults(250);
        let offer = [
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let segment = |segment, seq, ack, options| View {
            segment,
            seq: Seq::new(seq),
            ack: Seq::new(ack),
            acks: segment != Segment::Syn,
            window: 500,
            space: u32::from(segment != Segment::Ack),
            options: Options::new(options),
        };
        let mut tcp = Tcp::request(&segment(Segment::Syn, 100, 0, &offer));
        let (client, server) = (Direction::Original, Direction::Reply);
        for (kind, direction, seq, ack, state) in [
            (Segment::SynAck, server, 900, 101, State::SynRecv),
            (Segment::Ack, client, 101, 901, State::Established),
            (Segment::Fin, client, 101, 901, State::FinWait),
            (Segment::Ack, server, 901, 102, State::CloseWait),
            (Segment::Fin, server, 901, 102, State::LastAck),
            (Segment::Ack, client, 102, 902, State::TimeWait),
        ] {
            let options: &[u8] = if kind == Segment::SynAck {
                &offer
            } else {
                &timestamps
            };
            let seen = if kind == Segment::SynAck {
                Status::NONE
            } else {
                Status::SEEN_REPLY
            };
            let context = context(&config, Status::CONFIRMED | seen);
            let segment = segment(kind, seq, ack, options);
            let effect = Tcp::advance(tcp.parts(), &segment, direction, &context);
            assert_eq!(effect.map(|effect| effect.moved), Some(true), "{state:?}");
            assert_eq!(tcp.state(), state);
        }
    }

    /// It is gone for what most segments are: data in order, with timestamps, and their
    /// acknowledgements.
    #[test]
    fn the_short_way_is_gone() {
        let config = Config::defaults(250);
        let end = |at, acked| {
            let mut end = End::resumed(Seq::new(at), 500, Offer::read(Options::new(&[4, 2])));
            end.acked = Seq::new(acked);
            end.flags = end.flags | Flags::HAS_ACKED;
            end
        };
        let mut tcp = Tcp {
            ends: Ends::new(end(1000, u32::MAX - 50), end(u32::MAX - 50, 1000)),
            recent: Recent::new(Place::new(
                State::Established,
                Segment::Ack,
                Direction::Original,
            )),
        };
        let mut pass = |direction, seq, ack, space, options| {
            let segment = View {
                segment: Segment::Ack,
                seq: Seq::new(seq),
                ack: Seq::new(ack),
                acks: true,
                window: 500,
                space,
                options: Options::new(options),
            };
            Tcp::stay(tcp.parts(), &segment, direction, &config.timeouts, &config)
        };
        let timestamps: &[u8] = &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let block: &[u8] = &[1, 1, 5, 10, 0, 0, 0, 90, 0, 0, 0, 95];
        let (client, server) = (Direction::Original, Direction::Reply);
        let unacknowledged = config.timeouts.tcp_unacknowledged.get();
        let all = config.timeouts.tcp.of(State::Established);
        assert_eq!(pass(server, u32::MAX - 50, 1000, 0, &[]), Some(all));
        assert_eq!(
            pass(client, 1000, u32::MAX - 50, 100, timestamps),
            Some(unacknowledged)
        );
        assert_eq!(
            pass(server, u32::MAX - 50, 1100, 100, timestamps),
            Some(unacknowledged)
        );
        assert_eq!(pass(client, 1100, 49, 0, timestamps), Some(all));
        assert_eq!(pass(client, 1100, 49, 0, block), None);
        assert_eq!(pass(client, 1100, 50, 0, timestamps), None);
        assert_eq!(pass(client, 5000, 49, 0, timestamps), None);
    }
}
