#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# guest.sh FLAVOUR [OPTIONS of qemu/vm] -- COMMAND... : runs a command in the virtual machine.
# WITHOUT_OURS=1: with the kernel's own modules alone. MODULES=FOLDER (as it is inside): with these of ours.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/env/common.sh"

flavour=$1
shift
kernel=$("$checkout/tools/env/kernel.sh" --path "$flavour")
work=$("$checkout/tools/build.sh" --path "$flavour")
KERNEL_SRC=$("$checkout/tools/env/kernel.sh" --source "$flavour")
export KERNEL_SRC
ours=(--modules "${MODULES:-/cache/$(basename "$work")/modules}")
[ -z "${WITHOUT_OURS:-}" ] || ours=()
exec "$checkout/tools/env/enter.sh" /checkout/qemu/vm --kernel "/cache/$(basename "$kernel")" "${ours[@]}" "$@"
