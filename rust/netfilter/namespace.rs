// SPDX-License-Identifier: GPL-2.0
//! Network namespaces: what the tracker keeps for each, and its life with them.

use core::{
    cell::UnsafeCell,
    mem::size_of,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
};

use conntrack::tuple::Tuple;
use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_long, c_uint, c_void},
    prelude::*,
};
use rcu_table::Ref;

use crate::{
    cache::Cache,
    conn::{Conn, NewConn},
    defrag::Gatherer,
    extension::Extension,
    hook::{self, Context, Verdict},
    proc::{self, ProcFile},
    rcu::ReadSide,
    skb::Skb,
    sysctl::{Directory, Settings},
    tally::Tallies,
    time::HZ,
};

/// What a module does with packets, and keeps for each namespace.
pub trait Tracker: Sized + Send + Sync + 'static {
    /// What all namespaces have in common.
    type Shared: Clone + Send + Sync + 'static;

    /// The registry of its namespaces.
    fn namespaces() -> &'static PerNet<Self>;

    /// What a new namespace starts with.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being made: the namespace is then not made either.
    fn new(shared: &Self::Shared, census: &Census) -> Result<Self>;

    /// The files that each namespace has in `/proc/net`.
    fn files() -> &'static [ProcFile<Self>];

    /// The settings that each namespace has in `/proc/sys`, in the order in which the directories
    /// are made.
    fn directories() -> &'static [Directory<Self>];

    /// A packet at PREROUTING or OUTPUT. RCU read lock held; softirq or process context.
    fn track(context: &mut Context<'_, Self>) -> Verdict;

    /// A packet at INPUT or POSTROUTING, unless it is of a connection whose packets have nothing to do
    /// there. RCU read lock held; softirq or process context.
    fn confirm(net: &Net<Self>, skb: &mut Skb, read: ReadSide<'_>) -> Verdict;

    /// The connection that packets with `tuple` belong to.
    fn find(net: &Net<Self>, tuple: &Tuple, read: ReadSide<'_>) -> Option<Ref<Conn>>;

    /// The tuple of a packet that was not tracked, as the other end would see it, if it belongs
    /// to a connection.
    fn answer(net: &Net<Self>, skb: &Skb, read: ReadSide<'_>) -> Option<Tuple>;

    /// The connection was reset by this host itself.
    fn set_closing(net: &Net<Self>, conn: &Ref<Conn>);

    /// Takes all connections of the namespace out of the table. May sleep.
    fn flush(net: &Net<Self>);
}

/// Counts the connections of a namespace, those included that no table knows yet.
pub struct Census {
    count: AtomicU32,
    expected: AtomicU32,
    expected_no_more: AtomicU32,
    kept: AtomicU32,
    silent: AtomicBool,
    tallies: Tallies,
    net: NonNull<raw::net>,
}

// SAFETY: the count is atomic; the namespace is only named, never followed, here.
unsafe impl Send for Census {}
// SAFETY: as above.
unsafe impl Sync for Census {}

impl Census {
    /// Of none yet. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(net: NonNull<raw::net>) -> Result<Self> {
        Ok(Self {
            count: AtomicU32::new(0),
            expected: AtomicU32::new(0),
            expected_no_more: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            silent: AtomicBool::new(false),
            tallies: Tallies::new()?,
            net,
        })
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections are expected.
    #[inline]
    pub fn expected(&self) -> &AtomicU32 {
        &self.expected
    }

    /// How often a connection came that was expected, or is expected no more.
    pub fn expected_no_more(&self) -> &AtomicU32 {
        &self.expected_no_more
    }

    /// How many are dead, and kept until that is told.
    pub fn kept(&self) -> &AtomicU32 {
        &self.kept
    }

    /// Whether the namespace is going: its sockets go before its last connection.
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// Which of them rules count.
    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Whether this is the first namespace, that of the machine.
    pub fn is_first(&self) -> bool {
        core::ptr::eq(self.net.as_ptr(), &raw const raw::init_net)
    }

    pub(crate) fn net(&self) -> *const raw::net {
        self.net.as_ptr()
    }

    #[inline]
    pub(crate) fn enter(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The last use that a connection makes of the census.
    #[inline]
    pub(crate) fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Release);
    }
}

/// Waits until a count is zero. May sleep.
pub(crate) fn wait_for(count: &AtomicU32) {
    while count.load(Ordering::Acquire) != 0 {
        // Packets in queues of devices, neighbours and sockets hold the rest; nothing tells
        // them to let go sooner.
        // SAFETY: process context.
        unsafe { raw::schedule_timeout_uninterruptible(1) };
    }
}

/// The number of the slots that namespaces have for us, while any is registered.
static SLOTS: AtomicU32 = AtomicU32::new(0);

/// The count of a namespace's connections.
///
/// # Safety
///
/// `net` must be a namespace with connections, or one between `init` and `retire`.
pub(crate) unsafe fn census_of<'a>(net: *const raw::net) -> &'a Census {
    // SAFETY: such a namespace has a slot, which begins with a pointer to the census; it is set
    // before the first connection is made and not changed until the last has gone.
    unsafe {
        let slot = raw::ipct_net_generic(net, SLOTS.load(Ordering::Relaxed));
        &*slot.cast::<*const Census>().read()
    }
}

/// A namespace, as the tracker sees it.
pub struct Net<T: Tracker> {
    census: Census,
    tracker: T,
}

impl<T: Tracker> Net<T> {
    /// What the tracker keeps for this namespace.
    #[inline]
    pub fn tracker(&self) -> &T {
        &self.tracker
    }

    /// The count of its connections.
    #[inline]
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Makes a connection in this namespace that only the caller knows; callable from any context.
    ///
    /// `None` where there is no memory.
    #[inline]
    pub fn new_conn(
        &self,
        cache: &Cache,
        new: NewConn,
        extension: Option<KBox<Extension>>,
    ) -> Option<Ref<Conn>> {
        Conn::new(cache, Some(&self.census), new, extension)
    }

    /// A number that the kernel mixes into hashes of this namespace, so that the same tuple in
    /// two namespaces falls into two buckets.
    #[inline]
    pub fn hash_mix(&self) -> u32 {
        // SAFETY: the namespace is alive, and this word does not change.
        unsafe { (*self.census.net.as_ptr()).hash_mix }
    }
}

/// What is switched on for a namespace, in the order in which it is switched off.
struct Life<T: Tracker> {
    net: NonNull<Net<T>>,
    settings: Option<Settings<T>>,
    files: Option<proc::Files<T>>,
    hooks: Option<Hooks<8>>,
    /// Those that put fragments together.
    gather: Option<Hooks<4>>,
}

/// Some hooks of a namespace. Who lists hooks reads them under RCU, so this is dropped a grace period after they
/// were unregistered.
struct Hooks<const N: usize> {
    ops: KBox<[raw::nf_hook_ops; N]>,
    /// Where they are registered.
    net: Option<NonNull<raw::net>>,
}

impl<const N: usize> Hooks<N> {
    fn new(ops: [raw::nf_hook_ops; N]) -> Result<Self> {
        let ops = KBox::new(ops, GFP_KERNEL)?;
        Ok(Self { ops, net: None })
    }

    fn register(&mut self, net: NonNull<raw::net>) -> Result {
        // SAFETY: the array stays where it is until `unregister` takes it back.
        to_result(unsafe {
            raw::nf_register_net_hooks(net.as_ptr(), self.ops.as_mut_ptr(), N as c_uint)
        })?;
        self.net = Some(net);
        Ok(())
    }

    /// After this, packets that are in a hook are let go by a grace period, queued ones dropped.
    fn unregister(&mut self) {
        if let Some(net) = self.net.take() {
            // SAFETY: registered by `register` with this very array.
            unsafe {
                raw::nf_unregister_net_hooks(net.as_ptr(), self.ops.as_mut_ptr(), N as c_uint)
            };
        }
    }
}

impl<const N: usize> Drop for Hooks<N> {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// The memory that the kernel keeps for us in each namespace.
#[repr(C)]
struct Slot<T: Tracker> {
    /// See `census_of`.
    census: *const Census,
    /// Read by anybody under the RCU read lock.
    net: AtomicPtr<Net<T>>,
    /// Touched only by the kernel's callbacks, which it serialises for each namespace.
    life: *mut Life<T>,
}

/// The registry of namespaces; a static of the module.
pub struct PerNet<T: Tracker> {
    ops: UnsafeCell<raw::pernet_operations>,
    id: UnsafeCell<c_uint>,
    shared: UnsafeCell<Option<T::Shared>>,
    live: AtomicBool,
}

// SAFETY: the cells are written only while nothing is registered, by the one module that owns
// the static, at its start and end.
unsafe impl<T: Tracker> Sync for PerNet<T> {}

impl<T: Tracker> PerNet<T> {
    /// An empty registry.
    pub const fn new() -> Self {
        Self {
            ops: UnsafeCell::new(raw::pernet_operations {
                list: raw::list_head {
                    next: null_mut(),
                    prev: null_mut(),
                },
                init: None,
                pre_exit: None,
                exit: None,
                exit_batch: None,
                exit_rtnl: None,
                id: null_mut(),
                size: 0,
            }),
            id: UnsafeCell::new(0),
            shared: UnsafeCell::new(None),
            live: AtomicBool::new(false),
        }
    }

    /// Starts tracking in all namespaces, present and future. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` where it runs already, and whatever a namespace cannot be made ready for.
    pub fn register(&'static self, shared: T::Shared) -> Result<Registration<T>> {
        if self.live.load(Ordering::Acquire) {
            return Err(EBUSY);
        }
        let gatherer = Gatherer::hold()?;
        // SAFETY: nothing is registered, so nobody else looks at the cells.
        unsafe {
            *self.shared.get() = Some(shared);
            *self.ops.get() = raw::pernet_operations {
                init: Some(init::<T>),
                pre_exit: Some(pre_exit::<T>),
                exit: Some(exit::<T>),
                id: self.id.get(),
                size: size_of::<Slot<T>>(),
                ..Default::default()
            };
        }
        // SAFETY: the operations are a static, and taken back by `Registration`.
        let registered = to_result(unsafe { raw::register_pernet_subsys(self.ops.get()) });
        if let Err(error) = registered {
            // SAFETY: not registered (any more).
            unsafe { *self.shared.get() = None };
            return Err(error);
        }
        self.live.store(true, Ordering::Release);
        Ok(Registration {
            registry: self,
            _gatherer: gatherer,
        })
    }

    /// What all namespaces have in common, while tracking goes on.
    pub fn shared(&'static self) -> Option<T::Shared> {
        let _guard = kernel::sync::rcu::read_lock();
        if !self.live.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: live under the read lock: the registration, which waits for a grace period
        // when it ends, has not yet gone on to clear the cell.
        unsafe { (*self.shared.get()).clone() }
    }

    /// What is kept for a namespace, `None` before it is ready.
    ///
    /// # Safety
    ///
    /// `net` must be a living namespace, and the RCU read lock be held.
    pub(crate) unsafe fn get<'a>(
        &self,
        net: NonNull<raw::net>,
        _read: ReadSide<'a>,
    ) -> Option<&'a Net<T>> {
        // SAFETY: what the slot points to is freed only after a grace period.
        unsafe { self.kept(net) }
    }

    /// The same.
    ///
    /// # Safety
    ///
    /// `net` must be a living namespace; and as long as the result is used the RCU read lock must
    /// be held, or the namespace be kept from going and this from being given back.
    pub(crate) unsafe fn kept<'a>(&self, net: NonNull<raw::net>) -> Option<&'a Net<T>> {
        if !self.live.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: registered, so the kernel keeps a slot for each namespace; what it points to
        // outlives the result (contract of this function).
        unsafe {
            let slot = slot::<T>(net.as_ptr(), *self.id.get());
            (*slot).net.load(Ordering::Acquire).as_ref()
        }
    }
}

impl<T: Tracker> Default for PerNet<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Tracking goes on in all namespaces while this lives. To drop it may sleep, and waits for the
/// last packet that refers to a connection.
pub struct Registration<T: Tracker> {
    registry: &'static PerNet<T>,
    /// Goes after the hooks.
    _gatherer: Gatherer,
}

impl<T: Tracker> Drop for Registration<T> {
    fn drop(&mut self) {
        self.registry.live.store(false, Ordering::Release);
        // SAFETY: registered by `PerNet::register`; afterwards nobody looks at the cells.
        unsafe {
            raw::unregister_pernet_subsys(self.registry.ops.get());
            kernel::sync::rcu::synchronize_rcu(); // See `PerNet::shared`.
            *self.registry.shared.get() = None;
        }
    }
}

/// The slot of a namespace.
///
/// # Safety
///
/// `id` must be registered with a `Slot<T>`, and the namespace be alive.
unsafe fn slot<T: Tracker>(net: *const raw::net, id: c_uint) -> *mut Slot<T> {
    // SAFETY: by the contract of this function.
    unsafe { memory(net, id) }.cast()
}

/// The same. Not generic, so that it is compiled into the core: the C helpers export nothing.
///
/// # Safety
///
/// As above.
#[inline(never)]
unsafe fn memory(net: *const raw::net, id: c_uint) -> *mut c_void {
    // SAFETY: by the contract of this function.
    unsafe { raw::ipct_net_generic(net, id) }
}

/// The slot of a namespace, from within a callback of the kernel.
///
/// # Safety
///
/// Only from `init`, `pre_exit` and `exit`.
unsafe fn callback_slot<T: Tracker>(net: *mut raw::net) -> *mut Slot<T> {
    let registry = T::namespaces();
    // SAFETY: the kernel has set the number before it calls back, and does not change it.
    unsafe { slot::<T>(net, *registry.id.get()) }
}

/// A new namespace.
///
/// # Safety
///
/// Called by the kernel only.
unsafe extern "C" fn init<T: Tracker>(net: *mut raw::net) -> c_int {
    from_result(|| {
        let raw_net = NonNull::new(net).ok_or(EINVAL)?;
        // SAFETY: set before the registration, and not changed while it stands.
        let shared = unsafe { (*T::namespaces().shared.get()).as_ref() }.ok_or(EINVAL)?;
        let census = Census::new(raw_net)?;
        let kept = KBox::new(
            Net {
                tracker: T::new(shared, &census)?,
                census,
            },
            GFP_KERNEL,
        )?;
        let kept = NonNull::from(KBox::leak(kept));
        // SAFETY: the kernel has set the number before it calls back; the slot is ours, and nobody
        // reads it before hooks are on.
        unsafe {
            SLOTS.store(*T::namespaces().id.get(), Ordering::Relaxed);
            (*callback_slot::<T>(net)).census = &raw const (*kept.as_ptr()).census;
        }
        let life = Life::new(kept).and_then(|mut life| match life.switch_on(raw_net) {
            Ok(()) => Ok(life),
            Err(error) => {
                life.switch_off();
                // Packets may have met its hooks already, and others may read of them.
                kernel::sync::rcu::synchronize_rcu();
                Err(error)
            }
        });
        // SAFETY: the slot is ours, readers see it by the release store; or else `kept` was leaked above, its
        // hooks are gone, and nobody is in them any more.
        unsafe {
            match life {
                Ok(life) => {
                    let slot = callback_slot::<T>(net);
                    (*slot).life = KBox::into_raw(life);
                    (*slot).net.store(kept.as_ptr(), Ordering::Release);
                    Ok(0)
                }
                Err(error) => {
                    retire::<T>(kept);
                    Err(error)
                }
            }
        }
    })
}

impl<T: Tracker> Life<T> {
    fn new(net: NonNull<Net<T>>) -> Result<KBox<Self>> {
        let life = Self {
            net,
            settings: None,
            files: None,
            hooks: None,
            gather: None,
        };
        Ok(KBox::new(life, GFP_KERNEL)?)
    }

    /// Switches on what a namespace needs, hooks last but for the files that show their work.
    fn switch_on(&mut self, net: NonNull<raw::net>) -> Result {
        self.settings = Some(Settings::create(net, self.net)?);
        let (gather, track) = hook::tables::<T>(self.net);
        self.gather.insert(Hooks::new(gather)?).register(net)?;
        self.hooks.insert(Hooks::new(track)?).register(net)?;
        self.files = Some(proc::Files::create(net, self.net)?);
        Ok(())
    }

    /// Switches it off again. The rest is dropped a grace period later.
    fn switch_off(&mut self) {
        self.settings = None;
        self.files = None;
        if let Some(hooks) = &mut self.hooks {
            hooks.unregister();
        }
        if let Some(gather) = &mut self.gather {
            gather.unregister();
        }
    }
}

/// The longest pause between two looks for connections of a namespace that goes, in ticks.
const LONGEST_PAUSE: c_long = HZ as c_long / 20;

/// Frees what was kept for a namespace, after the last connection has gone.
///
/// # Safety
///
/// `kept` must come from `KBox::leak`; no hook, file or slot may lead to it, since a grace period.
unsafe fn retire<T: Tracker>(kept: NonNull<Net<T>>) {
    // SAFETY: nobody else leads to it; connections that it counts are waited for.
    let kept = unsafe { KBox::from_raw(kept.as_ptr()) };
    let mut pause = 1;
    loop {
        T::flush(&kept);
        if kept.census.count.load(Ordering::Acquire) == 0 {
            return;
        }
        // Packets in queues of devices, neighbours and sockets hold the rest; nothing tells
        // them to let go sooner.
        // SAFETY: process context.
        unsafe { raw::schedule_timeout_uninterruptible(pause) };
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// A namespace is going, or the module is: no new packets from here on.
///
/// # Safety
///
/// Called by the kernel only.
unsafe extern "C" fn pre_exit<T: Tracker>(net: *mut raw::net) {
    // SAFETY: the slot is there until `exit` has run; only these callbacks touch `life`.
    unsafe {
        let slot = callback_slot::<T>(net);
        (*slot).net.store(null_mut(), Ordering::Release);
        if let Some(life) = (*slot).life.as_mut() {
            life.net
                .as_ref()
                .census
                .silent
                .store(true, Ordering::Release);
            life.switch_off();
        }
    }
}

/// A grace period after `pre_exit`.
///
/// # Safety
///
/// Called by the kernel only.
unsafe extern "C" fn exit<T: Tracker>(net: *mut raw::net) {
    // SAFETY: as in `pre_exit`; `life` and what it names were made in `init`.
    unsafe {
        let slot = callback_slot::<T>(net);
        let life = (*slot).life;
        if life.is_null() {
            return;
        }
        (*slot).life = null_mut();
        let life = KBox::from_raw(life);
        retire::<T>(life.net);
    }
}
