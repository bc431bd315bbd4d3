#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# bench.sh            : what `make bench` does: what packets and connections cost with the stock tracker
#                       and with ours, the empty path subtracted, as tables, JSON and a plot
# bench.sh gate JSON  : what `make test` does: whether packets have become dearer, and what events cost
#                       while nobody listens, and helpers those whom none reads, and how long packets wait
#                       while many connections end (two minutes)
# bench.sh baseline   : what packets cost now is what the gate compares with
# ONLY= some of packets,memory,stalls,events,cpus,profile,native  FLOWS= numbers of connections (1000,100000)
# Of stalls: SITUATIONS= some of grow,expire,proc,netlink,delete  LISTED= how many connections are listed,
# and half of them ended, while packets come (100000)
# MEMORY= of the guest, in MiB  RECORD=1: the tables go into README.md
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

mode=${1:-all}
tools=$checkout/tools
enter=$tools/env/enter.sh
baseline=/checkout/qemu/bench/baseline.json
flows=${FLOWS:-1000,100000}
only=${ONLY:-packets,memory,stalls,events,cpus}
"$tools/build.sh"
work=$("$tools/build.sh" --path plain)
here=$work/bench
inside=/cache/$(basename "$work")/bench

# measure NAME PARTS OPTIONS of the guest : the results go to NAME/bench.json
measure() {
	local name=$1 parts=$2
	shift 2
	rm -rf "${here:?}/$name"
	"$tools/guest.sh" plain --timeout 7200 --results "$inside/$name" "$@" -- env LISTED="${LISTED:-100000}" SITUATIONS="${SITUATIONS:-grow,expire,proc,netlink}" /checkout/qemu/bench/run \
		--module "$inside/ip_conntrack_bench.ko" --results /results/bench.json --only "$parts" --flows "$flows" \
		--trackers "${trackers:-empty,stock,ours}" ||
		die "the guest that measures failed"
}
# chosen PART... : which of these are asked for, with commas
chosen() {
	local part found=
	for part in "$@"; do
		[[ ,$only, != *,$part,* ]] || found=$found,$part
	done
	echo "${found#,}"
}
# Where the instructions go: in modules with debug information, which names what was executed. (The
# compiler may arrange them a little differently.)
profile() {
	KERNEL_SRC=$("$tools/env/kernel.sh" --source) KERNEL_BUILD=$("$tools/env/kernel.sh" --path)/build \
		step "building the modules with debug information" "$here/profile.log" "$enter" bash -ec '
		gcc -O2 -Wall -fPIC -shared -fvisibility=hidden -o "$1/plugin.so" /checkout/qemu/bench/plugin.c
		mkdir -p "$1/debug"
		make -C /build M=/checkout MO="$1/debug" KCFLAGS=-g1 KRUSTFLAGS=-Cdebuginfo=2 -j"$(nproc)" modules
		mkdir -p "$1/stripped"
		for module in "$1"/debug/*.ko; do strip --strip-debug -o "$1/stripped/${module##*/}" "$module"; done' profile "$inside"
	MODULES=$inside/stripped trackers=stock,ours measure profile profile "${virtual[@]}" --plugin "$inside/plugin.so,out=$inside/executed"
	"$enter" python3 /checkout/tools/bench_profile.py "$inside/profile/bench.json" "$inside/executed" "$inside/debug" "$inside/profile.txt"
	echo "all entries, and lines: $here/profile.txt"
}
# Time, where caches count: ratios of one run.
native() {
	local work here
	"$tools/build.sh" um
	work=$("$tools/build.sh" --path um)
	here=/cache/$(basename "$work")/bench
	# (It has one CPU.)
	"$tools/guest.sh" um --timeout 3600 --cpus 1 --memory "${MEMORY:-3072}" --results "$inside/native" -- /checkout/qemu/bench/run \
		--module "$here/ip_conntrack_bench.ko" --results /results/bench.json --only native --flows "${FLOWS:-1000,1000000}" \
		--trackers "${trackers:-empty,stock,ours}" || die "the guest that measures failed"
}
# Instructions: virtual time, in which a nanosecond is one.
virtual=(--icount --hrtimers --memory "${MEMORY:-1024}")

# without NAME : measures modules that know nothing of events (unheard), or of helpers neither (bare)
without() {
	KERNEL_SRC=$("$tools/env/kernel.sh" --source) KERNEL_BUILD=$("$tools/env/kernel.sh" --path)/build \
		step "building the modules without what is measured ($1)" "$here/$1.log" "$enter" bash -ec '
		mkdir -p "$1/$2" "$1/$2.stripped"
		make -C /build M=/checkout MO="$1/$2" KRUSTFLAGS="--cfg ip_conntrack_$2" -j"$(nproc)" modules
		rm -f "$1/$2.stripped"/*
		for module in "$1/$2"/*.ko; do strip --strip-debug -o "$1/$2.stripped/${module##*/}" "$module"; done' without "$inside" "$1"
	MODULES=$inside/$1.stripped trackers=empty,ours measure "without-$1" quick "${virtual[@]}"
}

case $mode in
gate)
	measure gate quick "${virtual[@]}"
	SITUATIONS=expire trackers=empty,ours measure gate-stalls stalls "${virtual[@]}"
	without unheard
	without bare
	mkdir -p "$(dirname "$2")"
	"$enter" python3 /checkout/tools/bench.py gate "$inside/gate/bench.json" $baseline "/cache/${2#"$cache"/}" \
		--stalls "$inside/gate-stalls/bench.json" --unheard "$inside/without-unheard/bench.json" --bare "$inside/without-bare/bench.json"
	;;
baseline)
	measure gate quick "${virtual[@]}"
	"$enter" python3 /checkout/tools/bench.py baseline "$inside/gate/bench.json" $baseline
	;;
all)
	raw=()
	parts=$(chosen packets memory stalls events)
	if [ -n "$parts" ]; then
		echo "-> instructions and bytes ($parts)"
		measure instructions "$parts" "${virtual[@]}"
		raw+=("$inside/instructions/bench.json")
	fi
	if [ -n "$(chosen cpus)" ]; then
		echo "-> two CPUs against one"
		measure cpus cpus --cpus 2
		raw+=("$inside/cpus/bench.json")
	fi
	if [ -n "$(chosen native)" ]; then
		echo "-> at native speed, in a kernel that is a program"
		native
		raw+=("$inside/native/bench.json")
	fi
	[ -z "$(chosen profile)" ] || profile
	[ ${#raw[@]} -gt 0 ] || exit 0
	"$enter" python3 /checkout/tools/bench.py report "${raw[@]}" --json "$inside/bench.json" --svg "$inside/bench.svg" \
		${RECORD:+--record /checkout/README.md}
	echo "in $here: bench.json, bench.svg"
	;;
*) die "bench.sh [gate JSON | baseline]" ;;
esac
