#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# rust_analyzer.sh KDIR : writes rust-project.json, with which editors know the crates of the
# modules; the host's crates (engine, table) they know from rust/Cargo.toml.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
kdir=$1
[ -d "$kdir" ] || {
	echo "error: KDIR=$kdir is not there: name the build folder of a kernel" >&2
	exit 1
}
make -C "$kdir" rust-analyzer >/dev/null
python3 "$checkout/tools/rust_project.py" "$kdir/rust-project.json" "$checkout" >"$checkout/rust-project.json"
echo "wrote rust-project.json"
