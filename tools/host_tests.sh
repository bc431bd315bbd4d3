#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# host_tests.sh RESULTS : the crates' tests on the host, within the environment's root.
set -euo pipefail
results=$1
tools=/checkout/tools
nextest=0.9.98

if ! [ -x "/cache/nextest-$nextest/bin/cargo-nextest" ]; then
	echo "   building cargo-nextest $nextest, once (about 6 minutes on two cores)"
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR=/cache/nextest-target \
		cargo install --quiet --locked --no-default-features --features default-no-update \
		--root "/cache/nextest-$nextest" "cargo-nextest@$nextest" >"/cache/nextest.log" 2>&1 || {
		tail -n 20 /cache/nextest.log
		echo "cargo-nextest was not built; all of it is in nextest.log in the cache"
		exit 1
	}
	rm -rf /cache/nextest-target
fi
export PATH=/cache/nextest-$nextest/bin:$PATH

python3 "$tools/state_tables.py" /src >"$results/state_tables"
export STATE_TABLES=$results/state_tables
# Cargo looks at times alone: what another checkout has built does not count here.
export CARGO_TARGET_DIR=${results%/*}/target
code=0
run() {
	local name=$1
	shift
	rm -f /cache/nextest-store/default/junit.xml
	cargo nextest run --locked --manifest-path /checkout/rust/Cargo.toml --no-fail-fast \
		--config-file "$tools/nextest.toml" "$@" || code=$?
	if [ -f /cache/nextest-store/default/junit.xml ]; then
		mv /cache/nextest-store/default/junit.xml "$results/host-$name.xml"
	fi
}
# The engine is instrumented: how much of it do its tests reach?
export RUSTFLAGS="-C instrument-coverage" LLVM_PROFILE_FILE=/cache/coverage/%p-%m.profraw
rm -rf /cache/coverage
run units
cargo nextest list --locked --manifest-path /checkout/rust/Cargo.toml --config-file "$tools/nextest.toml" \
	-p conntrack -p helpers --list-type binaries-only --message-format json 2>/dev/null |
	python3 "$tools/coverage.py" /cache/coverage "$results/coverage.json" || code=$?
unset LLVM_PROFILE_FILE
# The table's unsafe code once more, with memory that is freed as soon as it may be, under AddressSanitizer:
# gcc's, for the distribution's rustc brings none.
export CARGO_TARGET_DIR=${results%/*}/target-asan RUSTC_BOOTSTRAP=1 PROPTEST_CASES=64
export RUSTFLAGS="--cfg asan -Zsanitizer=address -Zexternal-clangrt -Zpre-link-arg=-Wl,--push-state,--no-as-needed,-lasan,--pop-state"
run asan -p rcu_table --target "$(uname -m)-unknown-linux-gnu"
unset RUSTC_BOOTSTRAP PROPTEST_CASES
# Every interleaving of small cases; loom replaces the atomics.
export CARGO_TARGET_DIR=${results%/*}/target-loom RUSTFLAGS="--cfg loom"
run loom --release -p rcu_table --test loom
exit "$code"
