// SPDX-License-Identifier: GPL-2.0
//! Fuzzes what is read of packets: see `wire.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = driver::packets(input);
});
