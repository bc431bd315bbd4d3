#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints the state tables of a kernel's source as lines `protocol direction message state next`.

The engine's own tables are tested against this; nothing of it is kept in the project.
"""

import re
import sys
from pathlib import Path

# Of each: the table's name, its messages in order, the states behind its short names.
TABLES = {
    "tcp": (
        "tcp_conntracks", ("syn", "synack", "fin", "ack", "rst", "none"),
        {"sNO": "NONE", "sSS": "SYN_SENT", "sSR": "SYN_RECV", "sES": "ESTABLISHED", "sFW": "FIN_WAIT",
         "sCW": "CLOSE_WAIT", "sLA": "LAST_ACK", "sTW": "TIME_WAIT", "sCL": "CLOSE", "sS2": "SYN_SENT2"},
    ),
    "sctp": (
        "sctp_conntracks", ("init", "init_ack", "abort", "shutdown", "shutdown_ack", "error", "cookie_echo",
                            "cookie_ack", "shutdown_comp", "heartbeat", "heartbeat_ack"),
        {"sNO": "NONE", "sCL": "CLOSED", "sCW": "COOKIE_WAIT", "sCE": "COOKIE_ECHOED", "sES": "ESTABLISHED",
         "sSS": "SHUTDOWN_SENT", "sSR": "SHUTDOWN_RECD", "sSA": "SHUTDOWN_ACK_SENT", "sHS": "HEARTBEAT_SENT"},
    ),
}
STEPS = {"sIG": "ignore", "sIV": "invalid"}


def cells(source, protocol):
    table, messages, states = TABLES[protocol]
    body = re.search(rf"{table}\[2\]\[\w+\]\[\w+\] = \{{(.*?)\n\}};", source, re.S)[1]
    rows = re.findall(r"/\*\s*(\w+)\s*\*/\s*\{([^}]*)\}", body)
    if [name for name, _ in rows] != 2 * list(messages):
        sys.exit(f"the table of {protocol} in this kernel's source is not of the known form")
    for number, (message, row) in enumerate(rows):
        direction = "original" if number < len(messages) else "reply"
        for state, step in zip(states.values(), row.replace(" ", "").split(","), strict=True):
            yield protocol, direction, message, state, (states | STEPS)[step]


def main():
    for protocol in TABLES:
        source = Path(sys.argv[1], f"net/netfilter/nf_conntrack_proto_{protocol}.c").read_text()
        for cell in cells(source, protocol):
            print(*cell)


main()
