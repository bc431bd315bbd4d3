# SPDX-License-Identifier: GPL-2.0
"""Rules that count packets by their state. Starting programs is slow in the guest, so all of a
test's rules are set by one, and read once for each chain."""

import world as w

STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")


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
