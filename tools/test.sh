#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# test.sh [plain|debug] : what `make test` does. Ends with `N passed, N failed`.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

flavour=${1:-plain}
tools=$checkout/tools
memory=1024
limit=1500
if [ "$flavour" = debug ]; then
	memory=3072
	limit=5400
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
part "KUnit in the guest" "$tools/guest.sh" "$flavour" --memory "$memory" --results "$inside/results/kunit" \
	-- /checkout/kunit-tests/run "$inside/kunit"
part "scenarios in the guest" "$tools/guest.sh" "$flavour" --memory "$memory" --timeout "$limit" \
	--results "$inside/results/scenarios" -- \
	env ROUNDS="${ROUNDS:-30}" /checkout/qemu/scenarios/run --results /results/scenarios.json
WITHOUT_OURS=1 part "the same against the stock tracker" "$tools/guest.sh" "$flavour" --memory "$memory" --timeout "$limit" \
	--results "$inside/results/stock" -- \
	/checkout/qemu/scenarios/run --tracker stock --results /results/scenarios.json
exec "$tools/env/enter.sh" python3 /checkout/tools/summary.py "$inside/results"
