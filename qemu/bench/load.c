// SPDX-License-Identifier: GPL-2.0
/*
 * Sends packets through the hooks PRE_ROUTING and LOCAL_IN of the first network namespace and
 * measures each. It knows no tracker: of a packet it reads the three bits that say what it is to
 * its connection, which all readers of skb->_nfct know.
 */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/sched/signal.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>

#include "load.h"
#include "marks.h"

static const enum step open_steps[] = { STEP_OPEN };
static const enum step rest_steps[] = { STEP_ANSWER, STEP_CONFIRM };
static const enum step data_steps[] = { STEP_DATA, STEP_DATA_BACK };
static const enum step close_steps[] = { STEP_FIN, STEP_FIN_BACK, STEP_LAST };

unsigned int phase_steps(enum phase phase, u8 protocol, const enum step **steps)
{
	bool tcp = protocol == IPPROTO_TCP;

	switch (phase) {
	case PHASE_OPEN:
		*steps = open_steps;
		return ARRAY_SIZE(open_steps);
	case PHASE_REST:
		*steps = rest_steps;
		return tcp ? ARRAY_SIZE(rest_steps) : 1;
	case PHASE_DATA:
		*steps = data_steps;
		return ARRAY_SIZE(data_steps);
	default:
		*steps = close_steps;
		return tcp ? ARRAY_SIZE(close_steps) : 0;
	}
}

/* What a packet is to its connection, as all trackers say. */
static unsigned long expected(enum step step)
{
	switch (step) {
	case STEP_OPEN:
		return IP_CT_NEW;
	case STEP_ANSWER:
	case STEP_DATA_BACK:
	case STEP_FIN_BACK:
		return IP_CT_ESTABLISHED_REPLY;
	default:
		return IP_CT_ESTABLISHED;
	}
}

static int arrived(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	return 0;
}

static bool through(struct sk_buff *skb, u8 family, unsigned int hook)
{
	return nf_hook(family, hook, &init_net, NULL, skb, init_net.loopback_dev, NULL, arrived) == 1;
}

static struct sk_buff *new_skb(gfp_t gfp)
{
	struct sk_buff *skb = alloc_skb(LL_MAX_HEADER + PACKET_MOST, gfp);

	if (skb) {
		skb_reserve(skb, LL_MAX_HEADER);
		skb->dev = init_net.loopback_dev;
	}
	return skb;
}

static void account(struct costs *costs, u64 cost)
{
	costs->packets++;
	costs->sum += cost;
	costs->worst = max(costs->worst, cost);
	if (costs->fine)
		costs->fine[min_t(u64, cost, FINE - 1)]++;
}

/* The hooks, then the end of the packet: its connection is let go as kfree_skb would. */
static __always_inline bool pass(struct sk_buff *skb, u8 family, unsigned long *nfct)
{
	if (!through(skb, family, NF_INET_PRE_ROUTING) || !through(skb, family, NF_INET_LOCAL_IN))
		return false;
	*nfct = skb_get_nfct(skb);
	nf_reset_ct(skb);
	return true;
}

u64 send_packet(struct sender *sender, const struct flow *flow, enum step step)
{
	u8 family = flow->ipv6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	struct sk_buff *skb = sender->skb;
	unsigned long flags, nfct = 0;
	ktime_t begin, end;
	u64 cost = 0;
	bool passed;

	if (!skb) {
		/* The one before was dropped. */
		sender->skb = skb = new_skb(GFP_ATOMIC);
		if (!skb) {
			sender->costs.wrong++;
			return 0;
		}
	}
	packet_write(skb, flow, step);
	local_bh_disable();
	if (sender->timed) {
		/* What others do at an interrupt is not the packet's. */
		local_irq_save(flags);
		begin = ktime_get();
		MARK(MARK_BEGIN);
		passed = pass(skb, family, &nfct);
		MARK(MARK_END);
		end = ktime_get();
		local_irq_restore(flags);
		cost = ktime_to_ns(ktime_sub(end, begin));
		account(&sender->costs, cost);
	} else {
		passed = pass(skb, family, &nfct);
		sender->costs.packets++;
	}
	local_bh_enable();
	if (!passed)
		sender->skb = NULL;
	if (!passed || (sender->tracked && (!(nfct & NFCT_PTRMASK) || (nfct & NFCT_INFOMASK) != expected(step))))
		sender->costs.wrong++;
	return cost;
}

struct flow load_flow(const struct load *load, u32 place)
{
	/* A prime that does not divide a number of connections that anybody asks for. */
	u32 at = (u64)place * 982451653u % load->flows;

	return (struct flow) {
		.protocol = load->protocol,
		.ipv6 = load->ipv6,
		.number = load->first + at,
		.round = load->round,
	};
}

int load_run(const struct load *load, struct sender *sender, enum phase phase, u32 from, u32 to)
{
	const enum step *steps;
	unsigned int count = phase_steps(phase, load->protocol, &steps);

	for (unsigned int i = 0; i < count; i++) {
		for (u32 place = from; place < to; place++) {
			struct flow flow = load_flow(load, place);

			send_packet(sender, &flow, steps[i]);
			cond_resched();
		}
		if (signal_pending(current))
			return -EINTR;
	}
	return 0;
}

int sender_init(struct sender *sender, bool fine)
{
	*sender = (struct sender) { .skb = new_skb(GFP_KERNEL) };
	if (!sender->skb)
		return -ENOMEM;
	if (!fine)
		return 0;
	sender->costs.fine = vzalloc(FINE * sizeof(*sender->costs.fine));
	return sender->costs.fine ? 0 : -ENOMEM;
}

void sender_reset(struct sender *sender)
{
	u32 *fine = sender->costs.fine;

	sender->costs = (struct costs) { .fine = fine };
	if (fine)
		memset(fine, 0, FINE * sizeof(*fine));
}

void sender_free(struct sender *sender)
{
	kfree_skb(sender->skb);
	vfree(sender->costs.fine);
}
