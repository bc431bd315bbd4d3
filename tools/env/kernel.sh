#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# kernel.sh [--path|--source] [debug|um] : fetches the kernel's source and builds it, unless it is
# there. --path and --source print where, and make nothing.
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/common.sh"

want=${1:-}
case "$want" in --path | --source) shift ;; *) want= ;; esac
flavour=${1:-plain}
fragments=("$checkout/qemu/kernel.config")
case "$flavour" in
plain) ;;
debug) fragments+=("$checkout/qemu/debug.config") ;;
um) fragments+=("$checkout/qemu/um.config") ;;
*) die "no kernel of the kind '$flavour': plain, debug or um" ;;
esac
# What is to be there, and what is built: the machine of the first fragment is not that of um.
required=("${fragments[@]}")
image=bzImage
if [ "$flavour" = um ]; then
	required=("$checkout/qemu/um.config")
	image=linux
fi
env=$checkout/tools/env
options=$(kbuild_options "$flavour")

# The newest source in the cache; one is enough, so that a day's update does not rebuild all.
newest_source() {
	find "$cache" -maxdepth 1 -name "source-$series-*" ! -name '*.partial' -printf '%f\n' | sort -V | tail -n 1
}

fetch() {
	"$env/enter.sh" sh -ec '
		cd "/cache/$1"
		apt-get update
		apt-get download "linux-source-$2"
		mkdir package.tmp
		dpkg-deb --extract linux-source-*.deb package.tmp
		tar xf "package.tmp/usr/src/linux-source-$2.tar.xz" --strip-components=1
		rm -r package.tmp linux-source-*.deb' sh "$1" "$series"
}

if [ -n "${KERNEL_SOURCE:-}" ]; then
	[ -f "$KERNEL_SOURCE/Kbuild" ] || die "KERNEL_SOURCE=$KERNEL_SOURCE is not a kernel's source"
	source=$KERNEL_SOURCE
	version=$(make -s -C "$source" kernelversion 2>/dev/null || hash "$source/Makefile")
else
	mkdir -p "$cache"
	name=$(newest_source)
	if [ -z "$name" ] && [ -z "$want" ]; then
		exclusive
		name=$(newest_source)
		if [ -z "$name" ]; then
			need_disk 6 "the kernel's source and build"
			rm -rf "$cache/source.partial"
			mkdir -p "$cache/source.partial"
			step "fetching the newest linux-source-$series (170 MB)" "$cache/source.log" fetch source.partial
			name=source-$series-$(sed -n 's/^SUBLEVEL = //p' "$cache/source.partial/Makefile")
			mv "$cache/source.partial" "$cache/$name"
		fi
		exec 9>&-
	fi
	source=$cache/$name
	version=$name
fi
# The compilers, as the root's package system knows them.
compilers() {
	awk '/^Package: (gcc-[0-9]+|clang-[0-9]+|rustc|bindgen|binutils)$/ { name = $2 }
		/^Version: / && name { print name, $2; name = "" }' "$("$env/root.sh" --path)/var/lib/dpkg/status" 2>/dev/null
}
key=$({ echo "$version" 1; compilers; cat "${fragments[@]}"; } | hash -)
kernel=$cache/kernel-$flavour-$key
case "$want" in
--path) echo "$kernel"; exit ;;
--source) echo "$source"; exit ;;
esac
[ -d "$kernel" ] && exit

configure() {
	KERNEL_SRC=$source KERNEL_BUILD=$kernel.partial/build "$env/enter.sh" bash -ec '
		options=$1 required=$2
		shift 2
		make -s -C /src O=/build $options tinyconfig
		cd /src
		fragments=("$@")
		scripts/kconfig/merge_config.sh -m -O /build /build/.config "${fragments[@]}"
		make -s O=/build $options olddefconfig rustavailable
		# A later fragment may say otherwise than an earlier one.
		wanted=$(awk -F= "/^CONFIG_/ { last[\$1] = \$0 } END { for (name in last) print last[name] }" $required)
		missing=$(grep -E "=[ym]$" <<<"$wanted" | sort | grep -vxFf /build/.config || true)
		[ -z "$missing" ] || { echo "options that this kernel does not have:" $missing; exit 1; }' \
		bash "$options" "${required[*]/#$checkout//checkout}" "${fragments[@]/#$checkout//checkout}"
}
build() {
	# shellcheck disable=SC2086 # no word, or one
	KERNEL_SRC=$source KERNEL_BUILD=$kernel.partial/build "$env/enter.sh" \
		make -C /src O=/build $options -j"$(nproc)" "$image" modules
}
install_modules() {
	# shellcheck disable=SC2086 # no word, or one
	KERNEL_SRC=$source KERNEL_BUILD=$kernel.partial/build "$env/enter.sh" \
		make -C /build $options INSTALL_MOD_PATH="/cache/$(basename "$kernel").partial/modules" INSTALL_MOD_STRIP=1 modules_install
}

exclusive
[ -d "$kernel" ] && exit
need_disk 4 "a kernel's build"
# Also what a run for another configuration left when it was cut off.
rm -rf "$cache/kernel-$flavour-"*.partial
old=$(find "$cache" -maxdepth 1 -name "kernel-$flavour-*" ! -name '*.partial' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
if [ -n "$old" ]; then
	cp -a --reflink=auto "$old" "$kernel.partial"
	rm -rf "$kernel.partial/modules"
else
	mkdir -p "$kernel.partial/build"
fi
step "configuring the $flavour kernel ($version)" "$cache/configure.log" configure
step "building the $flavour kernel (5 to 15 minutes on two cores)" "$cache/build-$flavour.log" build
step "installing its modules" "$cache/modules.log" install_modules
mv "$kernel.partial" "$kernel"
# Two of a kind are kept.
find "$cache" -maxdepth 1 -name "kernel-$flavour-*" -printf '%T@ %p\n' | sort -rn | tail -n +3 | cut -d' ' -f2- |
	while read -r stale; do rm -rf "$stale"; done
