// SPDX-License-Identifier: GPL-2.0
/*
 * A module in C that asks ip_conntrack what packets are to their connections: how many came in for this host,
 * in the first namespace, by their state. Read them in /sys/module/count_states/parameters/.
 */
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv4/ip_conntrack.h>
#include <net/net_namespace.h>

/* By enum ip_conntrack_info: established, related, new, established the other way, related so. */
static unsigned long packets[IP_CT_NUMBER];
module_param_array(packets, ulong, NULL, 0444);
static unsigned long answered;
module_param(answered, ulong, 0444);
static unsigned long untracked;
module_param(untracked, ulong, 0444);

static unsigned int count(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	enum ip_conntrack_info ctinfo;
	const struct nf_conn *conn = ip_conntrack_get(skb, &ctinfo);

	if (!conn) {
		untracked += ctinfo == IP_CT_UNTRACKED;
		return NF_ACCEPT;
	}
	packets[ctinfo]++;
	answered += test_bit(IPS_SEEN_REPLY_BIT, &conn->status);
	return NF_ACCEPT;
}

static const struct nf_hook_ops ops = {
	.hook = count,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_LOCAL_IN,
	.priority = NF_IP_PRI_FILTER,
};

static int __init count_states_init(void)
{
	return nf_register_net_hook(&init_net, &ops);
}

static void __exit count_states_exit(void)
{
	nf_unregister_net_hook(&init_net, &ops);
}

module_init(count_states_init);
module_exit(count_states_exit);
MODULE_DESCRIPTION("Packets by their state, an example of a module in C on ip_conntrack");
MODULE_LICENSE("GPL");
