// SPDX-License-Identifier: GPL-2.0
//! Settings in `/proc/sys`, for each namespace.

use core::{
    ffi::CStr,
    marker::PhantomData,
    mem::size_of,
    ptr::{addr_of_mut, null_mut, NonNull},
};

use kernel::{
    error::from_result,
    ffi::{c_int, c_void},
    prelude::*,
};

use crate::namespace::{Net, Tracker};

/// What the number in a file stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Itself.
    Number,
    /// Seconds, kept as jiffies.
    Seconds,
}

/// A setting.
pub struct Sysctl<T: Tracker> {
    /// The names of its files, by [`Directory::name`].
    pub names: &'static [&'static CStr],
    /// What its number stands for.
    pub unit: Unit,
    /// The least and the most that may be written.
    pub range: [i32; 2],
    /// Reads it.
    pub get: fn(&Net<T>) -> u32,
    /// Writes it; `None` where users cannot. An error is for the user, and leaves the old value.
    pub set: Option<fn(&Net<T>, u32) -> Result>,
    /// Whether it is the same in all namespaces, and so may be written in the first one only.
    pub global: bool,
}

/// A directory of settings.
pub struct Directory<T: Tracker> {
    /// Below `/proc/sys`.
    pub path: &'static CStr,
    /// Which of a setting's names it has here.
    pub name: usize,
    /// The settings.
    pub settings: &'static [Sysctl<T>],
    /// Whether only the first namespace has it.
    pub first_only: bool,
}

/// Whether who writes administers the network of the machine (CAP_NET_ADMIN), not of some namespace alone.
pub fn is_admin() -> bool {
    // SAFETY: asks about the task that runs.
    unsafe { raw::ipct_is_admin() }
}

/// The settings of a namespace, as long as this lives.
pub(crate) struct Settings<T: Tracker> {
    headers: KVec<Registered>,
    _tracker: PhantomData<fn(T)>,
}

/// A registered directory with the memory that the kernel was given for it.
struct Registered {
    header: NonNull<raw::ctl_table_header>,
    _table: KVec<raw::ctl_table>,
}

impl Drop for Registered {
    /// Waits for those who are in a file.
    fn drop(&mut self) {
        // SAFETY: registered by `Settings::create`; the table goes after this.
        unsafe { raw::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

impl<T: Tracker> Settings<T> {
    pub(crate) fn create(net: NonNull<raw::net>, kept: NonNull<Net<T>>) -> Result<Self> {
        let first = core::ptr::eq(net.as_ptr(), &raw const raw::init_net);
        let mut headers = KVec::new();
        for directory in T::directories() {
            if directory.first_only && !first {
                continue;
            }
            headers.push(register(net, kept, directory, first)?, GFP_KERNEL)?;
        }
        Ok(Self {
            headers,
            _tracker: PhantomData,
        })
    }
}

impl<T: Tracker> Drop for Settings<T> {
    fn drop(&mut self) {
        // The last first: a directory may lie in another.
        while self.headers.pop().is_some() {}
    }
}

fn register<T: Tracker>(
    net: NonNull<raw::net>,
    kept: NonNull<Net<T>>,
    directory: &Directory<T>,
    first: bool,
) -> Result<Registered> {
    let mut table = KVec::with_capacity(directory.settings.len(), GFP_KERNEL)?;
    for setting in directory.settings {
        let Some(name) = setting.names.get(directory.name) else {
            continue;
        };
        let writable = setting.set.is_some() && (first || !setting.global);
        let row = raw::ctl_table {
            procname: name.as_char_ptr(),
            data: kept.as_ptr().cast(),
            maxlen: size_of::<c_int>() as c_int,
            mode: if writable { 0o644 } else { 0o444 },
            proc_handler: Some(handle::<T>),
            extra1: core::ptr::from_ref(setting).cast_mut().cast(),
            ..Default::default()
        };
        table.push(row, GFP_KERNEL)?;
    }
    // SAFETY: the names and the path are static; the table stays where it is until `Registered`
    // is dropped, which the namespace's data outlives.
    let header = unsafe {
        raw::register_net_sysctl_sz(
            net.as_ptr(),
            directory.path.as_char_ptr(),
            table.as_mut_ptr(),
            table.len(),
        )
    };
    match NonNull::new(header) {
        Some(header) => Ok(Registered {
            header,
            _table: table,
        }),
        None => {
            pr_err!(
                "/proc/sys/{} cannot be made: a name is taken, or no memory\n",
                directory.path.to_str().unwrap_or("?")
            );
            Err(ENOMEM)
        }
    }
}

/// Reads or writes a file.
///
/// # Safety
///
/// Called by the kernel with a row that `register` has made.
unsafe extern "C" fn handle<T: Tracker>(
    row: *const raw::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    at: *mut raw::loff_t,
) -> c_int {
    from_result(|| {
        // SAFETY: the row names a static setting and the namespace's data, which outlives its
        // files.
        let (setting, net) = unsafe {
            (
                &*(*row).extra1.cast::<Sysctl<T>>(),
                &*(*row).data.cast::<Net<T>>(),
            )
        };
        // The kernel's own functions work on a copy, so that nobody sees a value that is refused.
        let mut value = (setting.get)(net) as c_int;
        let [mut least, mut most] = setting.range;
        // SAFETY: as above; the copy names this function's variables, for the call alone.
        let done = unsafe {
            let copy = raw::ctl_table {
                procname: (*row).procname,
                maxlen: (*row).maxlen,
                mode: (*row).mode,
                data: addr_of_mut!(value).cast(),
                extra1: addr_of_mut!(least).cast(),
                extra2: addr_of_mut!(most).cast(),
                poll: null_mut(),
                proc_handler: None,
            };
            match setting.unit {
                Unit::Number => raw::proc_dointvec_minmax(&copy, write, buffer, len, at),
                Unit::Seconds => raw::proc_dointvec_jiffies(&copy, write, buffer, len, at),
            }
        };
        if done != 0 || write == 0 {
            return Ok(done);
        }
        if !(least..=most).contains(&value) {
            return Err(EINVAL);
        }
        let set = setting.set.ok_or(EPERM)?;
        set(net, value.unsigned_abs())?;
        Ok(0)
    })
}
