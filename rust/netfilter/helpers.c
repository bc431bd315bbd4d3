// SPDX-License-Identifier: GPL-2.0
/* Bodies of include/helpers.h. */
#include <linux/crc32.h>
#include <linux/jhash.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/llist.h>
#include <linux/local_lock.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/netfilter.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sctp.h>
#include <linux/security.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netfilter/nf_log.h>
#include <net/netlink.h>
#include <net/netns/generic.h>
#include <net/sock.h>

#include "../../include/helpers.h"

/* So modprobe has done both when it ends; and `modprobe -r` takes both away. */
MODULE_SOFTDEP("post: ip_conntrack_netlink");

/* Lockdep knows locks by the place of their spin_lock_init(): an entry's
 * lock, a bucket's lock and a guard are three classes, so they have three
 * functions.
 */
void ipct_spin_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

void ipct_bucket_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

void ipct_guard_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

void ipct_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

void ipct_bh_disable(void)
{
	local_bh_disable();
}

void ipct_bh_enable(void)
{
	local_bh_enable();
}

bool ipct_spin_lock_packet(spinlock_t *lock)
{
	if (likely(in_softirq())) {
		spin_lock(lock);
		return false;
	}
	spin_lock_bh(lock);
	return true;
}

void ipct_spin_unlock_packet(spinlock_t *lock, bool on)
{
	if (unlikely(on))
		spin_unlock_bh(lock);
	else
		spin_unlock(lock);
}

/* The second of two bucket locks; bottom halves are off already. */
void ipct_spin_lock_nested(spinlock_t *lock)
{
	spin_lock_nested(lock, SINGLE_DEPTH_NESTING);
}

void ipct_spin_unlock(spinlock_t *lock)
{
	spin_unlock(lock);
}

void ipct_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

/*
 * In one piece if that can be had. It would rather have none than that somebody is killed for it, so it does not
 * even try to have more than half of what there is.
 */
void *ipct_zeroed(size_t count, size_t size)
{
	if (count > SZ_1M / size && count / PAGE_SIZE * size > si_mem_available() / 2)
		return NULL;
	return kvcalloc(count, size, GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
}

/* Never merged with another cache: a leak shows under its own name. */
struct kmem_cache *ipct_cache_create(const char *name, unsigned int size,
				     unsigned int align)
{
	return kmem_cache_create(name, size, align, SLAB_NO_MERGE, NULL);
}

void *ipct_cache_alloc_atomic(struct kmem_cache *cache)
{
	return kmem_cache_alloc(cache, GFP_ATOMIC);
}

unsigned int ipct_cache_alloc_many(struct kmem_cache *cache, unsigned int count, void **objects)
{
	return kmem_cache_alloc_bulk(cache, GFP_NOWAIT | __GFP_NOWARN, count, objects) ? count : 0;
}

/* What one CPU has. It alone takes, with bottom halves off, and one thread gives. */
struct spares {
	struct llist_node *own;
	struct llist_head given;
	u32 taken;
	u32 handed;
	u32 asked; /* In jiffies, when there was none; zero before. */
	local_lock_t lock;
};

void *ipct_spares_new(void)
{
	struct spares __percpu *spares = alloc_percpu(struct spares);
	int cpu;

	if (!spares)
		return NULL;
	for_each_possible_cpu(cpu)
		local_lock_init(&per_cpu_ptr(spares, cpu)->lock);
	return (void __force *)spares;
}

static void give_back(struct kmem_cache *cache, struct llist_node *node)
{
	while (node) {
		struct llist_node *next = node->next;

		kmem_cache_free(cache, node);
		node = next;
	}
}

void ipct_spares_free(void *spares, struct kmem_cache *cache)
{
	struct spares __percpu *all = (struct spares __percpu *)spares;
	int cpu;

	for_each_possible_cpu(cpu) {
		give_back(cache, per_cpu_ptr(all, cpu)->own);
		give_back(cache, per_cpu_ptr(all, cpu)->given.first);
	}
	free_percpu(all);
}

unsigned long ipct_spare_take(void *spares)
{
	struct spares __percpu *all = (struct spares __percpu *)spares;
	bool on = !in_softirq();
	unsigned long due = 1;
	struct llist_node *one;
	struct spares *mine;

	if (unlikely(on))
		local_bh_disable();
	local_lock_nested_bh(&all->lock);
	mine = this_cpu_ptr(all);
	one = mine->own ?: llist_del_all(&mine->given);
	if (likely(one)) {
		mine->own = one->next;
		WRITE_ONCE(mine->taken, mine->taken + 1);
		due = mine->taken % IPCT_SPARES_ROUND == 0;
	} else if (mine->asked == (u32)jiffies) {
		due = 0; /* No more than once a tick, where there is no memory. */
	} else {
		WRITE_ONCE(mine->asked, (u32)jiffies ?: 1);
	}
	local_unlock_nested_bh(&all->lock);
	if (unlikely(on))
		local_bh_enable();
	return (unsigned long)one | due;
}

unsigned int ipct_spares_lacking(void *spares, unsigned int cpu, unsigned int most)
{
	struct spares *of = per_cpu_ptr((struct spares __percpu *)spares, cpu);

	return READ_ONCE(of->asked) ? most - min(most, of->handed - READ_ONCE(of->taken)) : 0;
}

void ipct_spares_give(void *spares, unsigned int cpu, void **objects, unsigned int count)
{
	struct spares *of = per_cpu_ptr((struct spares __percpu *)spares, cpu);
	struct llist_node *first = NULL;
	unsigned int at;

	if (!count)
		return;
	/* In their order: neighbours in memory go to connections that begin one after the other. */
	for (at = count; at--;) {
		struct llist_node *node = objects[at];

		node->next = first;
		first = node;
	}
	of->handed += count;
	llist_add_batch(first, objects[count - 1], &of->given);
}

struct kthread_worker *ipct_worker_new(const char *name)
{
	struct kthread_worker *worker = kthread_run_worker(0, "%s", name);

	if (IS_ERR(worker))
		return NULL;
	sched_set_fifo_low(worker->task);
	return worker;
}

void ipct_work_init(struct kthread_work *work, void (*run)(struct kthread_work *work))
{
	kthread_init_work(work, run);
}

void ipct_delayed_work_init(struct delayed_work *work,
			    void (*run)(struct work_struct *work), bool lazy)
{
	if (lazy)
		INIT_DEFERRABLE_WORK(work, run);
	else
		INIT_DELAYED_WORK(work, run);
}

void ipct_delayed_work_queue(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(system_power_efficient_wq, work, delay);
}

struct net *ipct_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

void ipct_socket_ends(struct sock *sk, int family, struct ipct_socket *ends)
{
	memset(ends, 0, sizeof(*ends));
	lock_sock(sk);
	ends->net = sock_net(sk);
	ends->local_port = inet_sk(sk)->inet_sport;
	ends->remote_port = inet_sk(sk)->inet_dport;
	ends->protocol = sk->sk_protocol;
	ends->device = sk->sk_bound_dev_if;
	if (family == PF_INET) {
		ends->local[0] = inet_sk(sk)->inet_rcv_saddr;
		ends->remote[0] = inet_sk(sk)->inet_daddr;
	}
#if IS_ENABLED(CONFIG_IPV6)
	if (family == PF_INET6) {
		memcpy(ends->local, &sk->sk_v6_rcv_saddr, sizeof(ends->local));
		memcpy(ends->remote, &sk->sk_v6_daddr, sizeof(ends->remote));
		if (inet6_sk(sk))
			ends->flowinfo = inet6_sk(sk)->flow_label & IPV6_FLOWINFO_MASK;
	}
#endif
	release_sock(sk);
}

__u32 ipct_scope_id(const __be32 address[4], int device)
{
	return ipv6_iface_scope_id((const struct in6_addr *)address, device);
}

/* Unlike the kernel's own function this one does not write to the packet, which may be shared. */
bool ipct_sctp_checksum_ok(struct sk_buff *skb, unsigned int offset)
{
#if IS_ENABLED(CONFIG_NET_CRC32C)
	const unsigned int at = offsetof(struct sctphdr, checksum);
	const __le32 none = 0;
	__le32 room;
	const __le32 *found;
	u32 crc;

	if (skb->ip_summed != CHECKSUM_NONE)
		return true;
	found = skb_header_pointer(skb, offset + at, sizeof(room), &room);
	if (!found)
		return false;
	crc = skb_crc32c(skb, offset, at, ~0);
	crc = crc32c(crc, &none, sizeof(none));
	crc = skb_crc32c(skb, offset + sizeof(struct sctphdr),
			 skb->len - offset - sizeof(struct sctphdr), crc);
	if (cpu_to_le32(~crc) != *found)
		return false;
	skb->ip_summed = CHECKSUM_UNNECESSARY;
#endif
	/* A kernel that knows no SCTP cannot compute it: who receives the packet will. */
	return true;
}

bool ipct_is_vrf_master(const struct net_device *dev)
{
	return dev && netif_is_l3_master(dev);
}

unsigned int ipct_param_array(const struct module *module, const char *name, u16 *to,
			      unsigned int room)
{
	unsigned int at, count;

	for (at = 0; at < module->num_kp; at++) {
		const struct kernel_param *param = &module->kp[at];

		if (strcmp(param->name, name) || param->ops != &param_array_ops ||
		    param->arr->elemsize != sizeof(*to) || !param->arr->num)
			continue;
		count = min(*param->arr->num, room);
		memcpy(to, param->arr->elem, count * sizeof(*to));
		return count;
	}
	return 0;
}

int ipct_rule_protocol(const struct xt_tgchk_param *rule)
{
	if (rule->family == NFPROTO_IPV4) {
		const struct ipt_ip *ip = rule->entryinfo;

		return ip->proto && !(ip->invflags & XT_INV_PROTO) ? ip->proto : -1;
	}
	if (rule->family == NFPROTO_IPV6) {
		const struct ip6t_ip6 *ip = rule->entryinfo;

		return ip->proto && !(ip->invflags & XT_INV_PROTO) ? ip->proto : -1;
	}
	return -1;
}

u32 ipct_jhash(u32 word, u32 seed)
{
	return jhash_1word(word, seed);
}

bool ipct_skb_linearize(struct sk_buff *skb)
{
	return skb_linearize(skb) == 0;
}

u32 ipct_skb_mark(const struct sk_buff *skb)
{
	return skb->mark;
}

void ipct_skb_set_mark(struct sk_buff *skb, u32 mark)
{
	skb->mark = mark;
}

u32 ipct_skb_secmark(const struct sk_buff *skb)
{
#ifdef CONFIG_NETWORK_SECMARK
	return skb->secmark;
#else
	return 0;
#endif
}

void ipct_skb_set_secmark(struct sk_buff *skb, u32 mark)
{
#ifdef CONFIG_NETWORK_SECMARK
	skb->secmark = mark;
#endif
}

bool ipct_is_admin(void)
{
	return capable(CAP_NET_ADMIN);
}

bool ipct_net_ratelimit(void)
{
	return net_ratelimit();
}

void *ipct_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

int ipct_request_module(const char *name)
{
	return request_module("%s", name);
}

int ipct_request_module_nowait(const char *name)
{
	return request_module_nowait("%s", name);
}

bool ipct_net_get(struct net *net)
{
	return maybe_get_net(net);
}

void ipct_net_put(struct net *net)
{
	put_net(net);
}

void *ipct_proc_data(const struct inode *inode)
{
	return pde_data(inode);
}

u64 ipct_total_ram(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

void ipct_cond_resched(void)
{
	cond_resched();
}

bool ipct_keeps_fragments(const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk;

	return sk && sk_fullsock(sk) && sk->sk_family == PF_INET && inet_test_bit(NODEFRAG, sk);
}

bool ipct_on_bridge(const struct sk_buff *skb)
{
	return nf_bridge_in_prerouting(skb);
}

bool ipct_gather(struct net *net, struct sk_buff *skb, u32 user)
{
	bool taken;

	local_bh_disable();
	taken = ip_defrag(net, skb, user) != 0;
	local_bh_enable();
	/* What came in parts may go on in parts, whatever the first of them says of that. */
	if (!taken)
		skb->ignore_df = 1;
	return taken;
}

void ipct_log_invalid(struct net *net, u8 family, const struct sk_buff *skb, u8 protocol,
		      const char *reason, int len)
{
	nf_log_packet(net, family, 0, skb, NULL, NULL, NULL, "nf_ct_proto_%d: %.*s ", protocol, len,
		      reason);
}

void ipct_load_log(void)
{
	u8 family;

	for (family = 0; family < NFPROTO_NUMPROTO; family++) {
		if (nf_log_is_registered(family))
			return;
	}
	/* Nobody waits: a namespace that goes waits for whoever is in one of its files, and a module that is loaded for it. */
	request_module_nowait("%s", "nf_log_syslog");
}

void *ipct_counters_alloc(size_t len)
{
	return (void __force *)__alloc_percpu(array_size(len, sizeof(u64)), sizeof(u64));
}

void ipct_counters_free(void *counters)
{
	free_percpu((void __percpu *)counters);
}

void ipct_counter_increment(void *counters, size_t at)
{
	this_cpu_inc(((u64 __percpu *)counters)[at]);
}

u64 ipct_counter_read(void *counters, unsigned int cpu, size_t at)
{
	return READ_ONCE(per_cpu_ptr((u64 __percpu *)counters, cpu)[at]);
}

int ipct_possible_cpu(unsigned int from)
{
	unsigned int cpu = from;

	for (; cpu < nr_cpu_ids; cpu++) {
		if (cpu_possible(cpu))
			return cpu;
	}
	return -1;
}

size_t ipct_copy_to_user(void __user *to, const void *from, size_t len)
{
	return copy_to_user(to, from, len);
}

u64 ipct_real_ns(void)
{
	return ktime_get_real_ns();
}

int ipct_secctx(u32 mark, char *room, unsigned int len)
{
	struct lsm_context context;
	int copied = -E2BIG;
	int error;

	error = security_secid_to_secctx(mark, &context);
	if (error < 0)
		return error;
	if (context.len <= len) {
		/* Some count the end of the text. */
		copied = strnlen(context.context, context.len);
		memcpy(room, context.context, copied);
	}
	security_release_secctx(&context);
	return copied;
}

u32 ipct_netlink_port(const struct sk_buff *skb)
{
	return NETLINK_CB(skb).portid;
}

struct net *ipct_skb_net(const struct sk_buff *skb)
{
	return sock_net(skb->sk);
}

bool ipct_skb_append(struct sk_buff *skb, const void *bytes, size_t len)
{
	if (len > skb_tailroom(skb))
		return false;
	skb_put_data(skb, bytes, len);
	return true;
}

struct sk_buff *ipct_message_new(size_t room)
{
	return alloc_skb(room, GFP_ATOMIC);
}

void *ipct_message_room(struct sk_buff *skb, size_t *len)
{
	*len = skb_tailroom(skb);
	return memset(skb_tail_pointer(skb), 0, *len);
}

void ipct_message_end(struct sk_buff *skb, size_t len)
{
	skb_put(skb, len);
}

void ipct_message_free(struct sk_buff *skb)
{
	kfree_skb(skb);
}

int ipct_netlink_answer(struct sock *from, u32 port, const void *message, size_t len)
{
	struct sk_buff *skb = alloc_skb(len, GFP_KERNEL);
	int error;

	if (!skb)
		return -ENOMEM;
	skb_put_data(skb, message, len);
	error = nlmsg_unicast(from, skb, port);
	return error == -EAGAIN ? -ENOBUFS : error;
}
