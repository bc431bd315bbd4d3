#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# difftest.sh [SCRIPTS [SEED [JSON]]] : what `make difftest` does: scripts of packets from SEED on,
# through the stock tracker and through ours, and what they made of each packet compared. The first
# script that differs is made as short as can be.
# STOCK=FILE (below the cache): what stock made of them is known already.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

count=${1:-2000}
seed=${2:-0}
json=${3:-}
# Scripts are replayed in groups of 50, each in a namespace with settings of its own.
seed=$((seed / 50 * 50))
tools=$checkout/tools
difftest=/checkout/qemu/difftest
"$tools/build.sh"
work=$("$tools/build.sh" --path plain)
here=$work/difftest
inside=/cache/$(basename "$work")/difftest
enter=$tools/env/enter.sh

# through TRACKER PLAN SECONDS : the results go to PLAN.TRACKER/packets
through() {
	"$tools/guest.sh" plain --icount --timeout "$3" --results "$inside/$2.$1" -- \
		$difftest/run "$inside/ip_conntrack_replay.ko" "$1" "$inside/$2" /results/packets
}
# replay PLAN SECONDS : through both trackers at once, unless stock's answers are known
replay() {
	local known=${STOCK:-}
	if [ -z "$known" ]; then
		WITHOUT_OURS=1 through stock "$@" >"$here/stock.log" 2>&1 &
	fi
	through ours "$@" || die "the guest with our tracker failed"
	if [ -z "$known" ]; then
		wait $! || { cat "$here/stock.log"; die "the guest with the stock tracker failed"; }
	fi
}
# shorten SCRIPT : until no step can be left out
shorten() {
	local rounds=0
	while [ $rounds -lt 12 ]; do
		rounds=$((rounds + 1))
		echo "-> making the script shorter, round $rounds"
		"$enter" $difftest/shrink candidates "$inside/$1" "$inside/candidates"
		STOCK='' replay candidates 900 >"$here/shorten.log" || return 0
		"$enter" $difftest/shrink take "$inside/$1" "$inside"/candidates{,.stock/packets,.ours/packets} || break
	done
	echo "The shortest that differs, for CASES in qemu/difftest/cases.py:"
	"$enter" $difftest/shrink show "$inside/$1"
}
packets=$("$enter" $difftest/generate "$seed" "$count" "$inside/plan")
echo "-> $packets packets: $count scripts from seed $seed, and the cases"
replay plan $((600 + packets / 100))
stock=${STOCK:-$here/plan.stock/packets}
rm -f "$here/differing"
code=0
"$enter" $difftest/compare "$inside/plan" "/cache/${stock#"$cache"/}" "$inside/plan.ours/packets" \
	--differing "$inside/differing" ${json:+--json "/cache/${json#"$cache"/}"} || code=$?
if [ -e "$here/differing" ] && [ -z "${STOCK:-}" ]; then
	shorten differing
fi
exit $code
