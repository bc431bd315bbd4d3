// SPDX-License-Identifier: GPL-2.0
//! The kernel as the tracker sees it: safe types over hooks, packets, connections, namespaces,
//! `/proc`, socket options and timers.
//!
//! This crate and `rcu_table` are the only ones with `unsafe` code. Raw bindings and raw
//! pointers end here: nothing public names them.
#![allow(unreachable_pub)] // A library crate of a module: its users are other crates.

mod cache;
mod conn;
mod count;
mod ct_hook;
mod defrag;
mod ended;
mod expect;
mod extension;
mod helper;
mod hook;
mod lock;
mod log;
pub mod multicast;
mod namespace;
mod news;
pub mod nfnetlink;
mod nfnl_hook;
pub mod nftables;
pub mod percpu;
mod policy;
mod proc;
mod rcu;
mod rule;
mod security;
mod shifts;
mod siphash;
mod skb;
mod slot;
mod sockopt;
mod spare;
pub mod sysctl;
mod table;
mod tally;
mod time;
mod work;
pub mod xtables;

pub use self::{
    cache::Cache,
    conn::{Account, Begun, Change, Conn, Features, Glance, NewConn, StateGuard, Templates},
    ct_hook::CtHook,
    ended::Ended,
    expect::{Expectation, NewExpectation},
    extension::{Extension, Extras, Labels},
    helper::{ports, request_helper, Helper, ModuleRef, Reading, Session, PORTS},
    hook::{Context, Verdict},
    lock::{BottomHalvesOff, Guarded},
    log::{limited, load_log},
    namespace::{Census, Net, PerNet, Registration, Tracker},
    news::TOLD,
    nfnl_hook::{Beside, NfnlHook},
    percpu::PerCpu,
    policy::{Policy, Share},
    proc::{Listing, Mode, Place, ProcFile},
    rcu::{GracePeriod, ReadSide},
    rule::{Home, Packet},
    security::{context_of, Room as ContextRoom},
    shifts::Shifts,
    siphash::HashKey,
    skb::{Attached, Skb, Window},
    slot::{Filled, Slot},
    sockopt::OriginalDst,
    sysctl::is_admin,
    table::{
        buckets, default_buckets, new_heads, new_table, Connections, FirstLook, Packets, Store,
        Table, LOCKS,
    },
    tally::Tally,
    time::{has_listener, now, real_ns, HZ},
    work::{breathe, Periodic, Worker},
};

/// The prefix of this module's lines in the kernel log, as `module!` would define it.
const __LOG_PREFIX: &[u8] = b"ip_conntrack\0";
