// SPDX-License-Identifier: GPL-2.0
//! Helpers of other modules, and what they keep of connections.
//!
//! A helper's code and data go with its module, which may be unloaded at any time. What
//! connections and rules hold of it is a [`Helper`], which belongs to this module and outlives it:
//! when the helper goes its [`Calls`] are taken away, and a grace period later nobody is in them.

use core::{
    ffi::CStr,
    mem::{align_of, size_of},
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use conntrack::{
    helper::{self, Message, Policy, Port, Wanted, CLASSES},
    seq::Seq,
    tuple::Direction,
};
use kernel::{
    prelude::*,
    sync::{rcu, Arc},
};

use crate::{lock::Guarded, rcu::ReadSide};

/// The longest name, in bytes (NF_CT_HELPER_NAME_LEN with its end).
pub const NAME_LEN: usize = 15;

/// The largest session, in bytes: one is copied on the stack for each packet.
const LARGEST: usize = 1280;

/// Words of a session.
type Memory = KVec<u64>;

/// What is called in the module of a helper. Its functions take the helper that stands here and
/// memory for one of its sessions.
struct Calls {
    helper: NonNull<()>,
    begin: unsafe fn(&mut Memory),
    read: unsafe fn(NonNull<()>, &mut Memory, &Message<'_>, &mut Commit<'_>) -> bool,
    module: NonNull<raw::module>,
}

/// Does what is wanted; whether it could be done.
type Commit<'a> = dyn FnMut(&Wanted) -> bool + 'a;

/// A helper that is registered, or was.
pub struct Helper {
    name: [u8; NAME_LEN],
    protocols: [bool; 256],
    policies: [Option<Policy>; CLASSES],
    /// Of a session, in words.
    words: usize,
    /// Null once its module takes it back; not null means valid for the current read side.
    calls: AtomicPtr<Calls>,
}

// SAFETY: `calls` leads to what is `Sync` (a helper) or not changed (functions).
unsafe impl Send for Helper {}
// SAFETY: as above.
unsafe impl Sync for Helper {}

impl Helper {
    /// Its name in rules.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }

    /// Whether it reads this transport protocol.
    #[must_use]
    pub fn reads(&self, protocol: u8) -> bool {
        self.protocols
            .get(usize::from(protocol))
            .copied()
            .unwrap_or_default()
    }

    /// The limits of a class; `None` where the helper has none such.
    #[must_use]
    pub fn policy(&self, class: u8) -> Option<Policy> {
        *self.policies.get(usize::from(class))?
    }

    /// Whether its module is still there to read packets.
    #[must_use]
    #[inline]
    pub fn is_alive(&self) -> bool {
        !self.calls.load(Ordering::Acquire).is_null()
    }

    fn calls<'a>(&self, _read: ReadSide<'a>) -> Option<&'a Calls> {
        // SAFETY: not null, so its owner waits for this read side before it frees it.
        unsafe { self.calls.load(Ordering::Acquire).as_ref() }
    }

    /// Takes its calls away, and waits for those who are in them. May sleep.
    pub fn retire(&self) {
        if !self.calls.swap(null_mut(), Ordering::AcqRel).is_null() {
            rcu::synchronize_rcu();
        }
    }

    /// Keeps its module from being unloaded; `None` where it is going already.
    #[must_use]
    pub fn hold_module(&self) -> Option<ModuleRef> {
        let guard = rcu::read_lock();
        let module = self.calls(ReadSide::of(&guard))?.module;
        // SAFETY: while the read side is open the module has not taken its calls back.
        unsafe { raw::try_module_get(module.as_ptr()) }.then_some(ModuleRef(module))
    }
}

/// A module that is not unloaded while this lives.
pub struct ModuleRef(NonNull<raw::module>);

// SAFETY: a count is given back on any CPU.
unsafe impl Send for ModuleRef {}
// SAFETY: nothing can be done with a shared one.
unsafe impl Sync for ModuleRef {}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: taken by `hold_module`.
        unsafe { raw::module_put(self.0.as_ptr()) };
    }
}

/// What a module owns of its helper: packets are read while this lives. To drop it may sleep.
pub struct Reading<H: helper::Helper> {
    handle: Arc<Helper>,
    _owned: KBox<Owned<H>>,
}

struct Owned<H> {
    calls: Calls,
    helper: H,
}

// SAFETY: `calls` names the helper beside it, which is `Send` and `Sync`.
unsafe impl<H: Send> Send for Owned<H> {}
// SAFETY: as above.
unsafe impl<H: Sync> Sync for Owned<H> {}

impl<H: helper::Helper> Reading<H> {
    const WORDS: usize = size_of::<H::Session>().div_ceil(size_of::<u64>());
    const FITS: () = {
        assert!(
            size_of::<H::Session>() <= LARGEST,
            "the session is too large"
        );
        assert!(align_of::<H::Session>() <= align_of::<u64>());
    };

    /// Makes a helper ready. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a name that is empty or too long, or policies that are none or too many;
    /// `ENOMEM`.
    pub fn new(module: &'static ThisModule, helper: H) -> Result<Self> {
        let () = Self::FITS;
        let handle = blank_helper(H::NAME, H::PROTOCOLS, helper.policies(), Self::WORDS)?;
        let mut owned = KBox::new(
            Owned {
                calls: Calls {
                    helper: NonNull::dangling(),
                    begin: begin::<H>,
                    read: read::<H>,
                    module: NonNull::new(module.as_ptr().cast()).ok_or(EINVAL)?,
                },
                helper,
            },
            GFP_KERNEL,
        )?;
        owned.calls.helper = NonNull::from(&owned.helper).cast();
        let handle = Arc::new(handle, GFP_KERNEL)?;
        handle.calls.store(
            core::ptr::from_ref(&owned.calls).cast_mut(),
            Ordering::Release,
        );
        Ok(Self {
            handle,
            _owned: owned,
        })
    }

    /// What connections and rules may hold.
    #[must_use]
    pub fn handle(&self) -> &Arc<Helper> {
        &self.handle
    }
}

impl<H: helper::Helper> Drop for Reading<H> {
    fn drop(&mut self) {
        self.handle.retire();
        // Somebody else may have retired it, and not yet waited.
        rcu::synchronize_rcu();
    }
}

// Not generic, so that they are compiled into the core: the bindings export nothing.

#[inline(never)]
fn blank_helper(
    name: &CStr,
    protocols: &[u8],
    policies: &[Policy],
    words: usize,
) -> Result<Helper> {
    let mut helper = Helper {
        name: [0; NAME_LEN],
        protocols: [false; 256],
        policies: [None; CLASSES],
        words,
        calls: AtomicPtr::new(null_mut()),
    };
    let name = name.to_bytes();
    if name.is_empty() || name.len() > NAME_LEN || policies.is_empty() || policies.len() > CLASSES {
        return Err(EINVAL);
    }
    if policies.iter().any(|policy| !policy.is_sensible()) {
        pr_err!(
            "expectations of a helper: 1 to {} at once, for 1 to {} seconds\n",
            Policy::MOST,
            Policy::LONGEST
        );
        return Err(EINVAL);
    }
    for (to, from) in helper.name.iter_mut().zip(name) {
        *to = *from;
    }
    for protocol in protocols {
        helper.protocols[usize::from(*protocol)] = true;
    }
    for (to, from) in helper.policies.iter_mut().zip(policies) {
        *to = Some(*from);
    }
    Ok(helper)
}

/// Begins a session.
///
/// # Safety
///
/// `memory` must have room for an `H::Session`.
unsafe fn begin<H: helper::Helper>(memory: &mut Memory) {
    // SAFETY: the room is the caller's promise, the alignment was asserted (`Reading::FITS`).
    unsafe {
        memory
            .as_mut_ptr()
            .cast::<H::Session>()
            .write(H::Session::default())
    };
}

/// Reads a message; the session remembers it only if what is wanted could be done.
///
/// # Safety
///
/// `helper` must be a living `H`, and `memory` hold an `H::Session`.
unsafe fn read<H: helper::Helper>(
    helper: NonNull<()>,
    memory: &mut Memory,
    message: &Message<'_>,
    commit: &mut Commit<'_>,
) -> bool {
    let place = memory.as_mut_ptr().cast::<H::Session>();
    // SAFETY: by the contract of this function.
    let (helper, mut session) = unsafe { (helper.cast::<H>().as_ref(), place.read()) };
    let mut wanted = Wanted::new();
    helper.read(&mut session, message, &mut wanted);
    if !wanted.is_empty() && !commit(&wanted) {
        return false;
    }
    // SAFETY: as above.
    unsafe { place.write(session) };
    true
}

/// What a helper keeps of a connection.
pub struct Session {
    helper: Arc<Helper>,
    kept: KBox<Guarded<Kept>>,
}

/// What is kept under the session's lock.
struct Kept {
    memory: Memory,
    /// Where the stream of each direction begins (TCP), if its SYN was seen.
    begins: [Option<Seq>; 2],
}

impl Session {
    /// Begins one; callable from any context. `None` where the helper has gone.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(helper: &Arc<Helper>, read: ReadSide<'_>) -> Result<Option<KBox<Self>>> {
        let Some(calls) = helper.calls(read) else {
            return Ok(None);
        };
        let mut memory = Memory::from_elem(0, helper.words, GFP_ATOMIC)?;
        // SAFETY: of the size that this very helper has asked for.
        unsafe { (calls.begin)(&mut memory) };
        let session = Self {
            helper: helper.clone(),
            kept: Guarded::new(
                Kept {
                    memory,
                    begins: [None; 2],
                },
                GFP_ATOMIC,
            )?,
        };
        Ok(Some(KBox::new(session, GFP_ATOMIC)?))
    }

    /// Whose it is.
    #[must_use]
    pub fn helper(&self) -> &Arc<Helper> {
        &self.helper
    }

    /// The stream of a direction begins at `begin`: a SYN has come. Where another has come before
    /// it, the ends have begun anew, and the helper does so too.
    pub fn begin(&self, direction: Direction, begin: Seq, read: ReadSide<'_>) {
        let Some(calls) = self.helper.calls(read) else {
            return;
        };
        self.kept.with(|kept| {
            let known = &mut kept.begins[direction.index()];
            if known.is_some_and(|known| known != begin) {
                // SAFETY: of the size that this very helper has asked for.
                unsafe { (calls.begin)(&mut kept.memory) };
            }
            *known = Some(begin);
        });
    }

    /// Has the helper read a message, whose `begin` is filled in here; `false` where `commit` could not do what it wants, and the
    /// message should come again.
    #[must_use]
    pub fn read(
        &self,
        mut message: Message<'_>,
        read: ReadSide<'_>,
        mut commit: impl FnMut(&Wanted) -> bool,
    ) -> bool {
        let Some(calls) = self.helper.calls(read) else {
            return true;
        };
        self.kept.with(|kept| {
            message.begin = kept.begins[message.direction.index()];
            // SAFETY: the helper lives while it has calls, and the memory was begun by it.
            unsafe { (calls.read)(calls.helper, &mut kept.memory, &message, &mut commit) }
        })
    }
}

/// How many ports a helper may have of its own.
pub const PORTS: usize = 8;

/// The ports that a helper's module was given as its parameter `ports`, or else `port`.
///
/// # Errors
///
/// `EINVAL` where one of them is zero.
pub fn ports(module: &'static ThisModule, port: u16) -> Result<KVec<Port>> {
    let mut given = [0_u16; PORTS];
    // SAFETY: a living module, a name with its end, and room for so many ports.
    let count = unsafe {
        raw::ipct_param_array(
            module.as_ptr().cast(),
            c"ports".as_char_ptr(),
            given.as_mut_ptr(),
            PORTS as u32,
        )
    } as usize;
    let mut ports = KVec::with_capacity(PORTS, GFP_KERNEL)?;
    let given = if count == 0 {
        &[port][..]
    } else {
        &given[..count.min(PORTS)]
    };
    for port in given {
        let port = Port::new(*port).ok_or(EINVAL).inspect_err(|_| {
            pr_err!("ports: there is no port 0\n");
        })?;
        ports.push(port, GFP_KERNEL)?;
    }
    Ok(ports)
}

/// Has `modprobe` load the helper of a name. May sleep.
pub fn request_helper(name: &[u8]) {
    let mut module = [0; 32];
    let parts = Iterator::chain(b"ip_conntrack_".iter(), name);
    // The last byte stays zero.
    let [places @ .., _] = &mut module;
    for (to, from) in places.iter_mut().zip(parts) {
        *to = *from;
    }
    // SAFETY: a text with its end; process context, as the callers of this function document.
    unsafe { raw::ipct_request_module(module.as_ptr().cast()) };
}
