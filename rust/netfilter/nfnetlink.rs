// SPDX-License-Identifier: GPL-2.0
//! Subsystems of nfnetlink: requests of users, answers, and lists that are sent piece by piece.
//!
//! nfnetlink lets nobody through who has not CAP_NET_ADMIN in the namespace of the socket, and
//! checks the attributes of a request by the tables that are given to it here; so its extended
//! acknowledgements say which attribute is wrong.
//!
//! nfnetlink is a module in some kernels, and the core links to the kernel proper alone. So what
//! calls it is generic: it is compiled into the modules that register something.

use core::{
    ffi::CStr,
    marker::PhantomData,
    mem::{offset_of, size_of},
    ptr::{null, null_mut, NonNull},
    slice,
};

use conntrack::netlink::{
    attr::{Bound, Form, Policy, Rule},
    write::{flag, Header, MESSAGE_HEADER},
    Error as Refused,
};
use kernel::{
    error::{code, to_result},
    ffi::c_int,
    prelude::*,
    ModuleMetadata,
};

use crate::namespace::{Net, Tracker};

// What the engine writes in front of attributes is what the kernel's structures are.
const _: () = assert!(size_of::<raw::nlmsghdr>() + size_of::<raw::nfgenmsg>() == MESSAGE_HEADER);
const _: () = assert!(offset_of!(raw::nlmsghdr, nlmsg_seq) == 8);
const _: () = assert!(offset_of!(raw::nfgenmsg, res_id) == 2);

/// What the attributes of a message must be like.
#[derive(Clone, Copy)]
pub struct Message {
    rules: &'static [Rule],
    /// The highest number that counts; zero where no attribute does.
    most: u16,
}

impl Message {
    /// A message without attributes.
    pub const PLAIN: Self = Self {
        rules: &[],
        most: 0,
    };

    /// The highest number that counts.
    pub(crate) const fn most(&self) -> u16 {
        self.most
    }

    /// A message whose attributes follow a policy.
    #[must_use]
    pub const fn with<const N: usize>(policy: &Policy<N>) -> Self {
        assert!(N > 1 && N <= 33); // NFNL_MAX_ATTR_COUNT.
        Self {
            rules: policy.0,
            // CAST: asserted above.
            most: N as u16 - 1,
        }
    }
}

/// A subsystem.
pub trait Subsystem: Sized + Send + Sync + 'static {
    /// Whose namespaces requests are about.
    type Tracker: Tracker;
    /// Lists that are sent piece by piece.
    type Dump: Dump<Self::Tracker>;
    /// The module that registers it.
    type Module: ModuleMetadata;

    /// Its name.
    const NAME: &'static CStr;
    /// Its number (NFNL_SUBSYS_).
    const NUMBER: u8;
    /// Its messages, by their number.
    const MESSAGES: &'static [Message];

    /// Does what is asked. One request at a time; may sleep.
    ///
    /// # Errors
    ///
    /// Why not; the user gets it.
    fn handle(request: &Request<'_, Self::Tracker>) -> Result<Answer<Self::Dump>, Refused>;
}

/// What a request comes to.
pub enum Answer<D> {
    /// No more than that it was done, if the user wants to know.
    Done,
    /// A message.
    Message(KVec<u8>),
    /// A list.
    Dump(D),
}

/// A list that is sent piece by piece, as the user reads.
pub trait Dump<T: Tracker>: Send + 'static {
    /// Whether a filter is at work, so that not all is shown.
    fn is_filtered(&self) -> bool {
        false
    }

    /// Writes messages until `out` is full, or nothing where there is nothing more. May sleep.
    fn fill(&mut self, net: &Net<T>, out: &mut Outbox<'_>);
}

/// A request.
pub struct Request<'a, T: Tracker> {
    net: &'a Net<T>,
    parts: Parts<'a>,
}

/// What a message says.
struct Parts<'a> {
    message: u8,
    flags: u16,
    family: u8,
    version: u8,
    attributes: &'a [u8],
    sender: Sender,
}

impl<T: Tracker> Request<'_, T> {
    /// The namespace of the socket that it came by.
    #[must_use]
    pub fn net(&self) -> &Net<T> {
        self.net
    }

    /// The message's number in its subsystem.
    #[must_use]
    pub fn message(&self) -> u8 {
        self.parts.message
    }

    /// Whether it has any of these flags.
    #[must_use]
    pub fn has(&self, flags: u16) -> bool {
        self.parts.flags & flags != 0
    }

    /// The number of the network protocol; zero for any.
    #[must_use]
    pub fn family(&self) -> u8 {
        self.parts.family
    }

    /// The version of nfnetlink that it speaks.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.parts.version
    }

    /// Its attributes.
    #[must_use]
    pub fn attributes(&self) -> &[u8] {
        self.parts.attributes
    }

    /// To whom an answer goes.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.parts.sender
    }
}

/// Who has asked, and by which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The number of the socket.
    pub port: u32,
    /// The number of the request.
    pub seq: u32,
}

impl Sender {
    /// The header of an answer.
    #[must_use]
    pub fn header(&self, subsystem: u8, message: u8, family: u8) -> Header {
        Header {
            subsystem,
            message,
            // As stock has it, also of the one answer to one request.
            flags: if self.port == 0 { 0 } else { flag::MULTI },
            seq: self.seq,
            port: self.port,
            family,
            resource: 0,
        }
    }
}

/// Room for messages of a list.
pub struct Outbox<'a> {
    skb: NonNull<raw::sk_buff>,
    sender: Sender,
    empty: bool,
    /// Whether a message found no room though there was no other.
    too_long: bool,
    _skb: PhantomData<&'a mut raw::sk_buff>,
}

impl Outbox<'_> {
    /// To whom the list goes.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// Adds a message; whether there was room for it.
    #[must_use]
    pub fn push(&mut self, message: &[u8]) -> bool {
        if append(self.skb, message) {
            self.empty = false;
            return true;
        }
        self.too_long |= self.empty;
        false
    }
}

/// A subsystem serves requests while this lives. To drop it may sleep, and waits for those who are
/// being served.
pub struct Registration<S: Subsystem> {
    subsystem: KBox<raw::nfnetlink_subsystem>,
    _callbacks: KVec<raw::nfnl_callback>,
    _policies: KVec<KVec<raw::nla_policy>>,
    _subsystem: PhantomData<S>,
}

// SAFETY: the tables are read by nfnetlink alone, and not changed.
unsafe impl<S: Subsystem> Send for Registration<S> {}
// SAFETY: as above.
unsafe impl<S: Subsystem> Sync for Registration<S> {}

impl<S: Subsystem> Registration<S> {
    /// Registers it. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` where another has its number; `ENOMEM`.
    pub fn new() -> Result<Self> {
        let count = S::MESSAGES.len();
        let mut callbacks = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut policies = KVec::with_capacity(count, GFP_KERNEL)?;
        for message in S::MESSAGES {
            let policy = policy_of(message)?;
            let table = if message.most == 0 {
                null()
            } else {
                policy.as_ptr()
            };
            callbacks.push(
                raw::nfnl_callback {
                    call: Some(Shims::<S>::call),
                    policy: table,
                    type_: raw::nfnl_callback_type_NFNL_CB_MUTEX,
                    attr_count: message.most,
                },
                GFP_KERNEL,
            )?;
            policies.push(policy, GFP_KERNEL)?;
        }
        let subsystem = KBox::new(
            raw::nfnetlink_subsystem {
                name: S::NAME.as_char_ptr(),
                subsys_id: S::NUMBER,
                cb_count: u8::try_from(count)?,
                cb: callbacks.as_ptr(),
                owner: S::Module::THIS_MODULE.as_ptr().cast(),
                commit: None,
                abort: None,
                valid_genid: None,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: the tables stay where they are until `drop` takes them back: vectors and boxes
        // are moved with what they own in its place.
        to_result(unsafe { raw::nfnetlink_subsys_register(&raw const *subsystem) })?;
        Ok(Self {
            subsystem,
            _callbacks: callbacks,
            _policies: policies,
            _subsystem: PhantomData,
        })
    }
}

impl<S: Subsystem> Drop for Registration<S> {
    fn drop(&mut self) {
        // SAFETY: registered by `new`. It waits for requests that are under way; a list that is
        // being sent holds the module.
        unsafe { raw::nfnetlink_subsys_unregister(&raw const *self.subsystem) };
    }
}

/// The functions that nfnetlink and netlink call.
struct Shims<S>(PhantomData<S>);

impl<S: Subsystem> Shims<S> {
    /// # Safety
    ///
    /// Called by nfnetlink only, with a request that is valid.
    unsafe extern "C" fn call(
        skb: *mut raw::sk_buff,
        info: *const raw::nfnl_info,
        _: *const *const raw::nlattr,
    ) -> c_int {
        // SAFETY: by the contract of this function; the socket holds its namespace, and the module
        // that calls here holds the tracker's, while this runs.
        let served = unsafe {
            match net_of::<S::Tracker>((*info).net) {
                Some(net) => S::handle(&Request {
                    net,
                    parts: parts_of(skb, info),
                }),
                None => Err(Refused::NotFound),
            }
        };
        match served {
            Ok(Answer::Done) => 0,
            // SAFETY: as above.
            Ok(Answer::Message(message)) => unsafe { answer(skb, info, &message) },
            // SAFETY: as above.
            Ok(Answer::Dump(dump)) => unsafe { Self::begin(skb, info, dump) },
            Err(refused) => errno(refused),
        }
    }

    /// Begins to send a list.
    ///
    /// # Safety
    ///
    /// As for `call`.
    unsafe fn begin(skb: *mut raw::sk_buff, info: *const raw::nfnl_info, dump: S::Dump) -> c_int {
        // `start` takes it over; what it has not taken goes at the end of this function.
        let mut dump = match KBox::new(dump, GFP_KERNEL) {
            Ok(dump) => Some(dump),
            Err(_) => return code::ENOMEM.to_errno(),
        };
        let mut control = raw::netlink_dump_control {
            start: Some(Self::start),
            dump: Some(Self::dump),
            done: Some(Self::done),
            extack: null_mut(),
            data: (&raw mut dump).cast(),
            module: S::Module::THIS_MODULE.as_ptr().cast(),
            min_dump_alloc: 0,
            flags: 0,
        };
        // SAFETY: `start` runs within this call, or never.
        unsafe { raw::__netlink_dump_start((*info).sk, skb, (*info).nlh, &raw mut control) }
    }

    /// # Safety
    ///
    /// Called by netlink only, from within `begin`.
    unsafe extern "C" fn start(cb: *mut raw::netlink_callback) -> c_int {
        // SAFETY: the data is that of `begin`.
        let dump = unsafe { (*(*cb).data.cast::<Option<KBox<S::Dump>>>()).take() };
        let Some(dump) = dump else {
            return code::EINVAL.to_errno(); // Not reached: it is started once.
        };
        // SAFETY: netlink's own structure for this list, ours to write.
        unsafe {
            if dump.is_filtered() {
                (*cb).answer_flags = flag::FILTERED;
            }
            (*cb).data = KBox::into_raw(dump).cast();
        }
        0
    }

    /// # Safety
    ///
    /// Called by netlink only, after `start` and before `done`, one call at a time.
    unsafe extern "C" fn dump(skb: *mut raw::sk_buff, cb: *mut raw::netlink_callback) -> c_int {
        // SAFETY: by the contract of this function `data` is that of `start`. The socket holds its
        // namespace, and the list the module that holds the tracker's.
        let (dump, net, sender) = unsafe {
            (
                &mut *(*cb).data.cast::<S::Dump>(),
                net_of::<S::Tracker>(socket_net(skb)),
                sender_of((*cb).skb, (*cb).nlh),
            )
        };
        let (Some(net), Some(skb)) = (net, NonNull::new(skb)) else {
            return 0;
        };
        let mut out = Outbox {
            skb,
            sender,
            empty: true,
            too_long: false,
            _skb: PhantomData,
        };
        dump.fill(net, &mut out);
        if out.too_long {
            // It would look like the end of the list.
            return code::EMSGSIZE.to_errno();
        }
        // SAFETY: the packet is ours to fill. CAST: it is shorter than 2 GiB.
        unsafe { (*skb.as_ptr()).len as c_int }
    }

    /// # Safety
    ///
    /// Called by netlink only, once, after `start`.
    unsafe extern "C" fn done(cb: *mut raw::netlink_callback) -> c_int {
        // SAFETY: made by `start`.
        unsafe { drop(KBox::from_raw((*cb).data.cast::<S::Dump>())) };
        0
    }
}

/// What is kept for a namespace.
///
/// # Safety
///
/// The namespace must be alive, and held by somebody as long as the result is used, and so must be
/// the tracker's module.
unsafe fn net_of<'a, T: Tracker>(net: *mut raw::net) -> Option<&'a Net<T>> {
    // SAFETY: by the contract of this function.
    unsafe { T::namespaces().kept(NonNull::new(net)?) }
}

/// Has `modprobe` load a module, some time later; it may depend on the one that calls this, which
/// may still be in its `init`. Whether it is there nobody is told.
pub fn request(module: &CStr) {
    // SAFETY: a text with its end, which is copied; process context.
    unsafe { raw::ipct_request_module_nowait(module.as_char_ptr()) };
}

// Not generic, so that they are compiled into the core: neither the bindings nor the C helpers
// export anything.

/// The kernel's table for a message.
///
/// # Errors
///
/// `ENOMEM`.
#[inline(never)]
pub(crate) fn policy_of(message: &Message) -> Result<KVec<raw::nla_policy>> {
    let count = usize::from(message.most).saturating_add(1);
    let mut table = KVec::with_capacity(count, GFP_KERNEL)?;
    for kind in 0..=message.most {
        let rule = message.rules.iter().find(|rule| rule.kind == kind);
        let entry = rule.map_or_else(Default::default, rule_of);
        table.push(entry, GFP_KERNEL)?;
    }
    Ok(table)
}

/// The kernel's form of a rule.
fn rule_of(rule: &Rule) -> raw::nla_policy {
    let (kind, len) = match rule.form {
        Form::AtLeast(least) => (raw::NLA_UNSPEC, least),
        Form::AtMost(most) => (raw::NLA_BINARY, most),
        Form::U8 => (raw::NLA_U8, 0),
        Form::U16 => (raw::NLA_U16, 0),
        Form::U32 => (raw::NLA_U32, 0),
        Form::Be32 => (raw::NLA_BE32, 0),
        Form::Text(most) => (raw::NLA_NUL_STRING, most),
        Form::Name(most) => (raw::NLA_STRING, most),
        Form::Nested => (raw::NLA_NESTED, 0),
        Form::Refused => (raw::NLA_REJECT, 0),
    };
    let mut entry = raw::nla_policy {
        // CAST: the kernel's numbers fit its field.
        type_: kind as u8,
        len,
        ..Default::default()
    };
    match rule.bound {
        Bound::None => {}
        Bound::Most(most) => {
            entry.validation_type = raw::nla_policy_validation_NLA_VALIDATE_MAX as u8;
            entry.__bindgen_anon_1.__bindgen_anon_1.max = i16::try_from(most).unwrap_or(i16::MAX);
        }
        Bound::Bits(bits) => {
            entry.validation_type = raw::nla_policy_validation_NLA_VALIDATE_MASK as u8;
            entry.__bindgen_anon_1.mask = bits;
        }
    }
    entry
}

/// What a message says.
///
/// # Safety
///
/// As for [`Shims::call`], for as long as the result is used.
#[inline(never)]
unsafe fn parts_of<'a>(skb: *mut raw::sk_buff, info: *const raw::nfnl_info) -> Parts<'a> {
    // SAFETY: by the contract of this function. nfnetlink has seen that the message is as long as
    // it says, and has room for both headers.
    unsafe {
        let header = (*info).nlh;
        let family = (*info).nfmsg;
        let [_, message] = (*header).nlmsg_type.to_be_bytes();
        let len = ((*header).nlmsg_len as usize).saturating_sub(MESSAGE_HEADER);
        Parts {
            message,
            flags: (*header).nlmsg_flags,
            family: (*family).nfgen_family,
            version: (*family).version,
            attributes: slice::from_raw_parts(header.cast::<u8>().add(MESSAGE_HEADER), len),
            sender: sender_of(skb, header),
        }
    }
}

/// Who has sent a message.
///
/// # Safety
///
/// Both must be those of a message that netlink has received.
#[inline(never)]
unsafe fn sender_of(skb: *const raw::sk_buff, header: *const raw::nlmsghdr) -> Sender {
    // SAFETY: by the contract of this function.
    unsafe {
        Sender {
            port: raw::ipct_netlink_port(skb),
            seq: (*header).nlmsg_seq,
        }
    }
}

/// Sends a message to who has asked; what the user gets beside it.
///
/// # Safety
///
/// As for [`Shims::call`].
#[inline(never)]
unsafe fn answer(skb: *mut raw::sk_buff, info: *const raw::nfnl_info, message: &[u8]) -> c_int {
    // SAFETY: by the contract of this function; as many bytes as said.
    unsafe {
        raw::ipct_netlink_answer(
            (*info).sk,
            raw::ipct_netlink_port(skb),
            message.as_ptr().cast(),
            message.len(),
        )
    }
}

/// Adds bytes to a packet; whether there was room.
#[inline(never)]
fn append(skb: NonNull<raw::sk_buff>, bytes: &[u8]) -> bool {
    // SAFETY: the packet of an `Outbox` is its own to fill; as many bytes as said.
    unsafe { raw::ipct_skb_append(skb.as_ptr(), bytes.as_ptr().cast(), bytes.len()) }
}

/// The namespace of the socket that a packet is for.
///
/// # Safety
///
/// The packet must be that of a list that netlink has filled.
#[inline(never)]
unsafe fn socket_net(skb: *const raw::sk_buff) -> *mut raw::net {
    // SAFETY: by the contract of this function.
    unsafe { raw::ipct_skb_net(skb) }
}

/// The kernel's number of an error.
#[inline(never)]
pub(crate) fn errno(refused: Refused) -> c_int {
    let error = match refused {
        Refused::Invalid => code::EINVAL,
        Refused::Range => code::ERANGE,
        Refused::NotSupported => code::EOPNOTSUPP,
        Refused::NotFound => code::ENOENT,
        Refused::Exists => code::EEXIST,
        Refused::Busy => code::EBUSY,
        Refused::Already => code::EALREADY,
        Refused::Fixed => code::EPERM,
        Refused::Over => code::ETIME,
        Refused::NoRoom => code::ENOSPC,
        Refused::TooMany => code::EMFILE,
        Refused::NoMemory => code::ENOMEM,
        Refused::Family => code::EAFNOSUPPORT,
        Refused::Untracked => code::EPROTO,
    };
    error.to_errno()
}
