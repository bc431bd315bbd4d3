/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions around what bindgen cannot see: macros and inline functions of
 * the kernel. Each does one thing; the reasoning is on the Rust side.
 */
#ifndef IP_CONNTRACK_HELPERS_H
#define IP_CONNTRACK_HELPERS_H

#include <linux/jiffies.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>

struct delayed_work;
struct inode;
struct kmem_cache;
struct kthread_work;
struct kthread_worker;
struct module;
struct net;
struct net_device;
struct sk_buff;
struct sock;
struct work_struct;
struct xt_tgchk_param;

/* bindgen takes HZ from the user-space header, where it is another number. */
enum { IPCT_HZ = HZ, IPCT_GFP_ATOMIC = GFP_ATOMIC };

void ipct_spin_lock_init(spinlock_t *lock);
void ipct_bucket_lock_init(spinlock_t *lock);
void ipct_guard_init(spinlock_t *lock);
void ipct_spin_lock_bh(spinlock_t *lock);
void ipct_bh_disable(void);
void ipct_bh_enable(void);
/* The lock where bottom halves may be off already, as they are for most packets: whether they have to
 * be switched on again.
 */
bool ipct_spin_lock_packet(spinlock_t *lock);
void ipct_spin_unlock_packet(spinlock_t *lock, bool on);
void ipct_spin_lock_nested(spinlock_t *lock);
void ipct_spin_unlock(spinlock_t *lock);
void ipct_spin_unlock_bh(spinlock_t *lock);

void *ipct_zeroed(size_t count, size_t size);
struct kmem_cache *ipct_cache_create(const char *name, unsigned int size,
				     unsigned int align);
void *ipct_cache_alloc_atomic(struct kmem_cache *cache);
/* How many it has put into `objects`: all, or none, if that takes more than the free memory. */
unsigned int ipct_cache_alloc_many(struct kmem_cache *cache, unsigned int count, void **objects);

/* Memory of a cache that each CPU has for its packets; how many may be taken before more is due. */
enum { IPCT_SPARES_ROUND = 256 };
void *ipct_spares_new(void);
/* Gives what is left back to the cache. Nobody may take or give any more. */
void ipct_spares_free(void *spares, struct kmem_cache *cache);
/* One of this CPU's, or zero; with the lowest bit set if more is due. */
unsigned long ipct_spare_take(void *spares);
/* How many a CPU lacks of `most`: none, before it has asked. For one caller at a time, as the next. */
unsigned int ipct_spares_lacking(void *spares, unsigned int cpu, unsigned int most);
void ipct_spares_give(void *spares, unsigned int cpu, void **objects, unsigned int count);

/* A thread that goes before all that is not urgent; NULL without memory. */
struct kthread_worker *ipct_worker_new(const char *name);
void ipct_work_init(struct kthread_work *work, void (*run)(struct kthread_work *work));

/* Whether the socket that has sent a packet wants its fragments to stay fragments (IP_NODEFRAG). */
bool ipct_keeps_fragments(const struct sk_buff *skb);
/* Whether a packet is on its way through a bridge. */
bool ipct_on_bridge(const struct sk_buff *skb);
/* Takes a fragment of an IPv4 packet: true if it waits for others or was dropped, and is not the caller's any
 * more; false if it was the last that was missing, and is all of the packet now.
 */
bool ipct_gather(struct net *net, struct sk_buff *skb, u32 user);

void ipct_delayed_work_init(struct delayed_work *work,
			    void (*run)(struct work_struct *work), bool lazy);
void ipct_delayed_work_queue(struct delayed_work *work, unsigned long delay);

struct net *ipct_dev_net(const struct net_device *dev);
/* The two ends of a socket: addresses and ports in network order, IPv4 in the first word. */
struct ipct_socket {
	struct net *net;
	__be32 local[4];
	__be32 remote[4];
	__be16 local_port;
	__be16 remote_port;
	__u8 protocol;
	__be32 flowinfo;
	int device;
};
void ipct_socket_ends(struct sock *sk, int family, struct ipct_socket *ends);
__u32 ipct_scope_id(const __be32 address[4], int device);
bool ipct_sctp_checksum_ok(struct sk_buff *skb, unsigned int offset);
bool ipct_is_vrf_master(const struct net_device *dev);
/* What a module was given as a parameter that is an array of unsigned short; how many. */
unsigned int ipct_param_array(const struct module *module, const char *name, u16 *to,
			      unsigned int room);
/* The transport protocol that a rule names, or -1. */
int ipct_rule_protocol(const struct xt_tgchk_param *rule);
u32 ipct_jhash(u32 word, u32 seed);
bool ipct_skb_linearize(struct sk_buff *skb);
u32 ipct_skb_mark(const struct sk_buff *skb);
void ipct_skb_set_mark(struct sk_buff *skb, u32 mark);
u32 ipct_skb_secmark(const struct sk_buff *skb);
void ipct_skb_set_secmark(struct sk_buff *skb, u32 mark);
bool ipct_net_ratelimit(void);
/* Whether the task administers the network of the machine, not of some namespace alone. */
bool ipct_is_admin(void);
/* Says in the packet log of a namespace why a packet is invalid. */
void ipct_log_invalid(struct net *net, u8 family, const struct sk_buff *skb, u8 protocol,
		      const char *reason, int len);
/* A packet that belongs to no connection: addresses in network order, IPv4 in the first word. */
struct ipct_refused {
	const struct net *net;
	const char *reason;
	int reason_len;
	__be32 src[4];
	__be32 dst[4];
	__be16 src_id;
	__be16 dst_id;
	__u8 family;
	__u8 protocol;
	__u8 hook;
	bool dropped;
};
/* Whether anybody reads the tracepoint. */
bool ipct_trace_wanted(void);
void ipct_trace_invalid(const struct ipct_refused *refused);
/* Loads a packet log unless there is one. May sleep. */
void ipct_load_log(void);
/* Rows of counters, one for each CPU. */
void *ipct_counters_alloc(size_t len);
void ipct_counters_free(void *counters);
void ipct_counter_increment(void *counters, size_t at);
u64 ipct_counter_read(void *counters, unsigned int cpu, size_t at);
/* The first CPU that there may be, from a number on; -1 if none. */
int ipct_possible_cpu(unsigned int from);
void *ipct_net_generic(const struct net *net, unsigned int id);
int ipct_request_module(const char *name);
/* The same, and does not wait for it. */
int ipct_request_module_nowait(const char *name);
bool ipct_net_get(struct net *net);
void ipct_net_put(struct net *net);
void *ipct_proc_data(const struct inode *inode);
u64 ipct_total_ram(void);
u64 ipct_real_ns(void);
/* How many bytes were not copied. */
size_t ipct_copy_to_user(void __user *to, const void *from, size_t len);
/* The text of a security mark: its length, or an error. */
int ipct_secctx(u32 mark, char *room, unsigned int len);
void ipct_cond_resched(void);
/* The number of the socket that has sent a netlink message. */
u32 ipct_netlink_port(const struct sk_buff *skb);
/* The namespace of the socket that a packet belongs to. */
struct net *ipct_skb_net(const struct sk_buff *skb);
/* Adds bytes at the end of a packet, if there is room. */
bool ipct_skb_append(struct sk_buff *skb, const void *bytes, size_t len);
/* A packet for a message, its room (set to zero), its end. */
struct sk_buff *ipct_message_new(size_t room);
void *ipct_message_room(struct sk_buff *skb, size_t *len);
void ipct_message_end(struct sk_buff *skb, size_t len);
void ipct_message_free(struct sk_buff *skb);
/* Sends a netlink message to a socket. */
int ipct_netlink_answer(struct sock *from, u32 port, const void *message, size_t len);
#endif
