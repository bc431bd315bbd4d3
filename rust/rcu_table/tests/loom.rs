// SPDX-License-Identifier: GPL-2.0
//! Small cases in every interleaving: `RUSTFLAGS="--cfg loom" cargo test --release --test loom`.
#![cfg(loom)]

mod mock;

use loom::model::Builder;
use mock::{find, hashes, table, thread, Arc, Entry, Mock, Ordering, World};
use rcu_table::{Insert, Side};

const KEYS: [u32; 2] = [2, 3];

fn explore(case: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(case);
}

fn start(buckets: usize) -> (Arc<World>, Arc<Mock>) {
    (World::new(), Arc::new(table(buckets, 1)))
}

/// What is found is whole, and once it is confirmed it is found from both sides.
#[test]
fn a_reader_meets_an_insert() {
    explore(|| {
        let (world, table) = start(2);
        let writer = {
            let (world, table) = (world.clone(), table.clone());
            thread::spawn(move || {
                let entry = Entry::new(&world, KEYS);
                assert!(table.insert(entry, hashes(KEYS)).is_ok());
            })
        };
        let guard = World::read(&world);
        if let Some((seen, side)) = find(&table, KEYS[0], &guard) {
            assert_eq!(side, Side::Original);
            if seen.confirmed.load(Ordering::SeqCst) {
                assert!(find(&table, KEYS[1], &guard).is_some());
            }
        }
        drop(guard);
        writer.join().unwrap();
    });
}

/// Of two entries with the same tuples exactly one gets in.
#[test]
fn two_inserts_of_the_same_tuples() {
    explore(|| {
        let (world, table) = start(2);
        let insert = |world: Arc<World>, table: Arc<Mock>| {
            table.insert(Entry::new(&world, KEYS), hashes(KEYS)).is_ok()
        };
        let other = {
            let (world, table) = (world.clone(), table.clone());
            thread::spawn(move || insert(world, table))
        };
        let mine = insert(world.clone(), table.clone());
        assert!(mine != other.join().unwrap());
    });
}

/// Of two copies of a packet that confirm the same entry one does, and the other is told.
#[test]
fn two_inserts_of_the_same_entry() {
    explore(|| {
        let (world, table) = start(2);
        let entry = Entry::new(&world, KEYS);
        let other = {
            let (entry, table) = (entry.clone(), table.clone());
            thread::spawn(move || match table.insert(entry, hashes(KEYS)) {
                Ok(()) => true,
                Err(Insert::Again(_)) => false,
                Err(Insert::Clash(_)) => panic!("an entry clashes with itself"),
            })
        };
        let mine = table.insert(entry, hashes(KEYS)).is_ok();
        assert!(mine != other.join().unwrap());
    });
}

/// Nor is it put in twice under different hashes, where no lock is shared.
#[test]
fn two_inserts_of_the_same_entry_elsewhere() {
    explore(|| {
        let world = World::new();
        let tables = [(); 2].map(|()| Arc::new(table(2, 1)));
        let entry = Entry::new(&world, KEYS);
        let other = {
            let (entry, table) = (entry.clone(), tables[1].clone());
            thread::spawn(move || table.insert(entry, hashes(KEYS)).is_ok())
        };
        let mine = tables[0].insert(entry.clone(), hashes(KEYS)).is_ok();
        assert!(mine != other.join().unwrap());
        let removed = tables.map(|table| table.remove(&entry).is_some());
        assert_eq!(removed, [mine, !mine]);
    });
}

/// Who holds an entry that another is putting in takes it out of the right chains, or not at all.
#[test]
fn a_remove_meets_an_insert() {
    explore(|| {
        let (world, table) = start(2);
        let entry = Entry::new(&world, KEYS);
        let other = {
            let (entry, table) = (entry.clone(), table.clone());
            thread::spawn(move || assert!(table.insert(entry, hashes(KEYS)).is_ok()))
        };
        let early = table.remove(&entry).is_some();
        other.join().unwrap();
        assert_eq!(table.remove(&entry).is_some(), !early);
        let guard = World::read(&world);
        assert!(KEYS.iter().all(|key| find(&table, *key, &guard).is_none()));
    });
}

/// Of two that take an entry out one does; nobody touches it after it was given back.
#[test]
fn two_removes_and_a_reader() {
    explore(|| {
        let (world, table) = start(1);
        assert!(table.insert(Entry::new(&world, KEYS), hashes(KEYS)).is_ok());
        let remove = |world: Arc<World>, table: Arc<Mock>| {
            let guard = World::read(&world);
            find(&table, KEYS[0], &guard).is_some_and(|(seen, _)| table.remove(&seen).is_some())
        };
        let other = {
            let (world, table) = (world.clone(), table.clone());
            thread::spawn(move || remove(world, table))
        };
        let mine = remove(world.clone(), table.clone());
        assert!(mine != other.join().unwrap());
        assert_eq!(world.alive(), 0);
    });
}

/// A reader that stands on an entry which is being taken out finds the one behind it.
#[test]
fn a_reader_walks_over_a_remove() {
    explore(|| {
        let (world, table) = start(1);
        let behind = Entry::new(&world, [4, 5]);
        assert!(table.insert(behind, hashes([4, 5])).is_ok());
        let ahead = Entry::new(&world, KEYS);
        assert!(table.insert(ahead.clone(), hashes(KEYS)).is_ok());
        let writer = {
            let table = table.clone();
            thread::spawn(move || {
                drop(table.remove(&ahead));
                drop(ahead);
            })
        };
        let guard = World::read(&world);
        let (seen, _) = find(&table, 4, &guard).expect("an entry that stays is always found");
        assert!(seen.get().is_some());
        drop(guard);
        writer.join().unwrap();
    });
}
