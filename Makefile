# SPDX-License-Identifier: GPL-2.0
# What a person types. The kernel's build reads Kbuild instead.

# The kernel to build for: its build folder, configured, with CONFIG_RUST=y.
KDIR ?= /lib/modules/$(shell uname -r)/build
# Where modules_install puts things; empty for this machine.
INSTALL_MOD_PATH ?=
# STATIC=y: the helpers in one module with the tracker.
STATIC ?=
export STATIC
# DEBUG=1: the kernel with everything that finds mistakes.
DEBUG ?=
flavour := $(if $(filter-out 0,$(DEBUG)),debug,plain)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Lists what can be done
	@echo 'On any Debian machine (all set-up is done, in ~/.cache/ip_conntrack):'
	@sed -n 's/^\(run\|test\|bench\|difftest\|fuzz\|shell\|lint\|env\): ## /  make \1 - /p' $(MAKEFILE_LIST) | expand -t 20
	@echo 'For a kernel of your own:'
	@sed -n 's/^\(modules\|modules_install\|clean\|rust-analyzer\):[^#]*## /  make \1 - /p' $(MAKEFILE_LIST)
	@echo 'Variables: KDIR=$(KDIR) INSTALL_MOD_PATH= STATIC= DEBUG= (run, test, shell) N= SEED= SECONDS= ONLY= FLOWS= MEMORY= RECORD= IP_CONNTRACK_CACHE= KERNEL_SERIES= KERNEL_SOURCE='

.PHONY: run test bench difftest fuzz shell lint env
run: ## Boots a kernel of its own in a virtual machine, loads the module and shows connections being tracked
	@tools/run.sh $(flavour)
test: ## Runs all tests: on the host, KUnit and scenarios in the virtual machine (DEBUG=1: with a debug kernel)
	@tools/test.sh $(flavour)
bench: ## Measures what packets and connections cost, beside the stock tracker (ONLY= FLOWS= RECORD=1, BASELINE=1)
	@tools/bench.sh $(if $(filter-out 0,$(BASELINE)),baseline)
difftest: ## Sends N= scripts of packets from SEED= on through the stock tracker and through ours, and compares
	@tools/difftest.sh $(or $(N),2000) $(or $(SEED),0)
fuzz: ## Has the helpers read what a fuzzer makes up, for SECONDS= each (600)
	@tools/fuzz.sh run $(or $(SECONDS),600)
shell: ## Gives a prompt in the virtual machine, with the module loaded
	@tools/shell.sh $(flavour)
lint: ## Checks format, clippy with the kernel's lints, and the gates on unsafe code and panics
	@tools/lint.sh
env: ## Only does the set-up: compilers, the kernel's source, a kernel
	@tools/env/root.sh && tools/env/kernel.sh $(flavour)

.PHONY: modules modules_install clean rust-analyzer
modules: ## Builds the modules for the kernel in KDIR=
	@tools/check_kdir.sh "$(KDIR)"
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
modules_install: modules ## Installs them, the modprobe.d file, and what modules of others need to build
	$(MAKE) -C $(KDIR) M=$(CURDIR) INSTALL_MOD_DIR=updates INSTALL_MOD_PATH=$(INSTALL_MOD_PATH) modules_install
	@tools/install.sh "$(KDIR)" "$(INSTALL_MOD_PATH)"
clean: ## Removes what a build left in the checkout
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
rust-analyzer: ## Points editors at the crates (rust-project.json)
	@tools/rust_analyzer.sh "$(KDIR)"
