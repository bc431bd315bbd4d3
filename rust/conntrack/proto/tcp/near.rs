// SPDX-License-Identifier: GPL-2.0
//! Windows of segments that have nothing unusual about them: few questions for nearly all. Those that are not
//! answered here are left to [`Ends::fit`](super::ends::Ends::fit).

use super::{
    ends::{EndsMut, Flags, Kept, Sides, SCALE},
    window::{scaled, LEAST},
};
use crate::{packet::Tcp as View, tuple::Direction};

impl EndsMut<'_> {
    /// Whether a SYN/ACK is the first that the server sends, and answers just the SYN, with an offer in
    /// the usual form. If not, nothing is remembered.
    #[inline(always)]
    pub(super) fn answer(&mut self, segment: &View<'_>) -> bool {
        let Sides {
            sender,
            receiver,
            sender_window,
            receiver_window,
            of_sender,
            of_receiver,
            ..
        } = self.sides(Direction::Reply);
        let first = *sender_window == 0 && *of_sender == Flags::default();
        // The window of a SYN does not scale.
        let asked = (1..=u32::from(u16::MAX)).contains(receiver_window);
        let answers = asked && segment.ack == receiver.sent;
        let (true, Some(scale)) = (first && answers, segment.options.usual_scale()) else {
            return false;
        };
        let (sent, window) = (segment.end(), u32::from(segment.window));
        *sender = Kept {
            sent,
            limit: sent,
            acked: segment.ack,
        };
        *sender_window = window.max(1);
        *of_sender = Flags::SCALES | Flags::SACKS | Flags::HAS_ACKED;
        *of_receiver = *of_receiver & !Flags::UNACKNOWLEDGED;
        let both = of_receiver.has(Flags::SCALES);
        let offered = segment.ack.add(window);
        if offered.after(receiver.limit.back(1)) {
            // As in `learn`.
            receiver.limit = offered.add(u32::from(window == 0));
        }
        // RFC 7323, 2.2: windows scale only if both ends say so.
        let scales = &mut self.about.scales;
        *scales = if both {
            (*scales & SCALE) | (scale << 4)
        } else {
            0
        };
        true
    }

    /// Whether a segment that acknowledges lies all within what was offered, and its numbers are near to
    /// what was seen before, as they are of nearly all. If not, nothing is remembered, and it may
    /// fit all the same ([`Ends::fit`]): this asks for no more than there is to be known of most.
    #[inline(always)]
    pub(super) fn keep_to(&mut self, segment: &View<'_>, direction: Direction) -> bool {
        /// So far from where distances wrap that two of them may be added.
        const FAR: u32 = 1 << 30;
        let Sides {
            sender,
            receiver,
            sender_window,
            receiver_window,
            of_sender,
            of_receiver,
            scale,
        } = self.sides(direction);
        if of_receiver.has(Flags::SACKS) && !segment.options.say_nothing() {
            return false;
        }
        let (end, ack) = (segment.end(), segment.ack);
        let new = end.since(sender.sent);
        let unacknowledged = receiver.sent.since(ack);
        let offered = !segment.seq.after(sender.limit) && !end.after(sender.limit);
        // (A window of zero is none that was seen.)
        let near = new < FAR
            && unacknowledged <= LEAST
            && sender_window.wrapping_sub(1) < FAR
            && *receiver_window < FAR;
        if !offered || segment.window == 0 || !near {
            return false;
        }
        // As `learn` has it.
        let window = scaled(segment, scale);
        *sender_window = window.max(*sender_window);
        if new != 0 {
            sender.sent = end;
            *of_sender = *of_sender | Flags::UNACKNOWLEDGED;
        }
        if !of_sender.has(Flags::HAS_ACKED) {
            sender.acked = ack;
            *of_sender = *of_sender | Flags::HAS_ACKED;
        } else if ack.after(sender.acked) {
            sender.acked = ack;
        }
        let limit = ack.add(window);
        if limit.after(receiver.limit.back(1)) {
            receiver.limit = limit;
        }
        if unacknowledged == 0 {
            *of_receiver = *of_receiver & !Flags::UNACKNOWLEDGED;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ends::Ends, window::Fit, State},
        *,
    };
    use crate::{
        packet::{Options, Segment},
        seq::Seq,
    };
    use proptest::prelude::*;
    use zerocopy::transmute;

    /// A number near `base`, on either side, near where distances wrap, or anywhere.
    fn near(base: u32) -> impl Strategy<Value = u32> {
        prop_oneof![
            4 => (0_u32..200_000).prop_map(move |by| base.wrapping_add(by).wrapping_sub(100_000)),
            2 => (0_u32..3).prop_map(move |by| base.wrapping_add(by).wrapping_sub(1)),
            1 => (0_u32..5).prop_map(move |by| base.wrapping_add(0x3fff_fffe + by)),
            1 => (0_u32..5).prop_map(move |by| base.wrapping_add(0x7fff_fffe + by)),
            1 => any::<u32>(),
        ]
    }

    type Case = ([u32; 6], [u32; 2], u32, [u32; 2], u32, u16);

    fn state_and_segment() -> impl Strategy<Value = Case> {
        any::<u32>().prop_flat_map(|base| {
            let numbers = || near(base);
            (
                [
                    numbers(),
                    numbers(),
                    numbers(),
                    numbers(),
                    numbers(),
                    numbers(),
                ],
                [near(100_000), near(100_000)],
                any::<u32>(),
                [numbers(), numbers()],
                near(100_000),
                any::<u16>(),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// What keeps to what was offered follows, and the same is remembered of it.
        #[test]
        fn who_keeps_to_it_follows((kept, windows, about, [seq, ack], space, window) in state_and_segment(),
            fin: bool, state in 1_u8..8, options in 0..3_usize) {
            let all: [&[u8]; 3] = [
                &[],
                &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                &[1, 1, 5, 10, 0, 0, 0, 90, 0, 0, 0, 95],
            ];
            let state = State::from_number(state).unwrap();
            let segment = View {
                segment: if fin { Segment::Fin } else { Segment::Ack },
                seq: Seq::new(seq),
                ack: Seq::new(ack),
                acks: true,
                window,
                space,
                options: Options::new(all[options]),
            };
            for direction in [Direction::Original, Direction::Reply] {
                let (mut one, mut other) = ((kept, windows, about), (kept, windows, about));
                let keeps = EndsMut::within(&mut one.0, &mut one.1, &mut one.2).keep_to(&segment, direction);
                if keeps {
                    let mut ends = Ends {
                        kept: transmute!(other.0),
                        windows: other.1,
                        about: transmute!(other.2),
                    };
                    prop_assert_eq!(ends.fit(&segment, direction, state), Fit::In);
                    other = (transmute!(ends.kept), ends.windows, transmute!(ends.about));
                }
                prop_assert_eq!(one, other);
            }
        }
    }
}
