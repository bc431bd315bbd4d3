# SPDX-License-Identifier: GPL-2.0
# Names that bindgen lets through, by subject. Sorted within a line's subject.
empty :=
space := $(empty) $(empty)
alternatives = $(subst $(space),|,$(strip $(1)))

raw_types := sk_buff net nf_hook_ops nf_hook_state nf_conn nf_ct_ext nf_ct_ext_id nf_conn_labels nf_conntrack_zone nf_conntrack_tuple nf_ct_hook \
	nf_sockopt_ops nf_defrag_hook ip_defrag_users ip6_defrag_users pernet_operations proc_ops seq_file seq_operations inode file \
	kmem_cache delayed_work kthread_work kthread_worker callback_head sock inet_sock sockaddr_in sockaddr_in6 spinlock_t \
	siphash_key_t xt_match xt_target xt_action_param xt_mtchk_param xt_tgchk_param \
	ctl_table ctl_table_header xt_mtdtor_param xt_tgdtor_param nf_conntrack nf_inet_hooks nf_ip_hook_priorities \
	nfnetlink_subsystem nfnl_callback nfnl_callback_type nfnl_info nlmsghdr nfgenmsg nla_policy nla_policy_validation \
	netlink_callback netlink_dump_control nfnetlink_groups nfnl_ct_hook nlattr \
	nft_expr_type nft_expr_ops nft_expr nft_regs nft_pktinfo nft_ctx nft_object nft_object_type nft_object_ops nft_verdicts nft_data_types

raw_vars := init_net jiffies nf_ctnetlink_has_listener nf_ct_hook nfnl_ct_hook nf_defrag_v6_hook \
	NFPROTO_.* PACKET_HOST PACKET_MULTICAST NF_INET_.* NF_IP_PRI_.* NF_ACCEPT NF_DROP NF_STOLEN NLA_.* CHECKSUM_UNNECESSARY CHECKSUM_PARTIAL ENOBUFS EINPROGRESS EAGAIN SO_ORIGINAL_DST IPCT_.* NFT_EXPR_STATEFUL NFT_EXPR_GC

raw_functions := nf_register_net_hooks nf_unregister_net_hooks nf_register_sockopt nf_unregister_sockopt \
	nf_checksum skb_copy_bits \
	register_pernet_subsys unregister_pernet_subsys \
	register_net_sysctl_sz unregister_net_sysctl_table proc_dointvec_minmax proc_dointvec_jiffies \
	proc_create_data remove_proc_entry seq_open seq_release seq_read seq_lseek seq_write \
	kmem_cache_free kmem_cache_free_bulk kmem_cache_destroy kfree call_rcu kvfree_call_rcu \
	siphash_2u64 get_random_bytes \
	cancel_delayed_work_sync kthread_queue_work kthread_destroy_worker try_module_get module_put __symbol_get __symbol_put \
	schedule_timeout_uninterruptible \
	nfnetlink_has_listeners nfnetlink_send nfnetlink_set_err nfnetlink_subsys_register nfnetlink_subsys_unregister __netlink_dump_start \
	nft_register_expr nft_unregister_expr nft_register_obj nft_unregister_obj nft_parse_register_load nft_parse_register_store nft_dump_register \
	xt_register_matches xt_unregister_matches xt_register_targets xt_unregister_targets \
	ipct_.*
