// SPDX-License-Identifier: GPL-2.0
/*
 * Packets as Linux hosts send them: TCP with window scaling, SACK and timestamps, in order and
 * without loss. What a network card has verified, the checksum, is not written.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/ip.h>
#include <net/tcp.h>

#include "packet.h"

/* The ports of a client, as a power of two. */
#define PORT_BITS	8
#define FIRST_PORT	32768
/* What a packet with data carries. */
#define DATA		64
/* In units of 128, by the window scaling below. */
#define WINDOW		502

static bool is_back(enum step step)
{
	return step == STEP_ANSWER || step == STEP_DATA_BACK || step == STEP_FIN_BACK;
}

static u16 client_port(const struct flow *flow)
{
	return FIRST_PORT + (flow->number & ((1 << PORT_BITS) - 1));
}

static unsigned int write_icmp(void *to, const struct flow *flow, bool back)
{
	struct icmphdr *icmp = to;	/* An echo looks the same in ICMPv6. */

	memset(icmp, 0, sizeof(*icmp));
	if (flow->ipv6)
		icmp->type = back ? ICMPV6_ECHO_REPLY : ICMPV6_ECHO_REQUEST;
	else
		icmp->type = back ? ICMP_ECHOREPLY : ICMP_ECHO;
	icmp->un.echo.id = htons(client_port(flow));
	icmp->un.echo.sequence = htons(flow->round);
	memset(icmp + 1, 0, DATA);
	return sizeof(*icmp) + DATA;
}

static unsigned int write_udp(void *to, const struct flow *flow, bool back)
{
	struct udphdr *udp = to;
	__be16 client = htons(client_port(flow)), server = htons(53);

	udp->source = back ? server : client;
	udp->dest = back ? client : server;
	udp->len = htons(sizeof(*udp) + DATA);
	udp->check = 0;
	memset(udp + 1, 0, DATA);
	return sizeof(*udp) + DATA;
}

static u8 *write_timestamps(u8 *option, const struct flow *flow)
{
	*option++ = TCPOPT_TIMESTAMP;
	*option++ = TCPOLEN_TIMESTAMP;
	put_unaligned_be32(1000 + flow->round, option);
	put_unaligned_be32(2000 + flow->round, option + 4);
	return option + 8;
}

/* Returns how long they are. */
static unsigned int write_options(u8 *to, const struct flow *flow, bool syn)
{
	u8 *option = to;

	if (!syn) {
		*option++ = TCPOPT_NOP;
		*option++ = TCPOPT_NOP;
		return write_timestamps(option, flow) - to;
	}
	*option++ = TCPOPT_MSS;
	*option++ = TCPOLEN_MSS;
	put_unaligned_be16(1460, option);
	option += 2;
	*option++ = TCPOPT_SACK_PERM;
	*option++ = TCPOLEN_SACK_PERM;
	option = write_timestamps(option, flow);
	*option++ = TCPOPT_NOP;
	*option++ = TCPOPT_WINDOW;
	*option++ = TCPOLEN_WINDOW;
	*option++ = 7;
	return option - to;
}

/* Numbers of the first bytes; what matters is that they differ. */
static u32 first_sequence(const struct flow *flow, bool of_server)
{
	return (flow->number * 2654435761u) ^ (of_server ? 0x5bd1e995 : 0);
}

static unsigned int write_tcp(void *to, const struct flow *flow, enum step step)
{
	struct tcphdr *tcp = to;
	bool back = is_back(step);
	bool syn = step == STEP_OPEN || step == STEP_ANSWER;
	bool data = step == STEP_DATA || step == STEP_DATA_BACK;
	u32 sent = flow->round * DATA, got = sent;
	__be16 client = htons(client_port(flow)), server = htons(443);
	unsigned int options;

	/* The SYN counts as one, so does the FIN; who answers has got what was sent. */
	if (!syn)
		sent++;
	if (step != STEP_OPEN)
		got++;
	if (step == STEP_DATA_BACK)
		got += DATA;
	if (step == STEP_FIN_BACK || step == STEP_LAST)
		got++;
	if (step == STEP_LAST)
		sent++;
	memset(tcp, 0, sizeof(*tcp));
	tcp->source = back ? server : client;
	tcp->dest = back ? client : server;
	tcp->seq = htonl(first_sequence(flow, back) + sent);
	if (step != STEP_OPEN) {
		tcp->ack = 1;
		tcp->ack_seq = htonl(first_sequence(flow, !back) + got);
	}
	tcp->syn = syn;
	tcp->psh = data;
	tcp->fin = step == STEP_FIN || step == STEP_FIN_BACK;
	tcp->window = htons(syn ? 64240 : WINDOW);
	options = write_options((u8 *)(tcp + 1), flow, syn);
	tcp->doff = (sizeof(*tcp) + options) / 4;
	if (data)
		memset((u8 *)(tcp + 1) + options, 0, DATA);
	return sizeof(*tcp) + options + (data ? DATA : 0);
}

static unsigned int write_transport(void *to, const struct flow *flow, enum step step)
{
	switch (flow->protocol) {
	case IPPROTO_TCP:
		return write_tcp(to, flow, step);
	case IPPROTO_UDP:
		return write_udp(to, flow, is_back(step));
	default:
		return write_icmp(to, flow, is_back(step));
	}
}

static void write_ipv4(struct sk_buff *skb, const struct flow *flow, enum step step)
{
	struct iphdr *ip = (void *)skb->data;
	__be32 client = htonl(0x0a000001 + (flow->number >> PORT_BITS));
	__be32 server = htonl(0xc0000201);
	unsigned int len = sizeof(*ip) + write_transport(ip + 1, flow, step);

	memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = htons(len);
	ip->frag_off = htons(IP_DF);
	ip->ttl = 64;
	ip->protocol = flow->protocol;
	ip->saddr = is_back(step) ? server : client;
	ip->daddr = is_back(step) ? client : server;
	skb_put(skb, len);
	skb->protocol = htons(ETH_P_IP);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	skb_set_transport_header(skb, sizeof(*ip));
}

static void write_ipv6(struct sk_buff *skb, const struct flow *flow, enum step step)
{
	struct ipv6hdr *ip = (void *)skb->data;
	struct in6_addr client = { .s6_addr32 = {
		htonl(0x20010db8), htonl(0x00010000), 0, htonl(1 + (flow->number >> PORT_BITS)) } };
	struct in6_addr server = { .s6_addr32 = { htonl(0x20010db8), htonl(0x00020000), 0, htonl(1) } };
	unsigned int len = write_transport(ip + 1, flow, step);

	memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = htons(len);
	ip->nexthdr = flow->protocol == IPPROTO_ICMP ? IPPROTO_ICMPV6 : flow->protocol;
	ip->hop_limit = 64;
	ip->saddr = is_back(step) ? server : client;
	ip->daddr = is_back(step) ? client : server;
	skb_put(skb, sizeof(*ip) + len);
	skb->protocol = htons(ETH_P_IPV6);
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	IP6CB(skb)->nhoff = offsetof(struct ipv6hdr, nexthdr);
	skb_set_transport_header(skb, sizeof(*ip));
}

void packet_write(struct sk_buff *skb, const struct flow *flow, enum step step)
{
	skb_trim(skb, 0);
	skb_reset_network_header(skb);
	if (flow->ipv6)
		write_ipv6(skb, flow, step);
	else
		write_ipv4(skb, flow, step);
	skb->pkt_type = PACKET_HOST;
	skb->ip_summed = CHECKSUM_UNNECESSARY;
}
