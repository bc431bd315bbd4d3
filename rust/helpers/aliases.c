// SPDX-License-Identifier: GPL-2.0
/* Where the helpers are in one image with the tracker, `modprobe` of one loads that. */
#include <linux/module.h>

MODULE_ALIAS("ip_conntrack_amanda");
MODULE_ALIAS("ip_conntrack_ftp");
MODULE_ALIAS("ip_conntrack_irc");
MODULE_ALIAS("ip_conntrack_talk");
MODULE_ALIAS("ip_conntrack_tftp");
