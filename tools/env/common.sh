# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the scripts of the environment have in common. Sourced, not run.
set -euo pipefail

# Where chroot is; an ordinary user need not have it in the path.
export PATH=$PATH:/usr/sbin:/sbin

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Downloads, the root and built kernels: outside the checkout, found again by what went in.
cache=${IP_CONNTRACK_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ip_conntrack}
# It may be a link to a larger disk.
cache=$(realpath -m "$cache")
# The kernel that is built: the newest linux-source of this series in the suites below.
series=${KERNEL_SERIES:-7.3}
suite=trixie
mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
# Where things are inside the root, always the same, so that builds can be copied.
export checkout cache series suite mirror

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# kbuild_options FLAVOUR : what the kernel's build is told; Rust with KASAN needs clang
kbuild_options() {
	case "$1" in
	debug) echo LLVM=1 ;;
	um) echo ARCH=um ;;
	esac
}

# hash FILE... : a short name for what is in them
hash() {
	cat "$@" | sha256sum | cut -c1-12
}

# need_disk GIGABYTES WHAT
need_disk() {
	local free
	mkdir -p "$cache" || die "cannot write to $cache: set IP_CONNTRACK_CACHE to a folder that can be written"
	free=$(df --output=avail -BM "$cache" | tail -n 1 | tr -dc 0-9)
	[ "$free" -ge $(($1 * 1024)) ] ||
		die "$2 needs $1 GB in $cache, and $((free / 1024)) GB are free: make room, or set IP_CONNTRACK_CACHE"
}

# one at a time: a second run waits for the first
exclusive() {
	mkdir -p "$cache" || die "cannot write to $cache: set IP_CONNTRACK_CACHE to a folder that can be written"
	exec 9>"$cache/lock"
	flock -n 9 || { echo "waiting for another run that uses $cache"; flock 9; }
}

# step NAME LOG COMMAND... : runs it quietly, says how it goes and how long it took
step() {
	local name=$1 log=$2 begin=$SECONDS pid last
	shift 2
	printf '%s\n' "-> $name"
	"$@" >"$log" 2>&1 9>&- &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		for _ in {1..20}; do
			sleep 0.5
			kill -0 "$pid" 2>/dev/null || break
		done
		last=$(tail -c 200 "$log" 2>/dev/null | tr '\r' '\n' | tail -n 1 | cut -c1-60)
		kill -0 "$pid" 2>/dev/null && printf '   %3d s  %s\n' $((SECONDS - begin)) "$last"
	done
	if ! wait "$pid"; then
		tail -n 15 "$log" >&2
		if grep -qE 'Could not resolve|Temporary failure|Failed to fetch|Network is unreachable|Unable to connect' "$log"; then
			die "$name: the Debian mirror $mirror cannot be reached: check the network (or set DEBIAN_MIRROR); all of it is in $log"
		fi
		die "$name failed after $((SECONDS - begin)) s; all of it is in $log"
	fi
	printf '   done in %d s\n' $((SECONDS - begin))
}
