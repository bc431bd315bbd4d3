# SPDX-License-Identifier: GPL-2.0
"""Rules of the firewall, and what they count. Starting programs is slow in the guest, so all of a
test's rules are set by one, and read by one."""

import difflib
import re

import world as w

STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")

# All programs that make rules.
VARIANTS = ("iptables-legacy", "iptables-nft", "ip6tables-legacy", "ip6tables-nft")


def count_states(world, *chains, condition="", iptables="iptables-legacy"):
    """Adds a rule for each state to each chain of the firewall."""
    rules = [f"-A {chain} {condition} -m conntrack --ctstate {state}" for chain in chains for state in STATES]
    text = "\\n".join(["*filter", *rules, "COMMIT"])
    w.sh(f"printf '{text}\\n' | ip netns exec firewall {iptables}-restore --noflush")


def states(world, chain, iptables="iptables-legacy"):
    """What these rules have counted, without zeros."""
    lines = world.firewall(f"{iptables} -L {chain} -v -n -x").splitlines()[2:]
    found = dict(zip(STATES, (int(line.split()[0]) for line in lines), strict=True))
    return {state: count for state, count in found.items() if count}


def restore(iptables, **tables):
    """Sets tables of the firewall to lists of rules, which are as iptables-save has them."""
    text = "".join("\n".join([f"*{table}", *rules, "COMMIT", ""]) for table, rules in tables.items())
    w.run_inside("firewall", f"{iptables}-restore", input=text)


def save(iptables, *options):
    """What iptables-save says of the firewall, with what was counted, without remarks."""
    text = w.run_inside("firewall", f"{iptables}-save", "-c", *options)
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))


def counted(iptables, table):
    """The rules of a table with how many packets each has counted, in their order."""
    lines = re.findall(r"^\[(\d+):\d+\] (-A .*)$", save(iptables, "-t", table), re.MULTILINE)
    return [(rule, int(packets)) for packets, rule in lines]


def check_same(found, expected, what):
    """Fails unless lists of lines are the same; says which lines are not."""
    changed = list(difflib.unified_diff(expected, found, "expected", "found", lineterm="", n=0))
    w.check(not changed, "\n".join([what, *changed]))


def check_counted(iptables, table, expected):
    """Fails unless a table has just these rules, and each has counted just so many packets."""
    found = counted(iptables, table)
    check_same([rule for rule, _ in found], [rule for rule, _ in expected], f"{iptables}: rules that were made")
    wrong = [f"{rule}: {packets}, expected {right}"
             for (rule, packets), (_, right) in zip(found, expected, strict=True) if packets != right]
    w.check(not wrong, f"{iptables}: packets that rules counted: " + "; ".join(wrong))


def check_comes_back(iptables):
    """Fails unless what iptables-save says makes the same rules again, their counts included."""
    def rules(text):
        # A chain counts what else comes, too.
        return re.sub(r"^(:.*) \[.*\]$", r"\1", text, flags=re.MULTILINE).splitlines()

    text = save(iptables)
    w.run_inside("firewall", f"{iptables}-restore", "-c", input=text)
    check_same(rules(save(iptables)), rules(text), f"{iptables}: what was saved and restored")


def check_nobody_elses(tracker):
    """Fails where rules have loaded modules that belong to the other tracker."""
    strangers = re.compile(rf"xt_{w.MATCHES}$|nf_conn|nft_(ct|connlimit)$" if tracker.ours else rf"ip6?t_{w.MATCHES}$|ip_conn|nft_(expr|obj)_")
    loaded = [line.split()[0] for line in w.sh("lsmod").splitlines()[1:]]
    w.check_equal([module for module in loaded if strangers.match(module)], [], "modules of the other tracker")
