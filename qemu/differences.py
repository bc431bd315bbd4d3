# SPDX-License-Identifier: GPL-2.0
"""Where we differ from the stock tracker on purpose, each with its reason; the tests read it here.

None of them lets a packet in that stock keeps out, but for two that say so: "templates" (in the table
raw, behind a rule with the target CT) and "connlimit: ends".
"""

# Of /proc/sys/net/netfilter/nf_conntrack_*.
OUR_SETTINGS = {
    "helper": "stock has given up helpers by port; here the administrator who loads a helper's module says so, in the "
              "first namespace, and children must ask for it",
    "full_is_invalid": "the seeds' way with a full table: INVALID, where a rule can see it, in place of dropped",
}

# What no test compares.
OTHERS = {
    "ftp: asked for": "a server's 227 or 229 counts only as the answer to a PASV or EPSV, and each of these once",
    "ftp, irc: beginning": "a client whose first line is none of the protocol (an HTTP request, say) announces nothing",
    "irc: message": "an offer counts only as a whole CTCP message in a line PRIVMSG of its own",
    "ports": "no hole is opened to a user's port below 1024 (ftp, irc, talk)",
    "max": "who has CAP_NET_ADMIN on the machine may give a namespace fewer connections than others have, by nf_conntrack_max "
           "there; stock has one number for all",
    "eviction": "a full table is searched further than stock's eight buckets for an entry that may go",
    "timeouts": "a negative timeout is refused; stock takes it for none",
    "retransmissions": "the count of equal acknowledgements stops at 255, where stock's begins anew and gives the "
                       "long timeout back",
    "options": "TCP options behind the first 256 bytes of a packet are not seen",
    "netlink: shifts": "a shift of sequence numbers is kept where the connection was made with one, and a malformed one is "
                       "refused of any connection; stock keeps them of all that users have made, and does not look at others",
    "netlink: GRE": "of a connection that a user has made packets set the time as of any other; stock's has timeouts of "
                    "zero, and keeps the time that the user gave",
    "netlink: counters": "of a list whose counters begin anew none are lost; stock loses those of the entry that did not "
                         "fit into a part of the list",
    "netlink: times of expectations": "a time of more than 2^31 ticks becomes that; stock's begins anew at 2^32",
    "netlink: expectations over": "what is over is in no list; stock shows it among those of one connection",
    "use= of masters": "what is expected holds the connection that has announced it, and is counted in its use=",
    "event masks": "a rule's --ctevents and --expevents count also where nobody listened when the rule was made; stock "
                   "forgets them then, unless nf_conntrack_events is 1",
    "templates": "what carries a rule's wish (target CT) and has not met the tracker is INVALID to conntrack, state and "
                 "connmark, as any packet before the tracker; stock takes it for a new connection, and marks the rule's",
    "ctexpire": "before a connection is confirmed its time has not begun, and is 0; stock compares a span of time with a "
                "point in it",
    "questions": "a rule of the match conntrack that asks what is not known is refused; stock takes no notice of that part",
    "connlimit: ends": "the last packets of an address's last connection pass; stock drops them where a rule looks at all",
    "connlimit: no connection": "what is not tracked counts itself alone; stock counts others of the moment too",
    "revisions": "a revision that there is not is ENOENT for all matches, for ours are registered by family",
    "policies: uses": "a rule counts once among the users of its timeout policy; stock counts it twice",
    "policies: long times": "a timeout of more than 2^31 ticks becomes that; stock's begins anew at 2^32",
    "policies: lists": "a list of policies that are deleted meanwhile goes on behind them; stock's ends",
    "policies: unload": "the module goes with policies that no rule has, and they with it; stock's stays",
    "queues: rules' wishes": "a packet that waits in a queue before it was tracked has no connection; stock tells of the "
                             "rule's template, and lets the verdict change it for all packets. It is tracked as the rule "
                             "said even if the rule has gone meanwhile; with stock the policy goes with the rule",
    "log of INVALID": "with the log of a packet that would begin a connection and may not no connection is told",
    "buckets": "nf_conntrack_buckets is the least number of buckets, the power of two in what was written, from 1024 on; "
               "there are more while there are more than one connection for each; where there is no memory for so many, "
               "the writer is told and nobody is killed for it",
    "nft: events": "ct event set says of a connection that begins which events are told; stock changes it later, too",
    "nft: several packets": "ct helper, ct timeout and ct event set give nothing to a connection whose first packet was copied before "
                            "(frames to a group, NFQUEUE's clones)",
    "nft: objects": "there are none of ct count (which the program nft cannot make, either)",
    "nft: expectations": "what ct expectation announces waits for whole seconds, has no helper's name, and is of the object's network "
                         "protocol; stock reads the beginnings of addresses of IPv6 as ones of IPv4",
    "nft: helpers": "in tables of inet the object of a helper is told as one of both families; stock's for irc tells of IPv4 "
                    "alone",
    "netlink: masters": "a user cannot name a connection as master that has a master itself",
}


def quote_of_short_header(packet, stock, ours):
    """An IPv4 header is of 20 bytes at least (RFC 791); stock believes a quoted one that claims less."""
    if packet[0] >> 4 != 4:
        return False
    icmp = (packet[0] & 15) * 4
    quoted = packet[icmp + 8:icmp + 9]
    return (packet[9] == 1 and quoted and quoted[0] & 15 < 5
            and stock.ctinfo in ("RELATED", "RELATED_REPLY") and ours.ctinfo == "-")


# What the trackers may make of one packet: whether this explains a difference.
OF_PACKETS = (quote_of_short_header,)
