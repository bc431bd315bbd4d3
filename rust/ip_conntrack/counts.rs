// SPDX-License-Identifier: GPL-2.0
//! What each namespace counts: events as stock has them, and the reasons of what is INVALID or
//! dropped.

use conntrack::{
    netlink::stats::{Counted, ExpectationsCounted},
    reason::Reason,
    show::Buffer,
};
use core::{fmt::Write, sync::atomic::Ordering};
use kernel::prelude::*;
use netfilter::{
    percpu::{self, Cpu},
    Listing, Net, PerCpu,
};

use crate::namespace::Namespace;

/// An event; the columns of `/proc/net/stat/nf_conntrack` that can be other than zero.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Event {
    /// Two entries of one flow were made one.
    ClashResolved,
    /// A packet was INVALID.
    Invalid,
    /// An entry that a user has made went into the table (as stock has it, those of packets are not
    /// counted).
    Insert,
    /// An entry did not get into the table.
    InsertFailed,
    /// A packet was dropped.
    Drop,
    /// An entry was evicted.
    EarlyDrop,
    /// An ICMP error, or what looked like one, was INVALID.
    IcmpError,
    /// A connection came that was expected.
    ExpectNew,
    /// A connection was announced.
    ExpectCreate,
}

const EVENTS: usize = Event::ExpectCreate as usize + 1;

/// The counters of a namespace.
pub(crate) struct Counts(PerCpu);

impl Counts {
    pub(crate) fn new() -> Result<Self> {
        PerCpu::new(EVENTS.saturating_add(Reason::ALL.len())).map(Self)
    }

    #[inline]
    pub(crate) fn event(&self, event: Event) {
        self.0.count(event as usize);
    }

    #[inline]
    pub(crate) fn reason(&self, reason: Reason) {
        self.0.count(EVENTS.saturating_add(reason as usize));
    }
}

/// An event's count on a CPU.
// CAST: counts are told in 32 bits and go round, as stock's do.
fn told(net: &Net<Namespace>, cpu: Cpu, event: Event) -> u32 {
    net.tracker().counts.0.of(cpu, event as usize) as u32
}

/// How many expectations have ended, as told of a CPU: they end where no CPU of the namespace is
/// at hand, so all of them on the first.
fn ended(net: &Net<Namespace>, cpu: Cpu) -> u32 {
    match percpu::next(None) {
        Some(first) if first == cpu => net.census().expected_no_more().load(Ordering::Relaxed),
        _ => 0,
    }
}

/// What a CPU has counted of packets and connections.
pub fn of_cpu(net: &Net<Namespace>, cpu: Cpu) -> Counted {
    let of = |event| told(net, cpu, event);
    Counted {
        invalid: of(Event::Invalid),
        insert: of(Event::Insert),
        insert_failed: of(Event::InsertFailed),
        drop: of(Event::Drop),
        early_drop: of(Event::EarlyDrop),
        error: of(Event::IcmpError),
        clash_resolved: of(Event::ClashResolved),
    }
}

/// What a CPU has counted of expectations.
pub fn of_cpu_expected(net: &Net<Namespace>, cpu: Cpu) -> ExpectationsCounted {
    let of = |event| told(net, cpu, event);
    ExpectationsCounted {
        new: of(Event::ExpectNew),
        create: of(Event::ExpectCreate),
        delete: ended(net, cpu),
    }
}

/// `/proc/net/stat/nf_conntrack`: a heading, then a line for each CPU.
pub(crate) struct Stat;

/// A place in it.
#[derive(Default)]
pub(crate) enum StatPlace {
    #[default]
    Before,
    Heading,
    Of(Cpu),
}

impl Listing for Stat {
    type Tracker = Namespace;
    type Cursor = StatPlace;

    fn advance(_: &Net<Namespace>, place: &mut StatPlace) -> Result<bool> {
        let next = match place {
            StatPlace::Before => Some(StatPlace::Heading),
            StatPlace::Heading => percpu::next(None).map(StatPlace::Of),
            StatPlace::Of(cpu) => percpu::next(Some(*cpu)).map(StatPlace::Of),
        };
        Ok(next.map(|next| *place = next).is_some())
    }

    fn show(net: &Net<Namespace>, place: &StatPlace, out: &mut Buffer<'_>) {
        let StatPlace::Of(cpu) = place else {
            let _ = out.write_str(
                "entries  clashres found new invalid ignore delete chainlength insert \
                 insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete \
                 search_restart\n",
            );
            return;
        };
        let of = |event: Event| told(net, *cpu, event);
        let _ = writeln!(
            out,
            "{:08x}  {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} \
             {:08x}  {:08x} {:08x} {:08x} {:08x}",
            net.census().len(),
            of(Event::ClashResolved),
            0,
            0,
            of(Event::Invalid),
            0,
            0,
            0,
            of(Event::Insert),
            of(Event::InsertFailed),
            of(Event::Drop),
            of(Event::EarlyDrop),
            of(Event::IcmpError),
            of(Event::ExpectNew),
            of(Event::ExpectCreate),
            ended(net, *cpu),
            0
        );
    }
}

/// `/proc/net/ip_conntrack_invalid`: for each reason how often, and its name.
pub(crate) struct Invalid;

impl Listing for Invalid {
    type Tracker = Namespace;
    /// How many reasons were shown.
    type Cursor = usize;

    fn advance(_: &Net<Namespace>, place: &mut usize) -> Result<bool> {
        *place = place.saturating_add(1);
        Ok(*place <= Reason::ALL.len())
    }

    fn show(net: &Net<Namespace>, place: &usize, out: &mut Buffer<'_>) {
        let Some(reason) = Reason::ALL.get(place.saturating_sub(1)) else {
            return;
        };
        let counter = EVENTS.saturating_add(*reason as usize);
        let count = net.tracker().counts.0.sum(counter);
        let _ = writeln!(out, "{count:>10} {}", reason.name());
    }
}
