#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# lint.sh : what `make lint` does. The engine's stricter lints stand in its crate root.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

env=$checkout/tools/env
"$env/root.sh"
"$env/kernel.sh"
mkdir -p "$cache/lint"
kernel=$("$env/kernel.sh" --path)
KERNEL_SRC=$("$env/kernel.sh" --source)
export KERNEL_SRC KERNEL_BUILD=$kernel/build
step "gates" "$cache/lint/gates.log" "$env/enter.sh" bash -ec '
	python3 /checkout/tools/gates.py
	python3 /checkout/tools/gates.py --self-test'
step "rustfmt" "$cache/lint/rustfmt.log" "$env/enter.sh" bash -ec '
	cd /checkout
	find rust kunit-tests -name "*.rs" ! -path "*/target/*" -print0 |
		xargs -0 rustfmt --check --edition 2021 --config-path /src/.rustfmt.toml --config skip_children=true 2>&1 ||
		{ echo "run rustfmt on these"; exit 1; }'
step "shellcheck" "$cache/lint/shellcheck.log" "$env/enter.sh" bash -ec '
	cd /checkout
	shellcheck -x -e SC2016,SC1091 tools/*.sh tools/env/*.sh qemu/init .ci/run'
step "pyflakes" "$cache/lint/python.log" "$env/enter.sh" bash -ec '
	cd /checkout
	python3 -m pyflakes tools/*.py qemu/vm qemu/scenarios/run qemu/scenarios/demo qemu/scenarios/*.py qemu/scenarios/tests/*.py kunit-tests/run qemu/differences.py qemu/difftest/run qemu/difftest/generate qemu/difftest/compare qemu/difftest/shrink qemu/bench/run qemu/difftest/*.py'
step "clippy on the host's crates" "$cache/lint/host.log" "$env/enter.sh" bash -ec '
	export CARGO_TARGET_DIR=/cache/target-clippy
	cargo clippy --locked --manifest-path /checkout/rust/Cargo.toml --workspace --all-targets -- -D warnings'
step "clippy on the modules, with the kernel's lints" "$cache/lint/modules.log" "$env/enter.sh" bash -ec '
	rm -rf /cache/lint/build
	mkdir -p /cache/lint/build
	make -C /build M=/checkout MO=/cache/lint/build KUNIT_SUITES=y EXAMPLE=m CLIPPY=1 -j"$(nproc)" modules 2>&1 | tee /cache/lint/clippy.out
	if grep -qE "^(warning|error)|WARNING: modpost|objtool:" /cache/lint/clippy.out; then
		echo "warnings count as errors here"
		exit 1
	fi'
echo "lint: all clean"
