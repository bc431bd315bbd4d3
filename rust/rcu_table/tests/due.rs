// SPDX-License-Identifier: GPL-2.0
//! Buckets that are looked through when they are due: nothing stays, and nothing is touched too often.
#![cfg(not(loom))]

mod mock;

use std::collections::HashMap;

use mock::{hash, heads, table, walk, Arc, Entry, Mock, Still, World};
use proptest::prelude::*;
use rcu_table::{Ahead, Key, Look, Moment, Node, Seen};

/// A table with a clock.
struct Timed {
    world: Arc<World>,
    table: Mock,
    now: u32,
    /// When the first bucket is due.
    due: u32,
    /// When the time of each entry is over, by its first key.
    over: HashMap<u32, u32>,
    looks: usize,
}

/// Takes out what is over.
struct Reaper<'a> {
    now: u32,
    over: &'a HashMap<u32, u32>,
    looks: usize,
    ended: Vec<u32>,
}

/// In how many units a bucket is to be looked through with an entry that is over then.
fn units(now: u32, over: u32) -> u8 {
    over.saturating_sub(now).min(Moment::FARTHEST.into()) as u8
}

impl Reaper<'_> {
    fn left(&self, entry: &Entry) -> Option<u8> {
        let over = self.over[&entry.key(Key::First)];
        (over > self.now).then(|| units(self.now, over))
    }
}

impl Look<Entry> for Reaper<'_> {
    fn look(&mut self, entry: &Seen<'_, Entry>) -> Option<u8> {
        self.looks += 1;
        self.left(entry)
    }

    fn end(&mut self, entry: &Entry) -> Option<u8> {
        let left = self.left(entry);
        if left.is_none() {
            assert!(entry.second().is_none());
            self.ended.push(entry.key(Key::First));
        }
        left
    }
}

impl Timed {
    fn new(bits: u32) -> Self {
        Self {
            world: World::new(),
            table: table(1 << bits, 1),
            now: 250, // Just before the circle is round.
            due: 250,
            over: HashMap::new(),
            looks: 0,
        }
    }

    /// When a bucket is due whose entry is over `left` from now on.
    fn ahead(&self, left: u32) -> Ahead {
        Ahead {
            now: Moment::new(self.now),
            units: units(self.now, self.now + left),
        }
    }

    /// Somebody is to look by then.
    fn by(&mut self, by: Ahead) {
        self.due = self.due.min(self.now + u32::from(by.units));
    }

    fn insert(&mut self, key: u32, left: u32) {
        if self.over.contains_key(&key) {
            return;
        }
        let by = self.ahead(left);
        let entry = Entry::single(&self.world, key);
        let Ok(done) = self.table.insert_by(entry, by, &Still) else {
            panic!("{key} did not go in");
        };
        self.over.insert(key, self.now + left);
        if done.sooner {
            self.by(by);
        }
    }

    /// An entry's time is over at another time.
    fn refresh(&mut self, key: u32, left: u32) {
        let by = self.ahead(left);
        let over = self.now + left;
        let Some(before) = self.over.get_mut(&key) else {
            return;
        };
        let sooner = over < *before;
        *before = over;
        if sooner && self.table.look_by(hash(key), by, &Still) {
            self.by(by);
        }
    }

    fn resize(&mut self, buckets: usize) {
        if self
            .table
            .resize(heads(buckets), &*self.world, || {})
            .is_ok()
        {
            self.due = self.now;
        }
    }

    /// Time goes on by a unit, and whatever is due is looked through.
    fn tick(&mut self) {
        self.now += 1;
        if self.due > self.now {
            return;
        }
        self.due = self.now + u32::from(Moment::FARTHEST);
        let mut from = Some(0);
        while let Some(at) = from {
            let mut reaper = Reaper {
                now: self.now,
                over: &self.over,
                looks: 0,
                ended: Vec::new(),
            };
            let guard = World::read(&self.world);
            let moment = Moment::new(self.now);
            let looked = self
                .table
                .look_through(at, [3, 2], moment, &guard, &mut reaper);
            from = looked.behind;
            self.due = self.due.min(self.now + u32::from(looked.soonest));
            self.looks += reaper.looks;
            for key in reaper.ended {
                assert!(self.over.remove(&key).is_some_and(|over| over <= self.now));
            }
        }
    }

    /// Nobody is there whose time is over, and everybody else is.
    fn check(&self) {
        let guard = World::read(&self.world);
        let mut there = walk(&self.table, &guard);
        let mut expected = Vec::from_iter(self.over.keys().copied());
        there.sort_unstable();
        expected.sort_unstable();
        assert_eq!(there, expected);
        assert_eq!(self.table.entries() as usize, expected.len());
        for (key, over) in &self.over {
            assert!(
                *over > self.now,
                "{key} has stayed from {over} to {}",
                self.now
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, u32),
    Refresh(u32, u32),
    Pass(u32),
    Grow,
    Shrink,
}

fn op() -> impl Strategy<Value = Op> {
    // Spread over the table, a few of a bucket.
    let key = || (0..32_u32).prop_map(|number| (number << 26) | (number & 1));
    let left = || prop_oneof![1..10_u32, 1..600_u32];
    prop_oneof![
        4 => (key(), left()).prop_map(|(key, left)| Op::Insert(key, left)),
        3 => (key(), left()).prop_map(|(key, left)| Op::Refresh(key, left)),
        3 => (1..200_u32).prop_map(Op::Pass),
        1 => Just(Op::Grow),
        1 => Just(Op::Shrink),
    ]
}

proptest! {
    #[test]
    fn nothing_stays_longer_than_its_time(ops in prop::collection::vec(op(), 1..60), bits in 0..5_u32) {
        let mut timed = Timed::new(bits);
        for op in ops {
            match op {
                Op::Insert(key, left) => timed.insert(key, left),
                Op::Refresh(key, left) => timed.refresh(key, left),
                Op::Pass(units) => for _ in 0..units {
                    timed.tick();
                    timed.check();
                },
                Op::Grow => timed.resize(timed.table.buckets(&Still) * 2),
                Op::Shrink => timed.resize(timed.table.buckets(&Still) / 2),
            }
        }
    }
}

/// Those that stay long are looked at now and then, those of buckets where others end a little more often.
#[test]
fn what_is_not_due_is_not_touched() {
    const ALL: u32 = 64;
    let mut timed = Timed::new(6);
    for number in 0..ALL {
        timed.insert(number << 26, 100_000);
    }
    for units in 1..=10 * u32::from(Moment::FARTHEST) {
        // One comes and goes all the while, in one and the same bucket.
        timed.insert(1 << 25, 2);
        timed.tick();
        timed.check();
        let now_and_then = ALL * (units / u32::from(Moment::FARTHEST) + 1);
        assert!(
            timed.looks <= (now_and_then + 2 * units) as usize,
            "{} at {units}",
            timed.looks
        );
    }
}

/// One with two keys stays: it is another's to take it out.
#[test]
fn one_with_two_keys_stays() {
    let mut timed = Timed::new(2);
    let by = timed.ahead(1);
    let entry = Entry::new(&timed.world, [2, 3]);
    assert!(timed.table.insert_by(entry, by, &Still).is_ok());
    struct Greedy;
    impl Look<Entry> for Greedy {
        fn look(&mut self, _: &Seen<'_, Entry>) -> Option<u8> {
            None
        }
        fn end(&mut self, _: &Entry) -> Option<u8> {
            None
        }
    }
    let looked =
        timed
            .table
            .look_through(0, [4, 4], Moment::new(timed.now + 1), &Still, &mut Greedy);
    assert_eq!((looked.behind, timed.table.entries()), (None, 1));
    timed.over.insert(2, u32::MAX);
    timed.check();
}
