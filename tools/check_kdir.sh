#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# check_kdir.sh KDIR : whether the modules can be built for a kernel; one clear line if not.
set -euo pipefail
kdir=$1
versions="7.3"

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

[ -d "$kdir" ] || die "KDIR=$kdir is not there: name the build folder of a kernel, as in make modules KDIR=/path/to/linux"
[ -f "$kdir/.config" ] || die "KDIR=$kdir is not configured: there is no .config in it"
[ -f "$kdir/include/generated/autoconf.h" ] || die "KDIR=$kdir is not prepared: run make there (or make modules_prepare)"
has() { grep -qE "^$1=[ym]$" "$kdir/.config"; }
for option in MODULES NETFILTER INET PROC_FS SYSCTL; do
	has "CONFIG_$option" || die "the kernel in KDIR=$kdir has no CONFIG_$option"
done
has CONFIG_RUST || die "the kernel in KDIR=$kdir has no CONFIG_RUST=y, which modules in Rust need (make rustavailable there says why)"
has CONFIG_NF_CONNTRACK || die "the kernel in KDIR=$kdir has no CONFIG_NF_CONNTRACK=m: without it packets have no room for a connection"
grep -q '^CONFIG_NF_CONNTRACK=y$' "$kdir/.config" && die "the kernel in KDIR=$kdir has the stock tracker built in (CONFIG_NF_CONNTRACK=y): it must be a module, so that it can stay out"
[ -f "$kdir/rust/libkernel.rmeta" ] || die "KDIR=$kdir has no rust/libkernel.rmeta: build the kernel there first (header packages do not have it)"
release=$(cat "$kdir/include/config/kernel.release" 2>/dev/null || true)
known=
for version in $versions; do
	case "$release" in "$version".* | "$version"-*) known=1 ;; esac
done
[ -n "$known" ] || die "the kernel in KDIR=$kdir is $release; known to work are: $versions"
for program in rustc bindgen; do
	command -v "$program" >/dev/null || die "$program is missing: install it (Debian: apt-get install rustc rust-src bindgen)"
done
built=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$kdir/.config")
here=$(rustc --version)
[ "$built" = "$here" ] || die "the kernel in KDIR=$kdir was built by '$built', and this is '$here': they must be the same"
