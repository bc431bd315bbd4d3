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
