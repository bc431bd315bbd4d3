// SPDX-License-Identifier: GPL-2.0
//! Lines of text in one direction of a TCP stream, put together from its segments.

use super::Message;
use crate::seq::Seq;

/// What comes out of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without `\n` or `\r\n`.
    Whole(&'a [u8]),
    /// Something that was passed over: a line that does not fit, of which this is the beginning,
    /// or a part of the stream that was not seen, of which nothing is known.
    PassedOver(&'a [u8]),
}

/// Puts lines together: one that is split over segments counts as if it came in one, a segment
/// that comes again counts once, and of a stream with a gap only what follows a line's end
/// behind the gap counts.
///
/// A line of more than `N` bytes without its end is passed over, but for its beginning.
#[derive(Clone, Copy, Debug)]
pub struct Lines<const N: usize> {
    /// The first byte that has not come yet.
    next: Option<Seq>,
    /// The end of the last segment that came behind a gap, and whether a line ended there.
    ahead: Option<(Seq, bool)>,
    /// Whether the line's beginning is missing, or does not fit.
    passing_over: bool,
    len: usize,
    line: [u8; N],
}

impl<const N: usize> Default for Lines<N> {
    fn default() -> Self {
        Self {
            next: None,
            ahead: None,
            passing_over: false,
            len: 0,
            line: [0; N],
        }
    }
}

impl<const N: usize> Lines<N> {
    /// Takes the next segment of the stream and hands over each line that it ends, without `\n`
    /// or `\r\n`.
    pub fn feed(&mut self, message: &Message<'_>, mut each: impl FnMut(&[u8])) {
        self.feed_all(message, |line| {
            if let Line::Whole(line) = line {
                each(line);
            }
        });
    }

    /// The same, for who has to know what was passed over: whether a line is the first of the
    /// stream, for example.
    pub fn feed_all(&mut self, message: &Message<'_>, mut each: impl FnMut(Line<'_>)) {
        let Some(mut new) = self.unseen(message, &mut each) else {
            return;
        };
        while !new.is_empty() {
            if let Some(line) = self.take(&mut new) {
                each(line);
            }
        }
    }

    /// What of a segment continues the stream.
    fn unseen<'a>(
        &mut self,
        message: &Message<'a>,
        each: &mut impl FnMut(Line<'_>),
    ) -> Option<&'a [u8]> {
        let (seq, payload) = (message.seq, message.payload);
        if payload.is_empty() {
            return None;
        }
        // CAST: a segment is shorter than 64 KiB; a longer one would be passed over as old.
        let end = seq.add(payload.len() as u32);
        let next = match self.next {
            Some(next) => next,
            // The first that is seen: only of the stream's beginning it is known to be a line's.
            None => message.begin.unwrap_or_else(|| {
                self.passing_over = true;
                seq
            }),
        };
        if seq.after(next) {
            if !self.jump(seq) {
                self.ahead = Some((end, payload.ends_with(b"\n")));
                return None;
            }
            each(Line::PassedOver(&[]));
        }
        let known = if seq.after(next) { 0 } else { next.since(seq) };
        let new = payload.get(usize::try_from(known).ok()?..)?;
        if new.is_empty() {
            return None; // All of it was seen before.
        }
        self.next = Some(end);
        if self.ahead.is_some_and(|(ahead, _)| !ahead.after(end)) {
            self.ahead = None;
        }
        Some(new)
    }

    /// Gives up what is missing before `seq`, if the segment before it has been seen.
    fn jump(&mut self, seq: Seq) -> bool {
        match self.ahead {
            Some((end, line_ended)) if end == seq => {
                self.ahead = None;
                self.len = 0;
                self.passing_over = !line_ended;
                true
            }
            _ => false,
        }
    }

    /// Takes bytes up to the end of a line: what has ended there, if anything has.
    fn take(&mut self, bytes: &mut &[u8]) -> Option<Line<'_>> {
        let (part, rest, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                let (part, rest) = bytes.split_at(at);
                (part, rest.get(1..).unwrap_or_default(), true)
            }
            None => (*bytes, Default::default(), false),
        };
        *bytes = rest;
        if !self.passing_over {
            self.keep(part);
        }
        if !ended {
            return None;
        }
        let passed_over = core::mem::take(&mut self.passing_over);
        let len = core::mem::take(&mut self.len);
        let line = self.line.get(..len).unwrap_or_default();
        Some(if passed_over {
            Line::PassedOver(line)
        } else {
            Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))
        })
    }

    /// Adds to the line what of `part` fits.
    fn keep(&mut self, part: &[u8]) {
        let place = self.line.get_mut(self.len..).unwrap_or_default();
        self.passing_over = part.len() > place.len();
        self.len = self.len.saturating_add(part.len().min(place.len()));
        for (to, from) in place.iter_mut().zip(part) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{protocol, Direction, Family, Tuple};
    use proptest::prelude::*;

    /// Where the streams of these tests begin.
    const BEGIN: Seq = Seq::new(u32::MAX - 20);

    /// The lines that come out of segments, each with the place where it begins.
    fn read(whole: bool, segments: &[(u32, &[u8])]) -> Vec<String> {
        let all = read_all(whole, segments).into_iter();
        all.filter_map(Result::ok).collect()
    }

    /// The same, with what was passed over as an error.
    fn read_all(whole: bool, segments: &[(u32, &[u8])]) -> Vec<Result<String, String>> {
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let mut lines = Lines::<16>::default();
        let mut found = Vec::new();
        let tuple = Tuple::new(Family::Ipv4, protocol::TCP, [1; 4], [0; 2], [2; 4], [0; 2]);
        for (seq, payload) in segments {
            let known = found.len();
            let message = Message {
                payload,
                direction: Direction::Original,
                tuples: [&tuple, &tuple],
                seq: BEGIN.add(*seq),
                begin: whole.then_some(BEGIN),
            };
            let mut again = lines;
            lines.feed_all(&message, |line| {
                found.push(match line {
                    Line::Whole(line) => Ok(text(line)),
                    Line::PassedOver(begin) => Err(text(begin)),
                });
            });
            let mut whole = Vec::new();
            again.feed(&message, |line| whole.push(Ok(text(line))));
            let new = found.iter().skip(known).filter(|line| line.is_ok());
            assert!(new.eq(&whole), "both ways hand over the same lines");
        }
        found
    }

    #[test]
    fn lines_end_with_either_end() {
        assert_eq!(
            read(true, &[(0, b"one\r\ntwo\nth\rree\r\n\r\n")]),
            ["one", "two", "th\rree", ""]
        );
    }

    #[test]
    fn a_segment_that_comes_again_counts_once() {
        let segments: &[(u32, &[u8])] = &[
            (0, b"on"),
            (0, b"on"),
            (1, b"n"),
            (1, b"ne\ntw"),
            (0, b"one\n"),
            (4, b"two\n"),
            (0, b"one\ntwo\n"),
        ];
        assert_eq!(read(true, segments), ["one", "two"]);
    }

    #[test]
    fn of_an_unknown_beginning_the_first_line_does_not_count() {
        assert_eq!(
            read(false, &[(5, b"one\ntwo\n"), (13, b"three\n")]),
            ["two", "three"]
        );
    }

    #[test]
    fn behind_a_gap_lines_count_from_a_lines_end_on() {
        // What is missing comes late, and counts; what came before it is not read again.
        assert_eq!(
            read(true, &[(0, b"a\n"), (4, b"c\n"), (2, b"b\n"), (6, b"d\n")]),
            ["a", "b", "d"]
        );
        // It never comes.
        assert_eq!(
            read(
                true,
                &[(0, b"a\nx"), (9, b"c\n"), (11, b"d\n"), (13, b"e\n")]
            ),
            ["a", "d", "e"]
        );
        assert_eq!(
            read(true, &[(0, b"a\nx"), (9, b"c"), (10, b"d\n"), (12, b"e\n")]),
            ["a", "e"]
        );
        // It comes, and all of what was behind the gap.
        assert_eq!(
            read(
                true,
                &[(0, b"a\n"), (4, b"c\n"), (2, b"b\n"), (4, b"c\nd\n")]
            ),
            ["a", "b", "c", "d"]
        );
    }

    #[test]
    fn a_line_that_does_not_fit_is_passed_over() {
        let long = [b'x'; 17];
        assert_eq!(read(true, &[(0, &long), (17, b"\nok\n")]), ["ok"]);
        let fits = [b'y'; 16];
        assert_eq!(
            read(true, &[(0, &fits), (16, b"\nok\n")]),
            ["y".repeat(16).as_str(), "ok"]
        );
        assert_eq!(
            read(true, &[(0, &fits), (16, b"z"), (17, b"z\nok\n")]),
            ["ok"]
        );
    }

    #[test]
    fn what_is_passed_over_is_told() {
        let long = [b'x'; 17];
        let told = |text: &str| Err(text.to_string());
        let line = |text: &str| Ok(text.to_string());
        assert_eq!(
            read_all(true, &[(0, &long), (17, b"x\nok\n")]),
            [told(&"x".repeat(16)), line("ok")]
        );
        assert_eq!(
            read_all(true, &[(0, b"12"), (2, &long), (19, b"\nok\n")]),
            [told("12xxxxxxxxxxxxxx"), line("ok")]
        );
        assert_eq!(
            read_all(false, &[(0, b"one\ntwo\n")]),
            [told(""), line("two")]
        );
        // A gap, even where a line begins behind it.
        assert_eq!(
            read_all(true, &[(0, b"a\nx"), (9, b"c\n"), (11, b"d\n")]),
            [line("a"), told(""), line("d")]
        );
        assert_eq!(
            read_all(true, &[(0, b"a\nx"), (9, b"c"), (10, b"d\ne\n")]),
            [line("a"), told(""), told(""), line("e")]
        );
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_lines_are_the_same(
            text in "[ab\\r\\n]{0,60}", cuts in proptest::collection::vec(0_usize..61, 0..9), again: bool
        ) {
            let whole = read(true, &[(0, text.as_bytes())]);
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut segments = Vec::new();
            for pair in cuts.windows(2) {
                let segment = (pair[0] as u32, &text.as_bytes()[pair[0]..pair[1]]);
                segments.push(segment);
                if again {
                    segments.push(segment);
                }
            }
            prop_assert_eq!(read(true, &segments), whole);
        }

        #[test]
        fn whatever_comes_only_lines_of_the_stream_come_out(
            segments in proptest::collection::vec((0_usize..30, 0_usize..30), 0..20)
        ) {
            let text = b"a\nbb\nccc\ndddd\neeeee\nfff\ngg\nh\n";
            let lines: Vec<&str> = core::str::from_utf8(text).unwrap().split('\n').collect();
            let segments: Vec<(u32, &[u8])> = segments
                .into_iter()
                .map(|(from, len)| (from as u32, &text[from..(from + len).min(text.len())]))
                .collect();
            for line in read(false, &segments) {
                prop_assert!(lines.contains(&line.as_str()), "{}", line);
            }
        }
    }
}
