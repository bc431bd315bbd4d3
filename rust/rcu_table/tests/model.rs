// SPDX-License-Identifier: GPL-2.0
//! The table against a map of the standard library, and under threads.
#![cfg(not(loom))]

mod mock;

use std::collections::HashMap;

use mock::{find, hash, hashes, table, thread, Arc, Entry, World};
use proptest::prelude::*;
use rcu_table::{Insert, Node, Ref, Side};

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    Remove(u32),
    Find(u32),
    Walk,
}

fn op() -> impl Strategy<Value = Op> {
    let number = 0u32..24;
    prop_oneof![
        4 => number.clone().prop_map(Op::Insert),
        2 => number.clone().prop_map(Op::Remove),
        3 => number.prop_map(Op::Find),
        1 => Just(Op::Walk),
    ]
}

/// The keys of flow `number`: those of its answer are never another flow's.
fn keys(number: u32) -> [u32; 2] {
    [number * 2, number * 2 + 1]
}

proptest! {
    #[test]
    fn as_a_map(ops in prop::collection::vec(op(), 1..200), buckets in 1usize..9, locks in 1usize..5) {
        let world = World::new();
        let table = table(buckets, locks);
        let mut map: HashMap<u32, Ref<Entry>> = HashMap::new();
        for op in ops {
            let guard = World::read(&world);
            match op {
                Op::Insert(number) => {
                    let entry = Entry::new(&world, keys(number));
                    match table.insert(entry.clone(), hashes(keys(number))) {
                        Ok(()) => {
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
                        prop_assert!(table.remove(&entry).is_some());
                        prop_assert!(table.remove(&entry).is_none());
                        prop_assert!(matches!(
                            table.insert(entry.clone(), hashes(keys(number))),
                            Err(Insert::Again(_))
                        ));
                    }
                }
                Op::Find(number) => {
                    for (key, expected) in keys(number).into_iter().zip([Side::Original, Side::Reply]) {
                        let found = find(&table, key, &guard);
                        prop_assert_eq!(found.is_some(), map.contains_key(&number));
                        if let Some((seen, side)) = found {
                            prop_assert_eq!(side, expected);
                            prop_assert!(std::ptr::eq(&*seen, &*map[&number]));
                        }
                    }
                }
                Op::Walk => {
                    let mut met: Vec<_> = (0..table.buckets())
                        .flat_map(|bucket| table.bucket(bucket, &guard))
                        .map(|seen| seen.key(Side::Original) / 2)
                        .collect();
                    met.sort_unstable();
                    let mut known: Vec<_> = map.keys().copied().collect();
                    known.sort_unstable();
                    prop_assert_eq!(met, known);
                }
            }
        }
        for (_, entry) in map.drain() {
            prop_assert!(table.remove(&entry).is_some());
        }
        prop_assert_eq!(world.alive(), 0);
    }
}

#[test]
fn a_flow_that_is_its_own_answer() {
    let world = World::new();
    let table = table(4, 2);
    let entry = Entry::new(&world, [6, 6]);
    assert!(table.insert(entry.clone(), hashes([6, 6])).is_ok());
    let guard = World::read(&world);
    assert!(find(&table, 6, &guard).is_some());
    assert_eq!((0..4).flat_map(|b| table.bucket(b, &guard)).count(), 1);
    drop(table.remove(&entry));
    assert!(find(&table, 6, &guard).is_none());
}

#[test]
fn what_was_never_in_cannot_be_taken_out() {
    let world = World::new();
    let table = table(4, 2);
    let entry = Entry::new(&world, [1, 2]);
    assert!(table.remove(&entry).is_none());
    assert!(table.insert(entry, hashes([1, 2])).is_ok());
}

#[test]
fn the_answer_may_clash_as_well() {
    let world = World::new();
    let table = table(4, 2);
    assert!(table
        .insert(Entry::new(&world, [1, 2]), hashes([1, 2]))
        .is_ok());
    for taken in [[1, 9], [9, 2], [2, 9], [9, 1]] {
        let clash = table.insert(Entry::new(&world, taken), hashes(taken));
        let Err(Insert::Clash(clash)) = clash else {
            panic!("{taken:?} went in")
        };
        assert!(!clash
            .entry
            .confirmed
            .load(std::sync::atomic::Ordering::SeqCst));
    }
    assert!(table
        .insert(Entry::new(&world, [3, 4]), hashes([3, 4]))
        .is_ok());
}

#[test]
fn nobody_gets_hold_of_what_is_being_destroyed() {
    let world = World::new();
    let table = table(1, 1);
    let entry = Entry::new(&world, [1, 2]);
    assert!(table.insert(entry.clone(), hashes([1, 2])).is_ok());
    let guard = World::read(&world);
    let (seen, _) = find(&table, 1, &guard).unwrap();
    drop(table.remove(&entry));
    drop(entry);
    assert!(!seen.try_get());
    assert!(seen.get().is_none());
}

/// Writers and readers on few keys: everything that is found is whole and right.
#[test]
fn under_threads() {
    let world = World::new();
    let table = Arc::new(table(4, 2));
    let threads: Vec<_> = (0..6)
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
                            let _ = table.insert(entry, hashes(keys(flow)));
                        }
                        2 | 3 => {
                            if let Some((seen, _)) = find(&table, keys(flow)[1], &guard) {
                                drop(table.remove(&seen));
                            }
                        }
                        4 => {
                            if let Some((seen, side)) = find(&table, keys(flow)[0], &guard) {
                                assert_eq!(side, Side::Original);
                                if let Some(held) = seen.get() {
                                    drop(guard);
                                    assert_eq!(held.key(Side::Original), keys(flow)[0]);
                                }
                            }
                        }
                        _ => {
                            let bucket = ((u64::from(hash(keys(flow)[0])) * 4) >> 32) as usize;
                            let mut met: Vec<_> = table
                                .bucket(bucket, &guard)
                                .map(|s| std::ptr::from_ref(&*s))
                                .collect();
                            met.sort_unstable();
                            met.dedup();
                            assert!(met.len() <= 8);
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let guard = World::read(&world);
    for bucket in 0..4 {
        for seen in table.bucket(bucket, &guard) {
            drop(table.remove(&seen));
        }
    }
    drop(guard);
    assert_eq!(world.alive(), 0);
}
