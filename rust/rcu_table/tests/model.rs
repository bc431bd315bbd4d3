// SPDX-License-Identifier: GPL-2.0
//! The table against a map of the standard library, and under threads.
#![cfg(not(loom))]

mod mock;

use std::{
    collections::{BTreeSet, HashMap},
    sync::mpsc,
};

use mock::{find, heads, table, thread, walk, Arc, Entry, Still, World};
use proptest::prelude::*;
use rcu_table::{Grace, Insert, Key, Node, Ref};

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    Remove(u32),
    Find(u32),
    Walk,
    Grow,
    Shrink,
}

fn op() -> impl Strategy<Value = Op> {
    let number = 0u32..24;
    prop_oneof![
        4 => number.clone().prop_map(Op::Insert),
        2 => number.clone().prop_map(Op::Remove),
        3 => number.prop_map(Op::Find),
        1 => Just(Op::Walk),
        1 => Just(Op::Grow),
        1 => Just(Op::Shrink),
    ]
}

/// The keys of flow `number`: those of its answer are never another flow's.
fn keys(number: u32) -> [u32; 2] {
    [number * 2, number * 2 + 1]
}

/// An entry of that flow: of three one has a single key.
fn flow(world: &Arc<World>, number: u32) -> Ref<Entry> {
    if number % 3 == 0 {
        Entry::single(world, keys(number)[0])
    } else {
        Entry::new(world, keys(number))
    }
}

proptest! {
    #[test]
    fn as_a_map(ops in prop::collection::vec(op(), 1..200), bits in 0u32..4, locks in 0u32..3) {
        let world = World::new();
        let table = table(1 << bits.max(locks), 1 << locks);
        let mut map: HashMap<u32, Ref<Entry>> = HashMap::new();
        for op in ops {
            if matches!(op, Op::Grow | Op::Shrink) {
                let buckets = table.buckets(&Still);
                let wanted = if matches!(op, Op::Grow) { buckets * 2 } else { buckets / 2 };
                let done = table.resize(heads(wanted), &*world, || {}).is_ok();
                prop_assert_eq!(done, wanted >= 1 << locks);
                prop_assert_eq!(table.buckets(&Still), if done { wanted } else { buckets });
                continue;
            }
            let guard = World::read(&world);
            match op {
                Op::Insert(number) => {
                    let entry = flow(&world, number);
                    match table.insert(entry.clone(), &Still) {
                        Ok(_) => {
                            prop_assert!(entry.confirmed.load(std::sync::atomic::Ordering::SeqCst));
                            prop_assert!(map.insert(number, entry).is_none());
                        }
                        Err(Insert::Clash(clash)) => {
                            let other = clash.other.unwrap();
                            prop_assert!(std::ptr::eq(&*other, &*map[&number]));
                        }
                        Err(Insert::Again(_)) => prop_assert!(false, "a new entry was in"),
                    }
                }
                Op::Remove(number) => {
                    if let Some(entry) = map.remove(&number) {
                        prop_assert!(table.remove(&entry, &Still).is_some());
                        prop_assert!(table.remove(&entry, &Still).is_none());
                        prop_assert!(matches!(
                            table.insert(entry.clone(), &Still),
                            Err(Insert::Again(_))
                        ));
                    }
                }
                Op::Find(number) => {
                    for (key, expected) in keys(number).into_iter().zip([Key::First, Key::Second]) {
                        let found = find(&table, key, &guard);
                        let known = map.get(&number);
                        let known = known.filter(|entry| expected == Key::First || entry.second().is_some());
                        prop_assert_eq!(found.is_some(), known.is_some());
                        if let Some((seen, by)) = found {
                            prop_assert_eq!(by, expected);
                            prop_assert!(std::ptr::eq(&*seen, &*map[&number]));
                        }
                    }
                }
                Op::Walk => {
                    let met = walk(&table, &guard);
                    prop_assert_eq!(met.len(), map.len());
                    prop_assert!(met.is_sorted_by_key(|key| mock::hash(*key)));
                    let met = BTreeSet::from_iter(met.into_iter().map(|key| key / 2));
                    prop_assert_eq!(met, BTreeSet::from_iter(map.keys().copied()));
                }
                Op::Grow | Op::Shrink => {}
            }
            prop_assert_eq!(table.entries() as usize, map.len());
        }
        for (_, entry) in map.drain() {
            prop_assert!(table.remove(&entry, &Still).is_some());
        }
        prop_assert_eq!(world.alive(), 0);
    }
}

#[test]
fn a_flow_that_is_its_own_answer() {
    let world = World::new();
    let table = table(4, 2);
    let entry = Entry::new(&world, [6, 6]);
    assert!(table.insert(entry.clone(), &Still).is_ok());
    let guard = World::read(&world);
    assert!(find(&table, 6, &guard).is_some());
    assert_eq!(walk(&table, &guard), [6]);
    drop(table.remove(&entry, &Still));
    assert!(find(&table, 6, &guard).is_none());
}

#[test]
fn what_was_never_in_cannot_be_taken_out() {
    let world = World::new();
    let table = table(4, 2);
    let entry = Entry::new(&world, [1, 2]);
    assert!(table.remove(&entry, &Still).is_none());
    assert!(table.insert(entry, &Still).is_ok());
}

#[test]
fn the_answer_may_clash_as_well() {
    let world = World::new();
    let table = table(4, 2);
    assert!(table.insert(Entry::new(&world, [1, 2]), &Still).is_ok());
    for taken in [[1, 9], [9, 2], [2, 9], [9, 1]] {
        let clash = table.insert(Entry::new(&world, taken), &Still);
        let Err(Insert::Clash(clash)) = clash else {
            panic!("{taken:?} went in")
        };
        assert!(!clash
            .entry
            .confirmed
            .load(std::sync::atomic::Ordering::SeqCst));
    }
    assert!(table.insert(Entry::new(&world, [3, 4]), &Still).is_ok());
}

#[test]
fn nobody_gets_hold_of_what_is_being_destroyed() {
    let world = World::new();
    let table = table(1, 1);
    let entry = Entry::new(&world, [1, 2]);
    assert!(table.insert(entry.clone(), &Still).is_ok());
    let guard = World::read(&world);
    let (seen, _) = find(&table, 1, &guard).unwrap();
    drop(table.remove(&entry, &Still));
    drop(entry);
    assert!(!seen.try_get());
    assert!(seen.get().is_none());
}

/// Where the first of two walks ends the second begins, though the buckets are others by then.
#[test]
fn a_walk_goes_on_in_other_buckets() {
    for (before, after) in [(2, 4), (4, 2), (4, 8), (8, 4)] {
        let world = World::new();
        let table = table(before, 1);
        let keys = (1 << 20) | 1u32..(1 << 20) | 9;
        for key in keys.clone() {
            // Spread over all buckets.
            let key = key.reverse_bits() & !1 | key & 1;
            assert!(table.insert(Entry::single(&world, key), &Still).is_ok());
        }
        let first = table.walk(0, &Still);
        let next = first.behind().unwrap();
        let mut met: Vec<_> = first.map(|seen| seen.key(Key::First)).collect();
        assert!(table.resize(heads(after), &*world, || {}).is_ok());
        let mut from = Some(next);
        while let Some(at) = from {
            let mut walk = table.walk(at, &Still);
            met.extend(walk.by_ref().map(|seen| seen.key(Key::First)));
            from = walk.behind();
        }
        assert_eq!(met.len(), keys.count());
        assert_eq!(BTreeSet::from_iter(&met).len(), met.len());
    }
}

/// Says when all chains are changed, and then waits.
struct Told(Arc<World>, mpsc::Sender<()>);

// SAFETY: as that of the world.
unsafe impl Grace for Told {
    fn wait(&self) {
        self.1.send(()).unwrap();
        self.0.wait();
    }
}

/// A walk that stands in a chain goes on in what has become of it.
#[test]
fn a_walk_is_not_led_astray() {
    for (before, after) in [(1, 2), (2, 1), (2, 4), (4, 2)] {
        for stop in 0..6 {
            let world = World::new();
            let table = Arc::new(table(before, 1));
            for key in 0..6 {
                assert!(table.insert(Entry::single(&world, key), &Still).is_ok());
            }
            let guard = World::read(&world);
            let mut walk = table.walk(0, &guard);
            let all = walk.behind().is_none();
            let mut met: Vec<_> = walk
                .by_ref()
                .take(stop)
                .map(|s| s.key(Key::First))
                .collect();
            let (tell, told) = mpsc::channel();
            let other = (table.clone(), Told(world.clone(), tell));
            let resize = thread::spawn(move || {
                let (table, told) = other;
                assert!(table.resize(heads(after), &told, || {}).is_ok());
            });
            told.recv().unwrap();
            met.extend(walk.map(|seen| seen.key(Key::First)));
            drop(guard);
            resize.join().unwrap();
            let expected = if all {
                &[0, 2, 4, 1, 3, 5][..]
            } else {
                &[0, 2, 4]
            };
            assert_eq!(met, expected, "{before} to {after}, at {stop}");
        }
    }
}
/// Writers and readers on few keys: everything that is found is whole and right.
#[test]
fn under_threads() {
    let world = World::new();
    let table = Arc::new(table(4, 2));
    let threads: Vec<_> = (0..7)
        .map(|number| {
            let (world, table) = (world.clone(), table.clone());
            thread::spawn(move || {
                let mut random = number * 2_654_435 + 1u32;
                for _ in 0..20_000 {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let flow = (random >> 24) & 7;
                    let guard = World::read(&world);
                    match number {
                        0 | 1 => {
                            let entry = Entry::new(&world, keys(flow));
                            let _ = table.insert(entry, &guard);
                        }
                        2 | 3 => {
                            if let Some((seen, _)) = find(&table, keys(flow)[1], &guard) {
                                drop(table.remove(&seen, &guard));
                            }
                        }
                        4 => {
                            if let Some((seen, by)) = find(&table, keys(flow)[0], &guard) {
                                assert_eq!(by, Key::First);
                                if let Some(held) = seen.get() {
                                    drop(guard);
                                    assert_eq!(held.key(Key::First), keys(flow)[0]);
                                }
                            }
                        }
                        5 => {
                            let met = walk(&table, &guard);
                            assert_eq!(BTreeSet::from_iter(&met).len(), met.len());
                        }
                        _ if random % 64 == 0 => {
                            drop(guard);
                            let wanted = 4 << ((random >> 30) & 1);
                            let _ = table.resize(heads(wanted), &*world, || {});
                        }
                        _ => {}
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let guard = World::read(&world);
    for key in walk(&table, &guard) {
        let (seen, _) = find(&table, key, &guard).unwrap();
        drop(table.remove(&seen, &guard));
    }
    drop(guard);
    assert_eq!(world.alive(), 0);
}
