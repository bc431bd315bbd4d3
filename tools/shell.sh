#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# shell.sh [plain|debug] : what `make shell` does.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
"$tools/build.sh" "${1:-plain}"
echo "-> booting the guest; 'exit' ends it"
exec "$tools/guest.sh" "${1:-plain}" --interactive -- bash -c \
	'modprobe ip_conntrack && dmesg | grep ip_conntrack: ; exec bash -i'
