#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# outside_test.sh FOLDER : builds and installs the modules as a user does, below FOLDER, then a module
# of somebody else from the installed development files alone. Runs within the environment's root.
set -euo pipefail
folder=$1
rm -rf "$folder"
mkdir -p "$folder/checkout" "$folder/module" "$folder/module.c"
git -C /checkout -c safe.directory=/checkout ls-files -z | (cd /checkout && xargs -0 cp --parents -t "$folder/checkout")
make -s -C "$folder/checkout" KDIR=/build INSTALL_MOD_PATH="$folder/root" -j"$(nproc)" modules_install
make -s -C "$folder/checkout" KDIR=/build rust-analyzer
mv "$folder/checkout/rust-project.json" "$folder/"
# One image with the helpers, which answers to their names.
release=$(make -s -C /build kernelrelease)
cp -r "$folder/root" "$folder/root.static"
make -s -C "$folder/checkout" KDIR=/build STATIC=y INSTALL_MOD_PATH="$folder/root.static" -j"$(nproc)" modules_install >"$folder/static.log" 2>&1 || {
	tail -n 20 "$folder/static.log"
	exit 1
}
loaded=$(modprobe -d "$folder/root.static" -S "$release" --show-depends ip_conntrack_ftp)
[[ $loaded == *ip_conntrack.ko* && $loaded != *ip_conntrack_ftp.ko* ]] || {
	echo "with STATIC=y installed, ip_conntrack_ftp loads: $loaded"
	exit 1
}
# What the user built with is gone.
rm -r "$folder/checkout"

devel=$folder/root/lib/modules/$release/ip_conntrack-devel
cp /checkout/rust/helpers/example/* "$folder/module/"
make -s -C /build M="$folder/module" IP_CONNTRACK_DEVEL="$devel" modules
modinfo -F depends "$folder/module/rsh_helper.ko"
# And one in C.
cp /checkout/include/example/* "$folder/module.c/"
make -s -C /build M="$folder/module.c" IP_CONNTRACK_DEVEL="$devel" modules
[ -f "$folder/module.c/count_states.ko" ]

# With another compiler, or for another build of the kernel, one line says so.
for file in rustc kernel; do
	mv "$devel/$file" "$devel/$file.right"
	echo another >"$devel/$file"
	if make -s -C /build M="$folder/module" IP_CONNTRACK_DEVEL="$devel" modules >"$folder/$file.log" 2>&1; then
		echo "built although the $file is another"
		exit 1
	fi
	grep -q 'ip_conntrack was built' "$folder/$file.log" || {
		cat "$folder/$file.log"
		exit 1
	}
	mv "$devel/$file.right" "$devel/$file"
done
