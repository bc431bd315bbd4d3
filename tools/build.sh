#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# build.sh [plain|debug] : everything up to built modules; prints nothing of them but progress.
# Leaves them in $(build.sh --path FLAVOUR)/modules.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

path_only=
[ "${1:-}" != --path ] || { path_only=1; shift; }
flavour=${1:-plain}
env=$checkout/tools/env
if [ -z "$path_only" ]; then
	# Before the kernel's name is asked for: it says with which compilers and source.
	"$env/root.sh"
	"$env/kernel.sh" "$flavour"
fi
kernel=$("$env/kernel.sh" --path "$flavour")
# Checkouts do not share a build.
work=$cache/work-$flavour-$(printf '%s\n' "$checkout" "$kernel" | hash -)
if [ -n "$path_only" ]; then
	echo "$work"
	exit
fi

inside=/cache/$(basename "$work")
# User-mode Linux loads no module with a table of addresses, which its own flags for Rust ask for.
rust=
[ "$flavour" != um ] || rust="-Crelocation-model=static -Ccode-model=large"
mkdir -p "$work/build"
build() {
	KERNEL_SRC=$("$env/kernel.sh" --source "$flavour") KERNEL_BUILD=$kernel/build \
		"$env/enter.sh" bash -ec '
		make -C /build $2 M=/checkout MO="$1/build" KRUSTFLAGS="$3" KUNIT_SUITES=y DIFFTEST=m BENCH=m EXAMPLE=m -j"$(nproc)" modules
		rm -rf "$1/modules" "$1/kunit" "$1"/{difftest,bench}/*.ko
		mkdir -p "$1"/{modules,kunit,difftest,bench}
		for module in "$1"/build/*.ko; do
			case "$module" in
			*/kunit_*) to=kunit ;;
			*/ip_conntrack_replay.ko) to=difftest ;;
			*/ip_conntrack_bench.ko) to=bench ;;
			*) to=modules ;;
			esac
			strip --strip-debug -o "$1/$to/${module##*/}" "$module"
		done' build "$inside" "$(kbuild_options "$flavour")" "$rust"
}
step "building the modules" "$work/build.log" build
