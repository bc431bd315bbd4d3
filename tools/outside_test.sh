#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# outside_test.sh FOLDER : builds and installs the modules as a user does, below FOLDER, then a module
# of somebody else from the installed development files alone. Runs within the environment's root.
set -euo pipefail
folder=$1
rm -rf "$folder"
mkdir -p "$folder/checkout" "$folder/module"
git -C /checkout -c safe.directory=/checkout ls-files -z | (cd /checkout && xargs -0 cp --parents -t "$folder/checkout")
make -s -C "$folder/checkout" KDIR=/build INSTALL_MOD_PATH="$folder/root" -j"$(nproc)" modules_install
make -s -C "$folder/checkout" KDIR=/build rust-analyzer
mv "$folder/checkout/rust-project.json" "$folder/"
# What the user built with is gone.
rm -r "$folder/checkout"

cat >"$folder/module/Kbuild" <<-EOF
	include $folder/root/lib/modules/\$(KERNELRELEASE)/ip_conntrack-devel/ip_conntrack.mk
	obj-m := outsider.o
EOF
cat >"$folder/module/outsider.rs" <<-'EOF'
	// SPDX-License-Identifier: GPL-2.0
	//! A module that uses the engine's types and the tracker's names.
	#![forbid(unsafe_code)]
	use conntrack::{reason::Reason, status::Status};
	use kernel::prelude::*;

	module! {
	    type: Outsider,
	    name: "outsider",
	    authors: ["Somebody"],
	    description: "Built from installed files",
	    license: "GPL v2",
	}

	struct Outsider;

	impl kernel::Module for Outsider {
	    fn init(_: &'static ThisModule) -> Result<Self> {
	        pr_info!("{} {} {}\n", netfilter::default_buckets(), Reason::Checksum.name(), Status::ASSURED.bits());
	        Ok(Self)
	    }
	}
EOF
make -s -C /build M="$folder/module" modules
modinfo -F depends "$folder/module/outsider.ko"
