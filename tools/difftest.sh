#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# difftest.sh [SCRIPTS [SEED [JSON]]] : what `make difftest` does: scripts of packets from SEED on,
# through the stock tracker and through ours, and what they made of each packet compared.
# STOCK=FILE (below the cache): what stock made of them is known already.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

count=${1:-2000}
seed=${2:-0}
# Scripts are replayed in groups of 50, each in a namespace with settings of its own.
seed=$((seed / 50 * 50))
tools=$checkout/tools
"$tools/build.sh"
work=$("$tools/build.sh" --path plain)
inside=/cache/$(basename "$work")/difftest
here=$work/difftest
enter=$tools/env/enter.sh
packets=$("$enter" python3 /checkout/qemu/difftest/generate "$seed" "$count" "$inside/scripts")
echo "-> $count scripts from seed $seed: $packets packets"
replay() {
	"$tools/guest.sh" plain --icount --timeout $((600 + packets / 100)) --results "$inside/$1" -- \
		/checkout/qemu/difftest/run "$inside/ip_conntrack_replay.ko" "$1" "$seed" "$inside/scripts" /results/packets
}
stock=${STOCK:-$here/stock/packets}
if [ -z "${STOCK:-}" ]; then
	echo "-> through the stock tracker and through ours"
	WITHOUT_OURS=1 replay stock >"$here/stock.log" 2>&1 &
	oracle=$!
fi
replay ours || die "the guest with our tracker failed"
if [ -z "${STOCK:-}" ]; then
	wait "$oracle" || { cat "$here/stock.log"; die "the guest with the stock tracker failed"; }
fi
"$enter" python3 /checkout/qemu/difftest/compare "$seed" "$count" "/cache/${stock#"$cache"/}" \
	"$inside/ours/packets" ${3:+"/cache/${3#"$cache"/}"}
