/* SPDX-License-Identifier: GPL-2.0 */
/* The packets of a connection, from its first to its last. */
#ifndef BENCH_PACKET_H
#define BENCH_PACKET_H

#include <linux/skbuff.h>
#include <linux/types.h>

/* What a packet is in the life of its connection. */
enum step {
	STEP_OPEN,		/* the first: a SYN, a question, an echo request */
	STEP_ANSWER,		/* the first the other way */
	STEP_CONFIRM,		/* TCP: the third of its handshake */
	STEP_DATA,		/* a segment, a datagram, a request */
	STEP_DATA_BACK,		/* the same the other way */
	STEP_FIN,		/* TCP: the end of one side */
	STEP_FIN_BACK,		/* TCP: the end of the other */
	STEP_LAST,		/* TCP: the last acknowledgement */
};

/* Whose packets they are. */
struct flow {
	u8 protocol;		/* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP (for both families) */
	bool ipv6;
	u32 number;		/* each number has addresses and ports of its own */
	u32 round;		/* how many packets with data have gone each way */
};

/* The room that the longest takes, from its network header on. */
#define PACKET_MOST	192

/* Makes a packet of what lies in skb, which has room for it. */
void packet_write(struct sk_buff *skb, const struct flow *flow, enum step step);

#endif
