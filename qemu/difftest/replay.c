// SPDX-License-Identifier: GPL-2.0
/*
 * Sends packets through the hooks of a network namespace and tells what the connection tracker
 * made of each, whichever tracker is loaded: of a connection it reads only what every reader of
 * skb->_nfct in the kernel may read.
 *
 * /proc/ip_conntrack_replay: what is written are requests, what is then read are results, one for
 * each packet; both in the layout of the structures below, host order. A request belongs to the
 * network namespace of who writes it.
 */
#include <linux/delay.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/proc_fs.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <net/ip.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/net_namespace.h>

enum way {
	WAY_FORWARD = 0,	/* PREROUTING, POSTROUTING */
	WAY_OUT = 1,		/* OUTPUT, POSTROUTING */
	WAY_IN = 2,		/* PREROUTING, INPUT */
	WAY_SLEEP = 3,		/* no packet: let time pass */
	WAY_BLOCKED = 0x80,	/* with one of the above: a rule drops it on the way */
};

struct request {
	__u16 len;		/* of the packet that follows, from its network header on */
	__u8 way;
	__u8 unused;
	__u32 milliseconds;	/* WAY_SLEEP: how long; else how long after the packet */
};

enum verdict { VERDICT_PASSED, VERDICT_DROPPED, VERDICT_STOLEN };

struct result {
	__u8 first, last;	/* enum verdict at the first and at the last hook */
	__u8 ctinfo;		/* after the first hook; 0xff: not tracked */
	__u8 last_ctinfo;	/* after the last */
	__u32 status;
	__u32 last_status;
	__s32 timeout;		/* what is left at the end, in milliseconds */
	struct nf_conntrack_tuple tuple[2];
};

struct session {
	struct mutex lock;
	u8 *results;
	size_t used, read;
};

/* Of what one write may ask for. */
#define MOST_RESULTS	(32u << 20)
#define MOST_REQUESTS	(16u << 20)

/* Where a packet is, and what is known of it; its control block belongs to the network layer. */
struct on_the_way {
	struct result *result;
	bool first;
};

static DEFINE_PER_CPU(struct on_the_way, current_packet);

static u8 ctinfo_of(const struct sk_buff *skb)
{
	enum ip_conntrack_info ctinfo;

	return nf_ct_get(skb, &ctinfo) || ctinfo == IP_CT_UNTRACKED ? ctinfo : 0xff;
}

static int after_hook(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	struct on_the_way *way = this_cpu_ptr(&current_packet);
	struct result *result = way->result;
	enum ip_conntrack_info ctinfo;
	struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	if (way->first) {
		result->first = VERDICT_PASSED;
		result->ctinfo = ctinfo_of(skb);
		if (ct) {
			result->status = ct->status;
			result->tuple[0] = ct->tuplehash[0].tuple;
			result->tuple[1] = ct->tuplehash[1].tuple;
		}
		return 1;
	}
	result->last = VERDICT_PASSED;
	result->last_ctinfo = ctinfo_of(skb);
	if (ct) {
		result->last_status = ct->status;
		result->timeout = ct->status & IPS_CONFIRMED ?
			jiffies_to_msecs(max_t(s32, ct->timeout - nfct_time_stamp, 0)) :
			jiffies_to_msecs(ct->timeout);
	}
	kfree_skb(skb);
	return 0;
}

static int through(u8 pf, unsigned int hook, struct net *net, struct sk_buff *skb,
		   struct net_device *in, struct net_device *out, struct on_the_way note, u8 *verdict)
{
	int ret;

	*this_cpu_ptr(&current_packet) = note;
	*verdict = 0xfe;
	ret = NF_HOOK(pf, hook, net, NULL, skb, in, out, after_hook);
	if (*verdict == 0xfe)
		*verdict = ret < 0 ? VERDICT_DROPPED : VERDICT_STOLEN;
	return *verdict == VERDICT_PASSED;
}

static int replay(struct net *net, struct net_device *dev, const struct request *request,
		  const u8 *packet, struct result *result)
{
	unsigned int way = request->way & ~WAY_BLOCKED;
	u8 pf = packet[0] >> 4 == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	struct on_the_way note = { .result = result, .first = true };
	struct sk_buff *skb;

	skb = alloc_skb(LL_MAX_HEADER + request->len, GFP_KERNEL);
	if (!skb)
		return -ENOMEM;
	skb_reserve(skb, LL_MAX_HEADER);
	skb_put_data(skb, packet, request->len);
	skb_reset_network_header(skb);
	skb->protocol = pf == NFPROTO_IPV6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	skb->dev = dev;
	skb->pkt_type = PACKET_HOST;
	if (pf == NFPROTO_IPV6) {
		memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
		IP6CB(skb)->nhoff = offsetof(struct ipv6hdr, nexthdr);
	} else {
		memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
		if (request->len >= sizeof(struct iphdr))
			skb_set_transport_header(skb, ip_hdr(skb)->ihl * 4);
	}
	result->last = VERDICT_DROPPED;
	local_bh_disable();
	if (!through(pf, way == WAY_OUT ? NF_INET_LOCAL_OUT : NF_INET_PRE_ROUTING, net, skb,
		     way == WAY_OUT ? NULL : dev, way == WAY_OUT ? dev : NULL, note, &result->first))
		goto out;
	if (request->way & WAY_BLOCKED) {
		kfree_skb(skb);
		goto out;
	}
	note.first = false;
	through(pf, way == WAY_IN ? NF_INET_LOCAL_IN : NF_INET_POST_ROUTING, net, skb,
		way == WAY_IN ? dev : NULL, way == WAY_IN ? NULL : dev, note, &result->last);
out:
	local_bh_enable();
	return 0;
}

/* Whether a request of a length fits: what a header needs is there. */
static bool sensible(const struct request *request, size_t left)
{
	if ((request->way & ~WAY_BLOCKED) > WAY_SLEEP || request->len > left)
		return false;
	return (request->way & ~WAY_BLOCKED) == WAY_SLEEP || request->len >= 1;
}

/* Exactly: the kernel's ordinary timers are the coarser the longer they run. */
static void wait(u32 milliseconds)
{
	unsigned long us = milliseconds * (unsigned long)USEC_PER_MSEC;

	usleep_range_idle(us, us);
}

static ssize_t run(struct session *session, struct net *net, const u8 *at, const u8 *end)
{
	const u8 *begin = at;
	int err;

	while (end - at >= (ptrdiff_t)sizeof(struct request)) {
		const struct request *request = (const void *)at;
		struct result result = { .ctinfo = 0xff, .last_ctinfo = 0xff };

		at += sizeof(*request);
		if (!sensible(request, end - at))
			return -EINVAL;
		if ((request->way & ~WAY_BLOCKED) == WAY_SLEEP) {
			wait(request->milliseconds);
			continue;
		}
		if (session->used + sizeof(result) > MOST_RESULTS)
			return -ENOSPC;
		err = replay(net, net->loopback_dev, request, at, &result);
		if (err)
			return err;
		at += request->len;
		memcpy(session->results + session->used, &result, sizeof(result));
		session->used += sizeof(result);
		if (request->milliseconds)
			wait(request->milliseconds);
		else
			cond_resched();
		if (signal_pending(current))
			return -EINTR;
	}
	return at == end ? end - begin : -EINVAL;
}

static ssize_t replay_write(struct file *file, const char __user *from, size_t count, loff_t *ppos)
{
	struct session *session = file->private_data;
	ssize_t ret;
	u8 *requests;

	if (count > MOST_REQUESTS)
		return -EFBIG;
	requests = vmalloc(count);
	if (!requests)
		return -ENOMEM;
	ret = -EFAULT;
	if (!copy_from_user(requests, from, count)) {
		mutex_lock(&session->lock);
		session->used = 0;
		session->read = 0;
		ret = run(session, current->nsproxy->net_ns, requests, requests + count);
		mutex_unlock(&session->lock);
	}
	vfree(requests);
	return ret;
}

static ssize_t replay_read(struct file *file, char __user *to, size_t count, loff_t *ppos)
{
	struct session *session = file->private_data;
	ssize_t ret;

	mutex_lock(&session->lock);
	ret = min(count, session->used - session->read);
	if (copy_to_user(to, session->results + session->read, ret))
		ret = -EFAULT;
	else
		session->read += ret;
	mutex_unlock(&session->lock);
	return ret;
}

static int replay_open(struct inode *inode, struct file *file)
{
	struct session *session = kzalloc(sizeof(*session), GFP_KERNEL);

	if (!session)
		return -ENOMEM;
	session->results = vmalloc(MOST_RESULTS);
	if (!session->results) {
		kfree(session);
		return -ENOMEM;
	}
	mutex_init(&session->lock);
	file->private_data = session;
	return 0;
}

static int replay_release(struct inode *inode, struct file *file)
{
	struct session *session = file->private_data;

	vfree(session->results);
	kfree(session);
	return 0;
}

static const struct proc_ops operations = {
	.proc_open = replay_open,
	.proc_read = replay_read,
	.proc_write = replay_write,
	.proc_release = replay_release,
};

static int __init replay_init(void)
{
	return proc_create("ip_conntrack_replay", 0600, NULL, &operations) ? 0 : -ENOMEM;
}

static void __exit replay_exit(void)
{
	remove_proc_entry("ip_conntrack_replay", NULL);
}

module_init(replay_init);
module_exit(replay_exit);
MODULE_DESCRIPTION("Sends packets through a namespace's hooks, for tests of connection trackers");
MODULE_LICENSE("GPL");
