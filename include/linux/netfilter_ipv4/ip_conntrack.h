/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connection tracking, for modules in C: what a packet is to its connection, the status bits of
 * a connection, and how to get from a packet to its connection. The values are those of the
 * kernel; ip_conntrack's connections begin with its struct nf_conn up to the member `proto`.
 */
#ifndef _IP_CONNTRACK_H
#define _IP_CONNTRACK_H

/* enum ip_conntrack_info, enum ip_conntrack_status, enum ip_conntrack_dir */
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
/* enum tcp_conntrack */
#include <linux/netfilter/nf_conntrack_tcp.h>
/* struct nf_conn, nf_ct_get(), nf_ct_tuple() */
#include <net/netfilter/nf_conntrack.h>

/* The connection of a packet, or NULL; `ctinfo` says what the packet is to it. */
#define ip_conntrack_get(skb, ctinfo) nf_ct_get(skb, ctinfo)

#endif /* _IP_CONNTRACK_H */
