// SPDX-License-Identifier: GPL-2.0
/* The parameter `ports` of a helper's module; Rust has no parameters that are arrays. */
#include <linux/module.h>
#include <linux/moduleparam.h>

static unsigned short ports[8];
static unsigned int count;

module_param_array(ports, ushort, &count, 0400);
MODULE_PARM_DESC(ports, "Up to eight ports whose connections are read where net.netfilter.nf_conntrack_helper is 1");
