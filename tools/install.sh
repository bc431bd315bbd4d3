#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# install.sh KDIR [ROOT] : what `make modules_install` puts beside the modules: the modprobe.d file,
# and in /lib/modules/RELEASE/ip_conntrack-devel what modules of others need to build.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
kdir=$1
root=${2:-}
release=$(cat "$kdir/include/config/kernel.release")
devel=$root/lib/modules/$release/ip_conntrack-devel

install -D -m 644 "$checkout/tools/modprobe.d/ip_conntrack.conf" "$root/etc/modprobe.d/ip_conntrack.conf"
install -d "$devel/crates"
for crate in conntrack/libconntrack rcu_table/librcu_table netfilter/libraw netfilter/libnetfilter ip_conntrack/libip_conntrack; do
	install -m 644 "$checkout/rust/$crate.rmeta" "$devel/crates/"
done
install -m 644 "$checkout/Module.symvers" "$devel/"
install -m 644 "$checkout/rust/netfilter/bindings_generated.rs" "$devel/"
# What Rust's ABI depends on.
"${RUSTC:-rustc}" --version >"$devel/rustc"
sha256sum <"$kdir/rust/libkernel.rmeta" >"$devel/kernel"
install -m 644 "$checkout/tools/devel.mk" "$devel/ip_conntrack.mk"
install -D -m 644 "$checkout/include/linux/netfilter_ipv4/ip_conntrack.h" \
	"$devel/include/linux/netfilter_ipv4/ip_conntrack.h"
# The one image answers to the helpers' names: modules of an earlier installation would be loaded instead.
if [ "${STATIC:-}" = y ]; then
	for helper in ftp irc tftp amanda talk; do
		rm -f "$root/lib/modules/$release/updates/ip_conntrack_$helper.ko"*
	done
fi
depmod ${root:+-b "$root"} "$release"
echo "installed for $release: modules in updates/, development files in $devel"
