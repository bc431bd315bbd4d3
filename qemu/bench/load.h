/* SPDX-License-Identifier: GPL-2.0 */
/* Connections that are opened, used and closed together, and what their packets cost. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "packet.h"

/* Costs below this are counted one by one. */
#define FINE	65536

/* What packets have cost, in nanoseconds (instructions, in virtual time). */
struct costs {
	u64 packets, sum;
	u64 worst;
	u64 wrong;		/* dropped, or not classified as they should be */
	u32 *fine;		/* how many packets had which cost; NULL: only counted */
};

/* A number of connections. */
struct load {
	u8 protocol;
	bool ipv6;
	u32 first, flows;	/* their numbers */
	u32 round;		/* how many packets with data each has had, each way */
};

/* Somebody who sends. */
struct sender {
	struct sk_buff *skb;	/* used again for each packet */
	bool tracked;		/* whether packets are to be classified */
	bool timed;		/* whether each is measured */
	struct costs costs;
};

enum phase {
	PHASE_OPEN,		/* the first packet of each connection */
	PHASE_REST,		/* the rest of the handshake */
	PHASE_DATA,		/* packets of open connections, both ways in turn */
	PHASE_CLOSE,		/* the end, where the protocol has one */
	PHASES
};

int sender_init(struct sender *sender, bool fine);
void sender_reset(struct sender *sender);
void sender_free(struct sender *sender);

/*
 * Sends one packet of one connection. Returns what it cost from its first hook until the packet has
 * let go of its connection; 0 if it was not to be measured. Any context but hard interrupts.
 */
u64 send_packet(struct sender *sender, const struct flow *flow, enum step step);

/* The steps of a phase; returns how many. */
unsigned int phase_steps(enum phase phase, u8 protocol, const enum step **steps);

/* The connection that comes at a place: those that follow each other lie far apart. */
struct flow load_flow(const struct load *load, u32 place);

/* Sends a phase of connections FROM to TO (places). May sleep. */
int load_run(const struct load *load, struct sender *sender, enum phase phase, u32 from, u32 to);

#endif
