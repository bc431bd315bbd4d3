// SPDX-License-Identifier: GPL-2.0
//! A table of mock entries, with a mock of RCU that notices whoever touches an entry too late.
#![allow(dead_code, unused_imports)] // Each test file uses its own part.

#[cfg(loom)]
pub use loom::{
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
        Arc, Condvar, Mutex, MutexGuard,
    },
    thread,
};
use std::{cell::UnsafeCell, collections::BTreeSet, ptr::NonNull};
#[cfg(not(loom))]
pub use std::{
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
        Arc, Condvar, Mutex, MutexGuard,
    },
    thread,
};

use rcu_table::{
    Chains, Due, Grace, Head, Key, Link, Look, Moment, Node, ReadSide, Ref, Seen, Storage, Stripe,
    Table,
};

/// The mock of RCU: an entry that nobody counts any more is freed when no reader is inside.
pub struct World {
    state: Mutex<State>,
    nobody_reads: Condvar,
    pub born: AtomicUsize,
}

#[derive(Default)]
struct State {
    readers: usize,
    /// Destroyed, waiting for the readers to leave.
    waiting: Vec<NonNull<Entry>>,
    /// Freed; the memory is kept to notice late visitors, unless somebody else does (`cfg(asan)`).
    freed: Vec<NonNull<Entry>>,
    /// Freed, and the memory with them.
    gone: usize,
    /// All others, so that those which stay in a table are no leak (`cfg(asan)`).
    living: BTreeSet<NonNull<Entry>>,
}

impl State {
    /// Nobody counts an entry, and nobody reads.
    fn free(&mut self, entry: NonNull<Entry>) {
        if cfg!(asan) {
            self.living.remove(&entry);
            self.gone += 1;
            // SAFETY: allocated by `Entry::new`, and this happens once.
            drop(unsafe { Box::from_raw(entry.as_ptr()) });
            return;
        }
        // SAFETY: the memory is kept until the world ends.
        unsafe { entry.as_ref() }
            .freed
            .store(true, Ordering::SeqCst);
        self.freed.push(entry);
    }
}

// SAFETY: the pointers are only followed under the lock, or by `Drop` when all threads are done.
unsafe impl Send for State {}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::default()),
            nobody_reads: Condvar::new(),
            born: AtomicUsize::new(0),
        })
    }

    pub fn read(world: &Arc<Self>) -> Guard {
        world.state.lock().unwrap().readers += 1;
        Guard(world.clone())
    }

    /// How many entries there are that were not destroyed.
    pub fn alive(&self) -> usize {
        let state = self.state.lock().unwrap();
        let ended = state.waiting.len() + state.freed.len() + state.gone;
        self.born.load(Ordering::SeqCst) - ended
    }
}

// SAFETY: waits until no guard is there at all.
unsafe impl Grace for World {
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        while state.readers != 0 {
            state = self.nobody_reads.wait(state).unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap();
        let kept = if cfg!(asan) {
            Vec::from_iter(std::mem::take(&mut state.living))
        } else {
            [
                std::mem::take(&mut state.waiting),
                std::mem::take(&mut state.freed),
            ]
            .concat()
        };
        for entry in kept {
            // SAFETY: allocated by `Entry::new`, and all threads are done.
            drop(unsafe { Box::from_raw(entry.as_ptr()) });
        }
    }
}

/// Evidence for writers of tables whose number of buckets does not change: they look at nothing but
/// entries that are counted.
pub struct Still;

// SAFETY: nothing is given back while a test uses this.
unsafe impl ReadSide for Still {}

/// An open read side.
pub struct Guard(Arc<World>);

// SAFETY: `Node::put` below frees an entry only when no guard is alive.
unsafe impl ReadSide for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap();
        state.readers -= 1;
        if state.readers == 0 {
            for entry in std::mem::take(&mut state.waiting) {
                state.free(entry);
            }
            self.0.nobody_reads.notify_all();
        }
    }
}

#[cfg(loom)]
type Written = loom::cell::UnsafeCell<u32>;

/// The same for threads of the machine, which nobody watches.
#[cfg(not(loom))]
struct Written(UnsafeCell<u32>);

#[cfg(not(loom))]
impl Written {
    fn new(value: u32) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn with<T>(&self, look: impl FnOnce(*const u32) -> T) -> T {
        look(self.0.get())
    }

    fn with_mut<T>(&self, change: impl FnOnce(*mut u32) -> T) -> T {
        change(self.0.get())
    }
}

/// An entry with a key, or two.
#[repr(align(8))]
pub struct Entry {
    link: Link,
    second: Option<Link>,
    count: AtomicUsize,
    keys: [u32; 2],
    pub confirmed: AtomicBool,
    freed: AtomicBool,
    /// Written before the entry is put in; loom notices who reads it unordered with that.
    written: Written,
    home: *const World,
}

// SAFETY: `home` outlives all entries (the tests keep it).
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Entry {
    /// With two keys.
    pub fn new(world: &Arc<World>, keys: [u32; 2]) -> Ref<Self> {
        Self::make(world, keys, Some(Link::new(hash(keys[1]))))
    }

    /// With one key.
    pub fn single(world: &Arc<World>, key: u32) -> Ref<Self> {
        Self::make(world, [key; 2], None)
    }

    fn make(world: &Arc<World>, keys: [u32; 2], second: Option<Link>) -> Ref<Self> {
        world.born.fetch_add(1, Ordering::SeqCst);
        let entry = Box::new(Self {
            link: Link::new(hash(keys[0])),
            second,
            count: AtomicUsize::new(1),
            keys,
            confirmed: AtomicBool::new(false),
            freed: AtomicBool::new(false),
            written: Written::new(0),
            home: &**world,
        });
        // SAFETY: nobody else has the entry yet.
        entry.written.with_mut(|at| unsafe { *at = 1 });
        let entry = NonNull::from(Box::leak(entry));
        if cfg!(asan) {
            world.state.lock().unwrap().living.insert(entry);
        }
        // SAFETY: the count of one goes to the reference.
        unsafe { Ref::from_raw(entry) }
    }

    /// A key; panics where the entry has been given back.
    pub fn key(&self, key: Key) -> u32 {
        assert!(
            !self.freed.load(Ordering::SeqCst),
            "touched after it was given back"
        );
        // SAFETY: written only before the entry is put in.
        let written = self.written.with(|at| unsafe { *at });
        assert_eq!(written, 1, "seen half made");
        self.keys[key as usize]
    }
}

// SAFETY: the links are fields; the count is exact; memory is kept until the world ends, or freed
// (and `freed` set) only when no reader is inside.
unsafe impl Node for Entry {
    fn link(&self) -> &Link {
        &self.link
    }

    fn second(&self) -> Option<&Link> {
        self.second.as_ref()
    }

    fn try_get(&self) -> bool {
        self.count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
                (n > 0).then_some(n + 1)
            })
            .is_ok()
    }

    unsafe fn put(this: NonNull<Self>) {
        // SAFETY: the caller owns a count.
        let entry = unsafe { this.as_ref() };
        assert!(
            !entry.freed.load(Ordering::SeqCst),
            "put after it was given back"
        );
        if entry.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SAFETY: the world outlives its entries.
            let mut state = unsafe { &*entry.home }.state.lock().unwrap();
            if state.readers == 0 {
                state.free(this);
            } else {
                state.waiting.push(this);
            }
        }
    }

    fn conflicts(&self, key: Key, other: &Self, other_key: Key) -> bool {
        self.key(key) == other.key(other_key)
    }

    fn published(&self) {
        assert!(
            !self.confirmed.swap(true, Ordering::SeqCst),
            "published twice"
        );
    }
}

/// A lock that is held without a guard.
pub struct Lock {
    lock: Mutex<()>,
    held: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    entries: AtomicU32,
}

// SAFETY: `held` is only touched by the holder.
unsafe impl Sync for Lock {}
// SAFETY: the guard is taken and given back by the same thread.
unsafe impl Send for Lock {}

impl Lock {
    fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            held: UnsafeCell::new(None),
            entries: AtomicU32::new(0),
        }
    }
}

// SAFETY: a mutex underneath.
unsafe impl Stripe for Lock {
    type Before = ();

    fn lock(&self) {
        let guard = self.lock.lock().unwrap();
        // SAFETY: the lock is held, so `held` is ours; the guard is dropped by `unlock` while
        // the lock lives.
        unsafe {
            *self.held.get() = Some(std::mem::transmute::<
                MutexGuard<'_, ()>,
                MutexGuard<'static, ()>,
            >(guard))
        };
    }

    fn lock_second(&self) {
        self.lock();
    }

    unsafe fn unlock(&self, (): ()) {
        // SAFETY: the caller holds the lock.
        drop(unsafe { (*self.held.get()).take() });
    }

    unsafe fn unlock_second(&self) {
        // SAFETY: the caller holds the lock.
        unsafe { self.unlock(()) };
    }

    fn entries(&self) -> &AtomicU32 {
        &self.entries
    }
}

pub struct Store(Vec<Lock>);

// SAFETY: the vectors do not change.
unsafe impl Storage for Store {
    type Heads = Heads;
    type Stripe = Lock;

    fn stripes(&self) -> &[Lock] {
        &self.0
    }
}

pub struct Heads(Vec<Head>, Vec<Due>);

impl Chains for Heads {
    fn heads(&self) -> &[Head] {
        &self.0
    }

    fn dues(&self) -> &[Due] {
        &self.1
    }
}

pub type Mock = Table<Entry, Store>;

pub fn heads(buckets: usize) -> Heads {
    Heads(
        (0..buckets).map(|_| Head::new()).collect(),
        (0..buckets).map(|_| Due::default()).collect(),
    )
}

pub fn table(buckets: usize, locks: usize) -> Mock {
    let locks = (0..locks).map(|_| Lock::new()).collect();
    Table::new(heads(buckets), Store(locks)).unwrap()
}

/// A hash that puts odd keys into the upper half of the table.
pub fn hash(key: u32) -> u32 {
    ((key & 1) << 31) | key
}

pub fn find<'g>(table: &'g Mock, key: u32, guard: &'g Guard) -> Option<(Seen<'g, Entry>, Key)> {
    table.find(hash(key), guard, |entry, by| {
        (entry.key(by) == key).then_some(by)
    })
}

/// The first keys of all entries, in the order of a walk.
pub fn walk(table: &Mock, guard: &Guard) -> Vec<u32> {
    let (mut from, mut met) = (Some(0), Vec::new());
    while let Some(at) = from {
        let mut walk = table.walk(at, guard);
        met.extend(walk.by_ref().map(|seen| seen.key(Key::First)));
        from = walk.behind();
    }
    met
}

/// Takes out all that have this first key.
struct Ends(u32, usize);

impl Look<Entry> for Ends {
    fn look(&mut self, entry: &Seen<'_, Entry>) -> Option<u8> {
        (entry.key(Key::First) != self.0).then_some(Moment::FARTHEST)
    }

    fn end(&mut self, entry: &Entry) -> Option<u8> {
        let ends = entry.key(Key::First) == self.0;
        self.1 += usize::from(ends);
        (!ends).then_some(Moment::FARTHEST)
    }
}

/// Looks through what is due `now`, and takes out all that have a key, if they have no other; how many.
pub fn end(table: &Mock, key: u32, now: u32, guard: &Guard) -> usize {
    let (mut from, mut ends) = (Some(0), Ends(key, 0));
    while let Some(at) = from {
        let looked = table.look_through(at, [2, 1], Moment::new(now), guard, &mut ends);
        from = looked.behind;
    }
    ends.1
}
