#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Makes the root that everything is built and run in, unless it is there; prints nothing then.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/common.sh"

names=$(grep -Ev '^#|^$' "$checkout/tools/env/packages" | paste -sd,)
key=$(printf '%s\n' "$names" "$suite" "$mirror" 1 | hash -)
root=$cache/root-$key
if [ "${1:-}" = --path ]; then
	echo "$root"
	exit
fi
[ -d "$root" ] && exit

exclusive
[ -d "$root" ] && exit
need_disk 8 "the first set-up"
if [ "$(id -u)" != 0 ]; then
	unshare --map-auto --map-root-user true 2>/dev/null ||
		die "user namespaces are needed to do this without root: as root, apt-get install uidmap, and give $(id -un) a line in /etc/subuid and /etc/subgid; or run as root"
fi
if ! command -v mmdebstrap >/dev/null; then
	[ "$(id -u)" = 0 ] || die "mmdebstrap is missing: as root, apt-get install mmdebstrap"
	step "installing mmdebstrap on this machine" "$cache/mmdebstrap.log" \
		sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring uidmap'
fi
if [ "$(id -u)" = 0 ]; then
	rm -rf "$root.partial"
else
	unshare --map-auto --map-root-user rm -rf "$root.partial"
fi
# make_tree TARGET : a folder, or - for an archive
make_tree() {
	mmdebstrap --variant=minbase --include="$names" \
		--customize-hook='mkdir -p "$1/checkout" "$1/cache" "$1/src" "$1/build"' \
		"$suite" "$1" \
		"deb $mirror/debian $suite main" \
		"deb $mirror/debian $suite-updates main" \
		"deb $mirror/debian $suite-backports main" \
		"deb $mirror/debian-security $suite-security main"
}
make_root() {
	if [ "$(id -u)" = 0 ]; then
		make_tree "$root.partial"
		return
	fi
	# Its root is to be the user who enters it (enter.sh); mmdebstrap's own would be another.
	mkdir "$root.partial"
	make_tree - | unshare --map-auto --map-root-user \
		tar --extract --directory "$root.partial" --numeric-owner --exclude './dev/*'
}
step "making a Debian $suite root with compilers and test programs (2.2 GB, about 2 minutes)" \
	"$cache/root.log" make_root
mv "$root.partial" "$root"
