// SPDX-License-Identifier: GPL-2.0
//! Small cases in every interleaving: `RUSTFLAGS="--cfg loom" cargo test --release --test loom`.
//!
//! Whatever is to be interleaved runs in a thread of its own ([`race`]): the thread that starts
//! the others is not interrupted by loom, and a case in which it takes part proves nothing. Each
//! case therefore also says which outcomes must have come up.
#![cfg(loom)]

mod mock;

use std::{collections::BTreeSet, fmt::Debug, sync::Mutex};

use loom::model::Builder;
use mock::{end, find, heads, table, thread, walk, Arc, Entry, Mock, Ordering, Still, World};
use rcu_table::{Insert, Key};

const KEYS: [u32; 2] = [2, 3];

/// Runs a case in every interleaving; `outcomes` are those that came up.
fn explore<T: Ord + Debug + Send + 'static>(
    outcomes: impl IntoIterator<Item = T>,
    case: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    let all = seen.clone();
    builder.check(move || {
        let outcome = case();
        all.lock().unwrap().insert(outcome);
    });
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from_iter(outcomes));
}

/// Two threads side by side.
fn race<A: 'static, B: 'static>(
    a: impl FnOnce() -> A + 'static,
    b: impl FnOnce() -> B + 'static,
) -> (A, B) {
    let (a, b) = (thread::spawn(a), thread::spawn(b));
    (a.join().unwrap(), b.join().unwrap())
}

fn start(buckets: usize) -> (Arc<World>, Arc<Mock>) {
    (World::new(), Arc::new(table(buckets, 1)))
}

/// What is found is whole, and once it is confirmed it is found by both keys.
#[test]
fn a_reader_meets_an_insert() {
    // Not there, there but not confirmed, and there.
    explore([None, Some(false), Some(true)], || {
        let (world, table) = start(2);
        let (insert, read) = ((world.clone(), table.clone()), (world, table));
        let ((), found) = race(
            move || {
                let (world, table) = insert;
                assert!(table.insert(Entry::new(&world, KEYS), &Still).is_ok());
            },
            move || {
                let (world, table) = read;
                let guard = World::read(&world);
                let (seen, by) = find(&table, KEYS[0], &guard)?;
                assert_eq!(by, Key::First);
                let confirmed = seen.confirmed.load(Ordering::SeqCst);
                if confirmed {
                    assert!(find(&table, KEYS[1], &guard).is_some());
                }
                Some(confirmed)
            },
        );
        found
    });
}

/// Of two entries with the same tuples exactly one gets in.
#[test]
fn two_inserts_of_the_same_tuples() {
    explore([(false, true), (true, false)], || {
        let (world, table) = start(2);
        let insert = |world: Arc<World>, table: Arc<Mock>| {
            move || table.insert(Entry::new(&world, KEYS), &Still).is_ok()
        };
        race(insert(world.clone(), table.clone()), insert(world, table))
    });
}

/// Of two copies of a packet that confirm the same entry one does, and the other is told.
#[test]
fn two_inserts_of_the_same_entry() {
    explore([(false, true), (true, false)], || {
        let (world, table) = start(2);
        let entry = Entry::new(&world, KEYS);
        let insert = |entry, table: Arc<Mock>| {
            move || match table.insert(entry, &Still) {
                Ok(_) => true,
                Err(Insert::Again(_)) => false,
                Err(Insert::Clash(_)) => panic!("an entry clashes with itself"),
            }
        };
        race(insert(entry.clone(), table.clone()), insert(entry, table))
    });
}

/// Nor is it put in twice under different hashes, where no lock is shared.
#[test]
fn two_inserts_of_the_same_entry_elsewhere() {
    explore([(false, true), (true, false)], || {
        let world = World::new();
        let tables = [(); 2].map(|()| Arc::new(table(2, 1)));
        let entry = Entry::new(&world, KEYS);
        let [a, b] = tables.each_ref().map(|table| {
            let (entry, table) = (entry.clone(), table.clone());
            move || table.insert(entry, &Still).is_ok()
        });
        let done = race(a, b);
        let removed = tables.map(|table| table.remove(&entry, &Still).is_some());
        assert_eq!(removed, [done.0, done.1]);
        done
    });
}

/// Who holds an entry that another is putting in takes it out of the right chains, or not at all.
#[test]
fn a_remove_meets_an_insert() {
    explore([false, true], || {
        let (world, table) = start(2);
        let entry = Entry::new(&world, KEYS);
        let insert = (entry.clone(), table.clone());
        let remove = (entry.clone(), table.clone());
        let ((), early) = race(
            move || assert!(insert.1.insert(insert.0, &Still).is_ok()),
            move || remove.1.remove(&remove.0, &Still).is_some(),
        );
        assert_eq!(table.remove(&entry, &Still).is_some(), !early);
        let guard = World::read(&world);
        assert!(KEYS.iter().all(|key| find(&table, *key, &guard).is_none()));
        early
    });
}

/// Who finds an entry that is just being put in, by one key or the other, takes it out.
#[test]
fn what_is_found_is_taken_out() {
    for key in KEYS {
        explore([false, true], move || {
            let (world, table) = start(2);
            let (insert, read) = ((world.clone(), table.clone()), (world.clone(), table));
            let ((), taken) = race(
                move || {
                    let (world, table) = insert;
                    assert!(table.insert(Entry::new(&world, KEYS), &Still).is_ok());
                },
                move || {
                    let (world, table) = read;
                    let guard = World::read(&world);
                    let Some((seen, _)) = find(&table, key, &guard) else {
                        return false;
                    };
                    assert!(table.remove(&seen, &Still).is_some());
                    true
                },
            );
            assert_eq!(world.alive(), usize::from(!taken));
            taken
        });
    }
}

/// Of two that take an entry out one does; nobody touches it after it was given back.
#[test]
fn two_removes_and_a_reader() {
    explore([(false, true), (true, false)], || {
        let (world, table) = start(1);
        assert!(table.insert(Entry::new(&world, KEYS), &Still).is_ok());
        let remove = |world: Arc<World>, table: Arc<Mock>| {
            move || {
                let guard = World::read(&world);
                find(&table, KEYS[0], &guard)
                    .is_some_and(|(seen, _)| table.remove(&seen, &Still).is_some())
            }
        };
        let done = race(
            remove(world.clone(), table.clone()),
            remove(world.clone(), table),
        );
        assert_eq!(world.alive(), 0);
        done
    });
}

/// A reader that stands on an entry which is being taken out finds the one behind it.
#[test]
fn a_reader_walks_over_a_remove() {
    // Whether the reader still met the one that goes.
    explore([false, true], || {
        let (world, table) = start(1);
        let behind = Entry::new(&world, [4, 5]);
        assert!(table.insert(behind, &Still).is_ok());
        let ahead = Entry::new(&world, KEYS);
        assert!(table.insert(ahead.clone(), &Still).is_ok());
        let (remove, read) = (table.clone(), (world, table));
        let ((), met) = race(
            move || {
                drop(remove.remove(&ahead, &Still));
                drop(ahead);
            },
            move || {
                let (world, table) = read;
                let guard = World::read(&world);
                let met = find(&table, KEYS[0], &guard).is_some();
                let (seen, _) =
                    find(&table, 4, &guard).expect("an entry that stays is always found");
                assert!(seen.get().is_some());
                met
            },
        );
        met
    });
}

/// A reader that finds an entry only because the one ahead of it went sees all of it.
#[test]
fn a_reader_comes_behind_a_remove() {
    explore([false, true], || {
        let (world, table) = start(1);
        let (write, read) = ((world.clone(), table.clone()), (world, table));
        let ((), found) = race(
            move || {
                let (world, table) = write;
                assert!(table.insert(Entry::new(&world, [4, 5]), &Still).is_ok());
                let ahead = Entry::new(&world, KEYS);
                assert!(table.insert(ahead.clone(), &Still).is_ok());
                drop(table.remove(&ahead, &Still));
            },
            move || {
                let (world, table) = read;
                let guard = World::read(&world);
                find(&table, 4, &guard).is_some()
            },
        );
        found
    });
}

/// What happens beside a change of the number of buckets, from one to two or back. In the table are
/// entries of keys 2 and 3, each of a half of its own. The outcome is how many buckets there were
/// when `what` began.
fn beside_a_change(
    [before, after]: [usize; 2],
    what: impl Fn(&Arc<World>, &Mock) + Copy + Send + Sync + 'static,
) {
    explore([1, 2], move || {
        let (world, table) = start(before);
        for key in KEYS {
            assert!(table.insert(Entry::single(&world, key), &Still).is_ok());
        }
        let (resize, other) = ((world.clone(), table.clone()), (world, table));
        let ((), seen) = race(
            move || {
                let (world, table) = resize;
                assert!(table.resize(heads(after), &*world, || {}).is_ok());
            },
            move || {
                let (world, table) = other;
                let guard = World::read(&world);
                let seen = table.buckets(&guard);
                drop(guard);
                what(&world, &table);
                seen
            },
        );
        seen
    });
}

const CHANGES: [[usize; 2]; 2] = [[1, 2], [2, 1]];

/// Who is there all the while is always found.
#[test]
fn a_reader_meets_a_change() {
    for change in CHANGES {
        beside_a_change(change, |world, table| {
            let guard = World::read(world);
            assert!(KEYS.iter().all(|key| find(table, *key, &guard).is_some()));
        });
    }
}

/// A walk meets each of them once.
#[test]
fn a_walk_meets_a_change() {
    for change in CHANGES {
        beside_a_change(change, |world, table| {
            let guard = World::read(world);
            assert_eq!(walk(table, &guard), KEYS);
        });
    }
}

/// What is put in meanwhile is found.
#[test]
fn an_insert_meets_a_change() {
    for change in CHANGES {
        beside_a_change(change, |world, table| {
            let guard = World::read(world);
            assert!(table.insert(Entry::single(world, 5), &guard).is_ok());
            assert!(find(table, 5, &guard).is_some());
        });
    }
}

/// What is taken out meanwhile is gone, and the other is not.
#[test]
fn a_remove_meets_a_change() {
    for change in CHANGES {
        for key in KEYS {
            beside_a_change(change, move |world, table| {
                let guard = World::read(world);
                let (seen, _) = find(table, key, &guard).expect("it is there");
                assert!(table.remove(&seen, &guard).is_some());
                assert!(find(table, key, &guard).is_none());
                assert!(find(table, KEYS[0] + KEYS[1] - key, &guard).is_some());
            });
        }
    }
}

/// Of who looks buckets through and who takes an entry out one does.
#[test]
fn a_look_meets_a_remove() {
    explore([(0, true), (1, false)], || {
        let (world, table) = start(1);
        assert!(table.insert(Entry::single(&world, 2), &Still).is_ok());
        let (look, remove) = ((world.clone(), table.clone()), (world.clone(), table));
        let done = race(
            move || end(&look.1, 2, 1, &World::read(&look.0)),
            move || {
                let guard = World::read(&remove.0);
                find(&remove.1, 2, &guard)
                    .is_some_and(|(seen, _)| remove.1.remove(&seen, &guard).is_some())
            },
        );
        assert_eq!(world.alive(), 0);
        done
    });
}

/// What is put in beside one that ends stays.
#[test]
fn a_look_meets_an_insert() {
    for other in [0, 4] {
        // Whether it was there when another began to look.
        explore([false, true], move || {
            let (world, table) = start(1);
            assert!(table.insert(Entry::single(&world, 2), &Still).is_ok());
            let (look, insert) = (
                (world.clone(), table.clone()),
                (world.clone(), table.clone()),
            );
            let (there, ()) = race(
                move || {
                    let guard = World::read(&look.0);
                    let there = find(&look.1, other, &guard).is_some();
                    assert_eq!(end(&look.1, 2, 1, &guard), 1);
                    there
                },
                move || {
                    let entry = Entry::single(&insert.0, other);
                    assert!(insert.1.insert(entry, &Still).is_ok());
                },
            );
            let guard = World::read(&world);
            assert_eq!((walk(&table, &guard), table.entries()), (vec![other], 1));
            there
        });
    }
}

/// One that is missed while its bucket becomes another is met by the next look, which may come at once.
#[test]
fn a_look_meets_a_change() {
    for [before, after] in CHANGES {
        for key in KEYS {
            explore([0, 1], move || {
                let (world, table) = start(before);
                for key in KEYS {
                    assert!(table.insert(Entry::single(&world, key), &Still).is_ok());
                }
                let (resize, look) = (
                    (world.clone(), table.clone()),
                    (world.clone(), table.clone()),
                );
                let ((), ended) = race(
                    move || {
                        let (world, table) = resize;
                        assert!(table.resize(heads(after), &*world, || {}).is_ok());
                    },
                    move || end(&look.1, key, 1, &World::read(&look.0)),
                );
                let guard = World::read(&world);
                assert_eq!(ended + end(&table, key, 2, &guard), 1);
                assert_eq!(walk(&table, &guard), [KEYS[0] + KEYS[1] - key]);
                ended
            });
        }
    }
}
