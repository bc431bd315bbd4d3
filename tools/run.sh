#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# run.sh [plain|debug] : what `make run` does.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
"$tools/build.sh" "${1:-plain}"
echo "-> booting the guest"
exec "$tools/guest.sh" "${1:-plain}" --timeout 300 -- /checkout/qemu/scenarios/demo
