#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# enter.sh COMMAND... : runs it within the root, with
#   /checkout  this checkout        /cache  the cache
#   /src       the kernel's source  /build  a build of it ($KERNEL_SRC, $KERNEL_BUILD, if set)
# shellcheck source=tools/env/common.sh
. "$(dirname "$0")/common.sh"

root=$("$checkout/tools/env/root.sh" --path)
mounts=$(mktemp)
trap 'rm -f "$mounts"' EXIT
cat >"$mounts" <<-'EOF'
	set -e
	bind() { mount --bind "$1" "$root$2"; }
	bind "$checkout" /checkout
	bind "$cache" /cache
	[ -z "${KERNEL_SRC:-}" ] || bind "$KERNEL_SRC" /src
	[ -z "${KERNEL_BUILD:-}" ] || bind "$KERNEL_BUILD" /build
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount --rbind /sys "$root/sys"
	for file in /etc/resolv.conf /etc/hosts; do
	    [ ! -e "$file" ] || { [ -e "$root$file" ] || : >"$root$file"; bind "$file" "$file"; }
	done
	# Certificates that this machine trusts, as behind a proxy with one of its own.
	ca=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
	[ ! -e "$ca" ] || bind "$ca" /etc/ssl/certs/ca-certificates.crt
	keep=
	for name in http_proxy https_proxy no_proxy TERM JOBS; do
	    eval "value=\${$name:-}"
	    [ -z "$value" ] || keep="$keep $name=$value"
	done
	exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
	    CARGO_HOME=/cache/cargo KBUILD_BUILD_USER=ip_conntrack KBUILD_BUILD_HOST=ip_conntrack \
	    $keep "$@"
EOF
export root
if [ "$(id -u)" = 0 ]; then
	unshare --mount --pid --fork --kill-child bash "$mounts" "$@"
else
	unshare --map-auto --map-root-user --mount --pid --fork --kill-child bash "$mounts" "$@"
fi
