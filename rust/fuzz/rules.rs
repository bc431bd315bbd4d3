// SPDX-License-Identifier: GPL-2.0
//! Bytes from a fuzzer as what nftables' rules are made of. What is read is written, and comes back as it was.

use std::fmt::Debug;

use conntrack::{
    netlink::{
        attr::{Attribute, Attributes, Manner, Policy},
        write::{Writer, Written},
        Error, Support,
    },
    rule::nftables::{count, ct, expectation, helper, timeout},
    timeouts::Config,
};

/// Ticks of a second.
const HZ: u32 = 250;

/// Reads attributes as those of an expression or an object in a table of a family; whether they could be read.
pub(crate) fn read(which: u8, attributes: &[u8], family: u8, support: Support) -> bool {
    match which {
        0 => by(&ct::POLICY, attributes, |get| {
            let one = ct::Ct::read(get, family, support)?;
            // The register is written by others.
            let register = if one.operand().is_source { 4 } else { 1 };
            let again = attributes_of(|out| {
                out.be32(register, 1)?;
                one.write(out)
            });
            same(one, ct::Ct::read(getter(&again), family, support))
        }),
        1 => by(&count::POLICY, attributes, |get| {
            let one = count::Count::read(get)?;
            let again = attributes_of(|out| one.write(out));
            let _ = one.matches(u32::from(family));
            same(one, count::Count::read(getter(&again)))
        }),
        2 => by(&helper::POLICY, attributes, |get| {
            let (one, name) = helper::Helper::read(get, family)?;
            let again = attributes_of(|out| one.write(out, name));
            let (read, called) = helper::Helper::read(getter(&again), family)?;
            assert_eq!(name, called);
            same(one, Ok(read))
        }),
        3 => by(&timeout::POLICY, attributes, |get| {
            let (one, data) = timeout::Timeout::read(get, family)?;
            let timeouts = Config::defaults(HZ).timeouts;
            one.protocol.set(&timeouts, &data, None, HZ)?;
            let _ = one.protocol.first(&timeouts);
            let again = attributes_of(|out| one.write(out, &timeouts, HZ));
            let (read, _) = timeout::Timeout::read(getter(&again), family)?;
            same(one, Ok(read))
        }),
        _ => by(&expectation::POLICY, attributes, |get| {
            let one = expectation::Expectation::read(get, family)?;
            let again = attributes_of(|out| one.write(out));
            let read = expectation::Expectation::read(getter(&again), family)?;
            assert_eq!(one.limits(), read.limits());
            Ok(())
        }),
    }
}

fn by<'a, const N: usize>(
    policy: &Policy<N>,
    attributes: &'a [u8],
    read: impl FnOnce(&dyn Fn(u16) -> Option<Attribute<'a>>) -> Result<(), Error>,
) -> bool {
    let table = policy.read(attributes, Manner::Liberal);
    table.is_ok_and(|table| read(&|kind| table.get(kind)).is_ok())
}

fn attributes_of(write: impl FnOnce(&mut Writer<'_>) -> Written) -> Vec<u8> {
    let mut room = [0; 256];
    let mut out = Writer::new(&mut room);
    write(&mut out).expect("there is room for all of it");
    out.as_bytes().to_vec()
}

fn getter<'a>(row: &'a [u8]) -> impl Fn(u16) -> Option<Attribute<'a>> {
    |kind| Attributes::new(row).find(|one| one.kind() == kind)
}

fn same<T: Debug + PartialEq>(one: T, again: Result<T, Error>) -> Result<(), Error> {
    assert_eq!(Ok(one), again);
    Ok(())
}
