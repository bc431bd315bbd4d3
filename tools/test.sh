#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# test.sh [plain|debug] : what `make test` does. Ends with `N passed, N failed`.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

flavour=${1:-plain}
tools=$checkout/tools
memory=1024
limit=2400
each=300
if [ "$flavour" = debug ]; then
	memory=3072
	limit=9000
	each=1800
fi
"$tools/build.sh" "$flavour"
work=$("$tools/build.sh" --path "$flavour")
inside=/cache/$(basename "$work")
results=$work/results
rm -rf "$results"
mkdir -p "$results"

# A part that ends in another way than with results counts as one failure.
part() {
	local name=$1
	shift
	echo "-> $name"
	"$@" || echo "   $name: exit code $?"
}
KERNEL_SRC=$("$tools/env/kernel.sh" --source "$flavour")
export KERNEL_SRC
part "tests on the host" "$tools/env/enter.sh" /checkout/tools/host_tests.sh "$inside/results"
part "helpers, packets and requests, fuzzed: seeds and a million inputs each" "$tools/fuzz.sh" replay "$results/fuzz.json"
KERNEL_BUILD=$("$tools/env/kernel.sh" --path "$flavour")/build part "what is said when something is missing" \
	"$tools/env/enter.sh" /checkout/tools/setup_tests.py "$inside/results"
part "KUnit in the guest" "$tools/guest.sh" "$flavour" --memory "$memory" --results "$inside/results/kunit" \
	-- /checkout/kunit-tests/run "$inside/kunit"
# shellcheck disable=SC2317 # called by `part`
scenarios() {
	local name=$1
	shift
	"$tools/guest.sh" "$flavour" --memory "$memory" --timeout "$limit" --results "$inside/results/$name" \
		-- env ROUNDS="${ROUNDS:-12}" REPLAY="$inside/difftest/ip_conntrack_replay.ko" /checkout/qemu/scenarios/run --limit "$each" --results /results/scenarios.json "$@"
}
# What the stock tracker answers depends on the kernel, the root and the scenarios alone: it is
# asked once for each of them.
oracle=$cache/oracle-$({
	basename "$("$tools/env/kernel.sh" --path "$flavour")"
	basename "$("$tools/env/root.sh" --path)"
	find "$checkout/qemu" -type f ! -name '*.pyc' ! -path '*/qemu/bench/*' | LC_ALL=C sort | xargs sha256sum | sed "s|$checkout||"
} | hash -)
asked=
if [ -d "$oracle" ]; then
	part "scenarios in the guest" scenarios scenarios
	echo "-> the same against the stock tracker: known from $(date -r "$oracle" '+%F %H:%M') (same kernel, same scenarios)"
else
	asked=1
	rm -rf "$oracle.partial"
	mkdir "$oracle.partial"
	# Beside ours: each waits more than it works.
	WITHOUT_OURS=1 part "the same against the stock tracker (it ran at the same time)" \
		scenarios stock --tracker stock >"$oracle.partial/log" 2>&1 &
	part "scenarios in the guest" scenarios scenarios
	wait
	cat "$oracle.partial/log"
	[ ! -d "$results/stock" ] || mv "$results/stock" "$oracle.partial/"
fi
where=$oracle
[ -z "$asked" ] || where=$oracle.partial
if [ "$flavour" = plain ]; then
	known=
	[ -n "$asked" ] || known=$where/packets
	STOCK=$known part "20,000 packets through the stock tracker and through ours" \
		"$tools/difftest.sh" 1250 0 "$results/difftest.json"
	[ -z "$asked" ] || cp "$work/difftest/plan.stock/packets" "$where/packets" || true
	part "what a packet costs, against the baseline" "$tools/bench.sh" gate "$results/bench.json"
fi
[ ! -d "$where/stock" ] || cp -r "$where/stock" "$results/"
code=0
"$tools/env/enter.sh" python3 /checkout/tools/summary.py "$inside/results" "$flavour" || code=$?
if [ -n "$asked" ] && [ "$code" = 0 ]; then
	find "$cache" -maxdepth 1 -name 'oracle-*' ! -name '*.partial' -exec rm -rf {} +
	mv "$where" "$oracle"
fi
exit "$code"
