#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# fuzz.sh replay [JSON]  : what `make test` does: every target reads the seeds in rust/fuzz/corpus and
#                          a million inputs that follow from them, always the same
# fuzz.sh run [SECONDS]  : what `make fuzz` does: new inputs, for so long with each (600 s)
# JSON is a file below the cache. What makes one fail is left in fuzz/findings in the cache.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

mode=${1:-run}
env=$checkout/tools/env
"$env/root.sh"
case $mode in
replay) options=(replay ${2:+"/cache/${2#"$cache"/}"}) ;;
run) options=(run "${2:-600}") ;;
*) die "fuzz.sh replay [JSON], or fuzz.sh run [SECONDS]" ;;
esac
echo "-> fuzzing ($mode)"
code=0
"$env/enter.sh" /checkout/tools/fuzz_targets.py "${options[@]}" || code=$?
[ "$code" = 0 ] || echo "   inputs that make one fail, if any were found: $cache/fuzz/findings"
exit "$code"
