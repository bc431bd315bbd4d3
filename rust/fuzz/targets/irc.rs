// SPDX-License-Identifier: GPL-2.0
//! Fuzzes a helper: see `driver.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = driver::irc(input);
});
