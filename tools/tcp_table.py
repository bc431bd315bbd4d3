#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints the TCP state table of a kernel's source as lines `direction segment state next`.

The engine's own table is tested against this; nothing of it is kept in the project.
"""

import re
import sys
from pathlib import Path

SEGMENTS = ("syn", "synack", "fin", "ack", "rst", "none")
NAMES = {"sNO": "NONE", "sSS": "SYN_SENT", "sSR": "SYN_RECV", "sES": "ESTABLISHED",
         "sFW": "FIN_WAIT", "sCW": "CLOSE_WAIT", "sLA": "LAST_ACK", "sTW": "TIME_WAIT",
         "sCL": "CLOSE", "sS2": "SYN_SENT2", "sIG": "ignore", "sIV": "invalid"}


def main():
    source = Path(sys.argv[1], "net/netfilter/nf_conntrack_proto_tcp.c").read_text()
    body = re.search(r"tcp_conntracks\[2\]\[6\]\[\w+\] = \{(.*?)\n\};", source, re.S)[1]
    rows = re.findall(r"/\*(\w+)\*/\s*\{([^}]*)\}", body)
    if [name for name, _ in rows] != 2 * list(SEGMENTS):
        sys.exit("the table in this kernel's source is not of the known form")
    states = list(NAMES)[:10]
    for number, (segment, cells) in enumerate(rows):
        direction = "original" if number < 6 else "reply"
        for state, step in zip(states, cells.replace(" ", "").split(","), strict=True):
            print(direction, segment, NAMES[state], NAMES[step])


main()
