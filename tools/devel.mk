# SPDX-License-Identifier: GPL-2.0
# For the Kbuild of a module that uses ip_conntrack:
#
#   include /lib/modules/$(KERNELRELEASE)/ip_conntrack-devel/ip_conntrack.mk
#   obj-m := my_module.o
#
# gives its Rust code the crates conntrack (the engine's types), netfilter (safe types over the
# kernel) and ip_conntrack (the tracker), and modpost the symbols behind them.
ip_conntrack_devel := $(dir $(lastword $(MAKEFILE_LIST)))
rustflags-y += -L $(ip_conntrack_devel)crates --extern conntrack --extern netfilter --extern ip_conntrack
ccflags-y += -I$(ip_conntrack_devel)include
KBUILD_EXTRA_SYMBOLS += $(ip_conntrack_devel)Module.symvers

# Rust has no stable ABI: the compiler and the kernel's own crates must be the very same.
ip_conntrack_rustc := $(shell cat $(ip_conntrack_devel)rustc)
ifneq ($(shell $(RUSTC) --version),$(ip_conntrack_rustc))
$(error ip_conntrack was built with "$(ip_conntrack_rustc)", this is "$(shell $(RUSTC) --version)": build both with the same compiler)
endif
ifneq ($(shell sha256sum <$(objtree)/rust/libkernel.rmeta),$(shell cat $(ip_conntrack_devel)kernel))
$(error ip_conntrack was built for another build of this kernel: run its `make modules_install KDIR=$(objtree)` again)
endif
