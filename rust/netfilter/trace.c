// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of include/ip_conntrack_trace.h, which only C can define. */
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/socket.h>
#include <linux/string.h>

#include "../../include/helpers.h"

/* An address and a port as the kernel's formats for them want them. */
static inline void ipct_sockaddr(u8 *to, u8 family, const __be32 address[4], __be16 port)
{
	if (family == AF_INET6) {
		struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;

		memset(six, 0, sizeof(*six));
		six->sin6_family = AF_INET6;
		six->sin6_port = port;
		memcpy(&six->sin6_addr, address, sizeof(six->sin6_addr));
	} else {
		struct sockaddr_in *four = (struct sockaddr_in *)to;

		memset(four, 0, sizeof(*four));
		four->sin_family = AF_INET;
		four->sin_port = port;
		four->sin_addr.s_addr = address[0];
	}
}

#define CREATE_TRACE_POINTS
#include "ip_conntrack_trace.h"

bool ipct_trace_wanted(void)
{
	return trace_ip_conntrack_invalid_enabled();
}

void ipct_trace_invalid(const struct ipct_refused *refused)
{
	trace_ip_conntrack_invalid(refused);
}
