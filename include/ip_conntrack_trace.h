/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: /sys/kernel/tracing/events/ip_conntrack.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ip_conntrack

#if !defined(IP_CONNTRACK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define IP_CONNTRACK_TRACE_H

#include <linux/in6.h>
#include <linux/tracepoint.h>
#include <net/net_namespace.h>

#include "helpers.h"

/* A packet that belongs to no connection, as far as it can be read, and why. */
TRACE_EVENT(ip_conntrack_invalid,
	TP_PROTO(const struct ipct_refused *refused),
	TP_ARGS(refused),
	TP_STRUCT__entry(
		__field(unsigned int, netns)
		__field(u8, hook)
		__field(u8, protocol)
		__field(bool, dropped)
		__array(u8, src, sizeof(struct sockaddr_in6))
		__array(u8, dst, sizeof(struct sockaddr_in6))
		__string_len(reason, refused->reason, refused->reason_len)
	),
	TP_fast_assign(
		__entry->netns = refused->net->ns.inum;
		__entry->hook = refused->hook;
		__entry->protocol = refused->protocol;
		__entry->dropped = refused->dropped;
		ipct_sockaddr(__entry->src, refused->family, refused->src, refused->src_id);
		ipct_sockaddr(__entry->dst, refused->family, refused->dst, refused->dst_id);
		__assign_str(reason);
	),
	TP_printk("netns=%u hook=%u proto=%u src=%pISpc dst=%pISpc verdict=%s reason=\"%s\"",
		  __entry->netns, __entry->hook, __entry->protocol, __entry->src, __entry->dst,
		  __entry->dropped ? "drop" : "accept", __get_str(reason))
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE ip_conntrack_trace
#include <trace/define_trace.h>
