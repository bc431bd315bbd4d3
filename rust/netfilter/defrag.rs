// SPDX-License-Identifier: GPL-2.0
//! The kernel's defragmentation, switched on for a namespace.
//!
//! The modules nf_defrag_ipv4 and nf_defrag_ipv6 announce themselves through two pointers in the
//! kernel proper, so that this module need not link to them (as net/netfilter/nf_bpf_link.c does).

use core::ptr::NonNull;

use kernel::{error::to_result, prelude::*, str::CStr, sync::rcu};

use conntrack::tuple::Family;

/// Fragments of one family are put together in a namespace while this lives.
pub(crate) struct Defrag {
    hook: NonNull<raw::nf_defrag_hook>,
    net: NonNull<raw::net>,
}

// SAFETY: the two calls behind `hook` may come from any task.
unsafe impl Send for Defrag {}
// SAFETY: as above.
unsafe impl Sync for Defrag {}

/// The module that puts fragments of a family together.
fn module(family: Family) -> &'static CStr {
    match family {
        Family::Ipv4 => c"nf_defrag_ipv4",
        Family::Ipv6 => c"nf_defrag_ipv6",
    }
}

/// What the module of a family has announced; only good under the RCU read lock.
fn announced(family: Family) -> *mut raw::nf_defrag_hook {
    let slot = match family {
        Family::Ipv4 => &raw const raw::nf_defrag_v4_hook,
        Family::Ipv6 => &raw const raw::nf_defrag_v6_hook,
    };
    // SAFETY: an RCU pointer of the kernel proper, read once and whole; the order that a reader
    // needs is that of the dependency.
    unsafe { slot.read_volatile() }.cast_mut()
}

/// The same, with its module held.
fn hold(family: Family) -> Option<NonNull<raw::nf_defrag_hook>> {
    let _guard = rcu::read_lock();
    let hook = NonNull::new(announced(family))?;
    // SAFETY: alive under the read lock; afterwards its module's count keeps it.
    unsafe { raw::try_module_get(hook.as_ref().owner) }.then_some(hook)
}

/// Loads the modules. May sleep, and runs modprobe: not under locks that loading a module takes.
pub(crate) fn load() {
    for family in [Family::Ipv4, Family::Ipv6] {
        if announced(family).is_null() {
            // SAFETY: a plain call with a string that ends in NUL. Whether it helped is seen
            // by `enable`.
            unsafe { raw::ipct_request_module(module(family).as_char_ptr()) };
        }
    }
}

impl Defrag {
    /// Switches defragmentation on. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT` where the module is not there, or what it answers.
    pub(crate) fn enable(net: NonNull<raw::net>, family: Family) -> Result<Self> {
        let Some(hook) = hold(family) else {
            pr_err!(
                "fragments cannot be put together: module {} is not there\n",
                module(family).to_str().unwrap_or("?")
            );
            return Err(ENOENT);
        };
        // SAFETY: the module is held, so the functions are there.
        let hook_ref = unsafe { hook.as_ref() };
        let enabled = match hook_ref.enable {
            // SAFETY: a living namespace.
            Some(enable) => to_result(unsafe { enable(net.as_ptr()) }),
            None => Err(EINVAL),
        };
        if let Err(error) = enabled {
            // SAFETY: held by `hold`.
            unsafe { raw::module_put(hook_ref.owner) };
            return Err(error);
        }
        Ok(Self { hook, net })
    }
}

impl Drop for Defrag {
    fn drop(&mut self) {
        // SAFETY: enabled once in `enable`, with the module held since.
        unsafe {
            let hook = self.hook.as_ref();
            if let Some(disable) = hook.disable {
                disable(self.net.as_ptr());
            }
            raw::module_put(hook.owner);
        }
    }
}
