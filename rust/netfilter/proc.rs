// SPDX-License-Identifier: GPL-2.0
//! Files in `/proc/net` that list records, one for each namespace.

use core::{ffi::CStr, marker::PhantomData, ptr::null_mut, ptr::NonNull};

use conntrack::show::Buffer;
use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_void},
    prelude::*,
};

use crate::namespace::{Net, Tracker};

/// Permissions of a file, as in `chmod`.
pub type Mode = u16;

/// The longest record, in bytes.
const RECORD: usize = 1024;

/// What a file lists.
pub trait Listing: 'static {
    /// Whose file it is.
    type Tracker: Tracker;
    /// A place in the list; may hold references to what it shows.
    type Cursor: Default + Send + 'static;

    /// Moves to the next record; `false` at the end. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the reader gets it.
    fn advance(net: &Net<Self::Tracker>, cursor: &mut Self::Cursor) -> Result<bool>;

    /// Writes the record that `cursor` is at.
    fn show(net: &Net<Self::Tracker>, cursor: &Self::Cursor, out: &mut Buffer<'_>);
}

/// Where a file is.
#[derive(Clone, Copy)]
pub enum Place {
    /// In `/proc/net`.
    Net,
    /// In `/proc/net/stat`.
    Stat,
}

impl Place {
    /// Its directory in a namespace.
    ///
    /// # Safety
    ///
    /// The namespace must be alive.
    unsafe fn directory(self, net: NonNull<raw::net>) -> *mut raw::proc_dir_entry {
        // SAFETY: plain fields of a namespace, by the contract of this function.
        unsafe {
            match self {
                Self::Net => (*net.as_ptr()).proc_net,
                Self::Stat => (*net.as_ptr()).proc_net_stat,
            }
        }
    }
}

/// A file that each namespace has.
pub struct ProcFile<T: Tracker> {
    place: Place,
    name: &'static CStr,
    mode: Mode,
    ops: &'static raw::proc_ops,
    _tracker: PhantomData<fn(T)>,
}

impl<T: Tracker> ProcFile<T> {
    /// A file of this name.
    pub const fn new<L: Listing<Tracker = T>>(
        place: Place,
        name: &'static CStr,
        mode: Mode,
    ) -> Self {
        Self {
            place,
            name,
            mode,
            ops: Operations::<L>::FILE,
            _tracker: PhantomData,
        }
    }
}

/// The files of a namespace.
pub(crate) struct Files<T: Tracker> {
    net: NonNull<raw::net>,
    made: usize,
    _tracker: PhantomData<fn(T)>,
}

impl<T: Tracker> Files<T> {
    pub(crate) fn create(net: NonNull<raw::net>, kept: NonNull<Net<T>>) -> Result<Self> {
        let mut files = Self {
            net,
            made: 0,
            _tracker: PhantomData,
        };
        for file in T::files() {
            // SAFETY: the name and the operations are static; the data outlives the file, which
            // `drop` takes back before the namespace's data goes.
            let entry = unsafe {
                raw::proc_create_data(
                    file.name.as_char_ptr(),
                    file.mode,
                    file.place.directory(net),
                    file.ops,
                    kept.as_ptr().cast(),
                )
            };
            if entry.is_null() {
                pr_err!(
                    "/proc/net/{} cannot be made: the name is taken, or no memory\n",
                    file.name.to_str().unwrap_or("?")
                );
                return Err(ENOMEM);
            }
            files.made += 1;
        }
        Ok(files)
    }
}

impl<T: Tracker> Drop for Files<T> {
    /// Waits for readers that are inside, and closes the files of those that are not.
    fn drop(&mut self) {
        for file in T::files().iter().take(self.made) {
            // SAFETY: made by `create`.
            unsafe {
                raw::remove_proc_entry(file.name.as_char_ptr(), file.place.directory(self.net))
            };
        }
    }
}

/// A namespace that does not go while this lives.
struct Pinned(NonNull<raw::net>);

impl Pinned {
    /// `None` where it is going.
    ///
    /// # Safety
    ///
    /// `net` must have memory.
    unsafe fn new(net: NonNull<raw::net>) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { raw::ipct_net_get(net.as_ptr()) }.then_some(Self(net))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: counted by `new`.
        unsafe { raw::ipct_net_put(self.0.as_ptr()) };
    }
}

/// An open file.
struct Open<L: Listing> {
    net: NonNull<Net<L::Tracker>>,
    /// Or who reads slowly would keep others from going.
    _pinned: Pinned,
    cursor: L::Cursor,
    /// The number of the record that the cursor is at; none before the first.
    at: Option<raw::loff_t>,
    /// Where the list ended, once it has: who reads on gets nothing, not what has come since.
    end: Option<raw::loff_t>,
}

impl<L: Listing> Open<L> {
    /// The number of the record behind the one that the cursor is at.
    fn following(&self) -> raw::loff_t {
        self.at.map_or(0, |at| at.wrapping_add(1))
    }

    /// Puts the cursor at record `wanted`; `false` behind the end.
    fn seek(&mut self, wanted: raw::loff_t) -> Result<bool> {
        if self.end.is_some_and(|end| wanted >= end) {
            return Ok(false);
        }
        if self.end.take().is_some() || self.at.is_some_and(|at| at > wanted) {
            self.cursor = L::Cursor::default();
            self.at = None;
        }
        while self.at != Some(wanted) {
            // SAFETY: the namespace's data outlives its files.
            if !L::advance(unsafe { self.net.as_ref() }, &mut self.cursor)? {
                // The cursor must not hold on to records.
                self.cursor = L::Cursor::default();
                self.end = Some(self.following());
                return Ok(false);
            }
            self.at = Some(self.following());
        }
        Ok(true)
    }
}

/// The tables of functions for a listing.
struct Operations<L: Listing>(PhantomData<L>);

impl<L: Listing> Operations<L> {
    const FILE: &'static raw::proc_ops = &raw::proc_ops {
        proc_open: Some(Self::open),
        proc_read: Some(raw::seq_read),
        proc_lseek: Some(raw::seq_lseek),
        proc_release: Some(Self::release),
        ..EMPTY
    };

    const RECORDS: &'static raw::seq_operations = &raw::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// Called by procfs only.
    unsafe extern "C" fn open(inode: *mut raw::inode, file: *mut raw::file) -> c_int {
        from_result(|| {
            // SAFETY: the data given when the file was made.
            let net = NonNull::new(unsafe { raw::ipct_proc_data(inode) }).ok_or(ENOENT)?;
            let net = net.cast::<Net<L::Tracker>>();
            // SAFETY: the namespace's data outlives its files, and the namespace that.
            let pinned = unsafe {
                let raw_net = net.as_ref().census().net().cast_mut();
                Pinned::new(NonNull::new(raw_net).ok_or(ENOENT)?).ok_or(ENOENT)?
            };
            let open = KBox::new(
                Open::<L> {
                    net,
                    _pinned: pinned,
                    cursor: L::Cursor::default(),
                    at: None,
                    end: None,
                },
                GFP_KERNEL,
            )?;
            // SAFETY: the operations are static; `seq_open` leaves its own data behind the file.
            unsafe {
                to_result(raw::seq_open(file, Self::RECORDS))?;
                let seq = (*file).private_data.cast::<raw::seq_file>();
                (*seq).private = KBox::into_raw(open).cast();
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by procfs only.
    unsafe extern "C" fn release(inode: *mut raw::inode, file: *mut raw::file) -> c_int {
        // SAFETY: both made by `open`.
        unsafe {
            let seq = (*file).private_data.cast::<raw::seq_file>();
            drop(KBox::from_raw((*seq).private.cast::<Open<L>>()));
            raw::seq_release(inode, file)
        }
    }

    /// The open file behind `seq`.
    ///
    /// # Safety
    ///
    /// `seq` must be that of a file opened by `open`, and its mutex be held, as it is in all
    /// record operations.
    unsafe fn opened<'a>(seq: *mut raw::seq_file) -> &'a mut Open<L> {
        // SAFETY: by the contract of this function.
        unsafe { &mut *(*seq).private.cast() }
    }

    /// What `start` and `next` answer for record `wanted`.
    ///
    /// # Safety
    ///
    /// As for `opened`.
    unsafe fn record(seq: *mut raw::seq_file, wanted: raw::loff_t) -> *mut c_void {
        // SAFETY: by the contract of this function.
        let open = unsafe { Self::opened(seq) };
        match open.seek(wanted) {
            Ok(true) => core::ptr::from_mut(open).cast(),
            Ok(false) => null_mut(),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// Called by seq_file only.
    unsafe extern "C" fn start(seq: *mut raw::seq_file, at: *mut raw::loff_t) -> *mut c_void {
        // SAFETY: called by seq_file.
        unsafe { Self::record(seq, *at) }
    }

    /// # Safety
    ///
    /// Called by seq_file only.
    unsafe extern "C" fn next(
        seq: *mut raw::seq_file,
        _: *mut c_void,
        at: *mut raw::loff_t,
    ) -> *mut c_void {
        // SAFETY: called by seq_file; it wants the position moved also at the end.
        unsafe {
            *at = (*at).wrapping_add(1);
            Self::record(seq, *at)
        }
    }

    /// # Safety
    ///
    /// Called by seq_file only.
    unsafe extern "C" fn stop(_: *mut raw::seq_file, _: *mut c_void) {}

    /// # Safety
    ///
    /// Called by seq_file only.
    unsafe extern "C" fn show(seq: *mut raw::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: called by seq_file.
        let open = unsafe { Self::opened(seq) };
        let mut room = [0; RECORD];
        let mut out = Buffer::new(&mut room);
        // SAFETY: the namespace's data outlives its files.
        L::show(unsafe { open.net.as_ref() }, &open.cursor, &mut out);
        let text = out.as_bytes();
        // SAFETY: as many bytes as said.
        unsafe { raw::seq_write(seq, text.as_ptr().cast(), text.len()) };
        0
    }
}

/// Operations that do nothing, to start from.
const EMPTY: raw::proc_ops = raw::proc_ops {
    proc_flags: 0,
    proc_open: None,
    proc_read: None,
    proc_read_iter: None,
    proc_write: None,
    proc_lseek: None,
    proc_release: None,
    proc_poll: None,
    proc_ioctl: None,
    #[cfg(CONFIG_COMPAT)]
    proc_compat_ioctl: None,
    proc_mmap: None,
    proc_get_unmapped_area: None,
};
