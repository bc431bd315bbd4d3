# SPDX-License-Identifier: GPL-2.0
"""The options of `conntrack`, command by command: what netlink_list.py and netlink_change.py do not ask for."""

import contextlib
import re
from pathlib import Path

import events as e
import netlink as n
import nfqueue
import world as w
from netlink import C, C6, S, S6

FLOW, FLOW6 = f"-s {C} -d {S}", f"-s {C6} -d {S6}"
LABELS = "0 eth0\n1 web\n2 mail\n64 far\n127 last\n"


# New connections have labels where a rule asks for some.
ASKS = "iptables-legacy -A INPUT -m connlabel --label 5"


def names_of_labels():
    """Names for labels, as `conntrack` reads them."""
    w.LABEL_NAMES.parent.mkdir(exist_ok=True)
    w.LABEL_NAMES.write_text(LABELS)


def labels(world):
    """New connections have labels, and labels have names."""
    names_of_labels()
    world.firewall(ASKS)


def say(world, name, *tables):
    """Runs commands, one a line, and compares what they say."""
    transcript = n.Transcript(world, name)
    for table in tables:
        for line in table.strip().splitlines():
            transcript.run(line.strip() if line.strip().startswith("sh ") else f"conntrack {line.strip()}")
    transcript.check()


def settings(world, *names):
    for name in names:
        world.firewall(f"sysctl -qw net.netfilter.nf_conntrack_{name}")


FILTERS = f"""
    -L -s {C} --mask-src 255.255.255.255
    -L -s 192.168.1.0 --mask-src 255.255.255.0
    -L -d 192.168.1.0 --mask-dst 255.255.255.248
    -L --mask-src 255.255.255.0
    -L -s 0.0.0.0/0
    -L -s {C}/33
    -L -s {C} -d {S}
    -L -s {C} -d {C}
    -L -r 192.168.1.0/24
    -L -q 192.168.1.0/29
    -L -s {C} -q {C}
    -L -s {C} -f ipv6
    -L -s {C6} -d {S}
    -L -s {C6}
    -L -s 2001:db8:1::/48
    -L -f ipv6 -q {C6}
    -L -f inet
    -L -f 7
    -L -p tcp -s {C} --dport 443
    -L -p tcp --reply-port-dst 1001
    -L -p tcp --sport 1001 --dport 443
    -L -p tcp --dport 0
    -L -p tcp --dport 65536
    -L --dport 80
    -L -p udp --reply-port-src 53
    -L -p udp --sport 2001 -u SEEN_REPLY
    -L -p udplite
    -L -p dccp
    -L -p 6
    -L -p nothing
    -L -p 256
    -L -p sctp --dport 9
    -L -p sctp --state COOKIE_WAIT
    -L -p sctp --orig-vtag 1
    -L -p tcp --state TIME_WAIT
    -L -p tcp --state close
    -L -p tcp --state NOTHING
    -L -p udp --state ESTABLISHED
    -L -p icmp --icmp-type 8 --icmp-code 0
    -L -p icmp --icmp-type 0
    -L -p icmp --icmp-code 5
    -L -p icmpv6 -f ipv6 --icmpv6-type 128
    -L -p icmpv6
    -L -p gre --srckey 0
    -L -p gre --dstkey 7
    -L -p gre --reply-key-src 0
    -L -m 7
    -L -m 7/7
    -L -m 0x10/0xf0
    -L -m 1/0
    -L -m 4294967295
    -L -m nothing
    -L -u SEEN_REPLY,FIXED_TIMEOUT
    -L -u UNSET
    -L -u OFFLOAD
    -L -u NOTHING
    -L -n {C}
    -L -g {S}
    -L -j {C}
    -L -n -g
    -L -w 7
    -L -w 65535
    -L -w 65536
    -L --orig-zone 7
    -L --reply-zone 7
    -L -w 7 --orig-zone 7
    -L -l web
    -L -l web -l mail
    -L -l web,mail
    -L -l mail -l last
    -L -l far
    -L -l nothing
    -L -c 5
    -L -t 5
    -L -e NEW
    -L -o labels
    -L -o labels -l web
    -L -o xml,labels -l web
    -L -o save -l web
    -L -o save,labels -p icmp
    -L -o id -p icmp
    -L -o timestamp -p icmp
    -L -o userspace -p icmp
    -L -o ktimestamp,labels,extended,id -p udp
    -L -o nothing
    -L -z -p tcp
    -L -z -p udp -s {C}
    -L
    -C -p tcp
    -C nothing
    -L nothing
    -L dying -p tcp
    -L unconfirmed -o xml
    -L expect -s {C}
"""


def marked(world):
    """Marks, labels and zones."""
    for number, options in enumerate(("-p tcp --dport 80 -m 7 --label-add web", "-p udp -m 0x17 --label-add web --label-add mail",
                                      "-p icmp -m 0xff --label-add far", "-p sctp --label-add last")):
        world.firewall(f"conntrack -U {options}")
        world.firewall(f"conntrack -I {FLOW} -p udp --sport {number + 1} --dport 9 -t 600 "
                       f"{('-w 7', '--orig-zone 7', '--reply-zone 7', '-w 8 -m 7')[number]}")


def test_filters(tracker):
    """-L with every filter and form, good and bad."""
    with w.World(tracker) as world:
        settings(world, "acct=1", "timestamp=1")
        labels(world)
        n.traffic(world)
        marked(world)
        say(world, "matrix_filters", FILTERS)


ONES = f"""
    -G -p tcp {FLOW} --sport 1001 --dport 80 -r {S} -q {C} --reply-port-src 80 --reply-port-dst 1001
    -G -p tcp {FLOW} --sport 1001 --dport 80 -r {S} -q {C} --reply-port-src 80 --reply-port-dst 9
    -G -p tcp -r {S} -q {C} --reply-port-src 80 --reply-port-dst 1001
    -G -p tcp {FLOW} --sport 1001
    -G -p tcp {FLOW}
    -G {FLOW}
    -G
    -G -p tcp -s {S} -d {C} --sport 80 --dport 1001
    -G -p tcp {FLOW} --sport 1001 --dport 81
    -G -p tcp {FLOW} --sport 1001 --dport 80 -o extended
    -G -p tcp {FLOW} --sport 1001 --dport 80 -o save
    -G -p tcp {FLOW} --sport 1001 --dport 80 -o labels
    -G -p tcp {FLOW} --sport 1001 --dport 80 -o ktimestamp
    -G -p tcp {FLOW} --sport 1001 --dport 80 -m 5
    -G -p tcp {FLOW} --sport 1001 --dport 80 --state CLOSE
    -G -p tcp {FLOW} --sport 1001 --dport 80 -u ASSURED
    -G -p tcp {FLOW} --sport 1001 --dport 80 -w 7
    -G -p tcp {FLOW} --sport 1001 --dport 80 -z
    -G -p tcp {FLOW} --sport 1001 --dport 80 -l web
    -G -p udp {FLOW} --sport 1 --dport 9
    -G -p udp {FLOW} --sport 1 --dport 9 -w 7
    -G -p udp {FLOW} --sport 2 --dport 9 --orig-zone 7
    -G -p udp {FLOW} --sport 2 --dport 9 --reply-zone 7
    -G -p udp {FLOW} --sport 3 --dport 9 --reply-zone 7
    -G -p udp {FLOW} --sport 3 --dport 9
    -G -p udp -r {S} -q {C} --reply-port-src 9 --reply-port-dst 2
    -G -p udp -r {S} -q {C} --reply-port-src 9 --reply-port-dst 3 --reply-zone 7
    -G -p udp {FLOW6} --sport 2000 --dport 53
    -G -p udp -f ipv6 {FLOW6} --sport 2000 --dport 53
    -G -p udp -f ipv4 {FLOW6} --sport 2000 --dport 53
    -G -p icmp {FLOW} --icmp-type 8 --icmp-code 0
    -G -p icmp {FLOW} --icmp-type 0 --icmp-code 0 --icmp-id 8
    -G -p icmp -r {S} -q {C} --icmp-type 0 --icmp-code 0 --icmp-id 8
    -G -p icmp {FLOW} --icmp-type 3 --icmp-code 0 --icmp-id 8
    -G -p icmpv6 {FLOW6} --icmpv6-type 129 --icmpv6-code 0 --icmpv6-id 7
    -G -p sctp -r {S} -q {C} --reply-port-src 9 --reply-port-dst 3001
    -G -p udplite {FLOW} --sport 1 --dport 2
    -G -p dccp {FLOW} --sport 1 --dport 2
    -D -p tcp -s 192.168.1.0/24 --dport 80 -m 7
    -D -p tcp {FLOW} --sport 1001 --dport 443
    -D -p tcp {FLOW} --sport 1002 --dport 443 -r {S} -q {C} --reply-port-src 443 --reply-port-dst 1002
    -D -p udp -l web -l mail
    -D -p udp -l nothing
    -D -l last
    -D -p udp --sport 1 -w 7
    -D --orig-zone 7
    -D --reply-zone 7
    -D -w 8 -m 7/0xf
    -D -p icmp --icmp-type 13
    -D -p icmp --icmp-type 0
    -D -m 0xf0/0xf0
    -D -d 192.168.1.8/29 -u ASSURED
    -D -s 192.168.1.0 --mask-src 255.255.255.0 -p gre
    -D -n
    -D -g {S}
    -D -p tcp --state SYN_SENT
    -D -s {C6} -p udp
    -D -q {C6} -p icmpv6
    -D -f ipv6 -d {S6}
    -D -p 98
    -D
    -D -o xml
    -D -t 5
    -D -z
    -L
    -F expect
    -F dying
    -F unconfirmed
    -F -f ipv6
    -F -p tcp
    -F conntrack
    -L
    -L -f ipv6
"""


def test_ones(tracker):
    """-G by either tuple, in zones; -D and -F by filters."""
    with w.World(tracker) as world:
        labels(world)
        n.traffic(world)
        marked(world)
        say(world, "matrix_ones", ONES)


# Of each protocol: what `conntrack` calls a flow, and what may be changed of it.
KINDS = (
    ("tcp", "--sport 1 --dport 2", "--state SYN_RECV", "--state ESTABLISHED"),
    ("udp", "--sport 1 --dport 2", "", ""),
    ("udplite", "--sport 1 --dport 2", "", ""),
    ("dccp", "--sport 1 --dport 2", "--state REQUEST --role client", "--state OPEN"),
    ("sctp", "--sport 1 --dport 2", "--state COOKIE_WAIT --orig-vtag 1 --reply-vtag 2", "--state ESTABLISHED --orig-vtag 1 --reply-vtag 2"),
    ("gre", "--srckey 0x1 --dstkey 2", "", ""),
    ("47", "", "", ""),
    ("50", "", "", ""),
)
ECHO = ("icmp", "--icmp-type 8 --icmp-code 0 --icmp-id 9", "", "")
ECHO6 = ("icmpv6", "--icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 9", "", "")


def round_trips():
    """The life of one flow of each kind."""
    for flow, kinds, in ((FLOW, (*KINDS, ECHO)), (FLOW6, (*KINDS, ECHO6))):
        for protocol, ports, first, then in kinds:
            key = f"-p {protocol} {flow} {ports}"
            family = "-f ipv6" if flow == FLOW6 else ""
            yield f"-I {key} {first} -t 600"
            yield f"-I {key} {first} -t 600"
            yield f"-G {key}"
            yield f"-U {key} {then} -m 3 -t 500"
            yield f"-U {key} -u SEEN_REPLY"
            yield f"-U {key} -m 0xf0/0xf1 --label-add web --label-add last"
            yield f"-U {key} --label-del web"
            yield f"-A {key} {then} -t 400 -m 9"
            yield f"-L {family} -p {protocol} -o save"
            yield f"-U {key} --label-del"
            yield f"-L {family} -p {protocol} -o extended,labels"
            yield f"-D {key}"
            yield f"-G {key}"
            yield f"-D {key}"


def test_round_trips(tracker):
    """-I, -A, -G, -U, -L and -D of a flow of each protocol in both families."""
    with w.World(tracker) as world:
        labels(world)
        say(world, "matrix_round_trips", "\n".join(round_trips()))


WITHOUT_LABELS = f"""
    -I {FLOW} -p udp --sport 99 --dport 2 -t 600 --label-add web
    -I {FLOW} -p udp --sport 99 --dport 2 -t 600
    -U {FLOW} -p udp --sport 99 --dport 2 --label-add web
    -L -l web
    -D {FLOW} -p udp --sport 99 --dport 2
"""
CHANGES = f"""
    -I {FLOW} -p tcp --sport 1 --dport 2 -t 600
    -I {FLOW} -p tcp --sport 1 --dport 2 --state ESTABLISHED
    -I {FLOW} -p tcp --dport 2 --state ESTABLISHED -t 600
    -I -s {C} -p tcp --sport 1 --dport 2 --state ESTABLISHED -t 600
    -I -s {C} -d {S6} -p tcp --sport 1 --dport 2 --state ESTABLISHED -t 600
    -I -r {S} -q {C} -p udp --reply-port-src 2 --reply-port-dst 1 -t 600
    -I {FLOW} -t 600
    -I {FLOW} -p udp --sport 1 --dport 2 -t 4294967295
    -I {FLOW} -p udp --sport 2 --dport 2 -t 0
    -I {FLOW} -p udp --sport 3 --dport 2 -t 600 -m 5/3
    -I {FLOW} -p udp --sport 4 --dport 2 -t 600 --label-add web --label-add nothing
    -I {FLOW} -p udp --sport 4 --dport 2 -t 600 --label-add web --label-add last
    -I {FLOW} -p udp --sport 5 --dport 2 -t 600 -u ASSURED
    -I {FLOW} -p udp --sport 6 --dport 2 -t 600 -u EXPECTED
    -I {FLOW} -p udp --sport 7 --dport 2 -t 600 -u UNSET
    -I {FLOW} -p udp --sport 8 --dport 2 -t 600 -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT
    -I {FLOW} -p udp --sport 9 --dport 2 -t 600 -n 10.0.0.1
    -I {FLOW} -p udp --sport 9 --dport 2 -t 600 -g 10.0.0.1:99
    -I {FLOW} -p udp --sport 9 --dport 2 -t 600 -j 10.0.0.1
    -I {FLOW} -p udp --sport 9 --dport 2 -t 600 -l web
    -I {FLOW} -p udp --sport 9 --dport 2 -t 600 -c 5
    -I {FLOW} -p udp --sport 10 --dport 2 -t 600 -r {S} -q {C} --reply-port-src 2 --reply-port-dst 99
    -I {FLOW} -p udp --sport 11 --dport 2 -t 600 -r {S} -q {C} --reply-port-src 2 --reply-port-dst 99
    -I {FLOW} -p tcp --sport 12 --dport 2 -t 600 --state LISTEN
    -I {FLOW} -p tcp --sport 13 --dport 2 -t 600 --state SYN_SENT2
    -I {FLOW} -p tcp --sport 14 --dport 2 -t 600 --state CLOSE
    -I {FLOW} -p tcp --sport 15 --dport 2 -t 600 --state NONE
    -I {FLOW} -p sctp --sport 16 --dport 2 -t 600 --state HEARTBEAT_SENT --orig-vtag 1 --reply-vtag 2
    -I {FLOW} -p sctp --sport 17 --dport 2 -t 600 --state CLOSED
    -I {FLOW} -p icmp --icmp-type 13 --icmp-code 0 -t 600
    -I {FLOW} -p icmp --icmp-type 0 --icmp-code 0 --icmp-id 5 -t 600
    -I {FLOW} -p icmp --icmp-type 11 --icmp-code 0 -t 600
    -I {FLOW} -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 -t 600
    -I {FLOW6} -p icmpv6 --icmpv6-type 1 --icmpv6-code 0 -t 600
    -I {FLOW6} -p icmp --icmp-type 8 --icmp-code 0 -t 600
    -I {FLOW} -p udp --sport 18 --dport 2 -t 600 -w 3 --label-add mail
    -I {FLOW} -p udp --sport 18 --dport 2 -t 600 -w 3
    -I {FLOW} -p udp --sport 18 --dport 2 -t 600 --orig-zone 3
    -I {FLOW} -p udp --sport 18 --dport 2 -t 600 --orig-zone 4 --reply-zone 4
    -I {FLOW} -p udp --sport 18 --dport 2 -t 600 --orig-zone 4 --reply-zone 5
    -I -s 0.0.0.0 -d 255.255.255.255 -p udp --sport 0 --dport 0 -t 600
    -L -o extended,labels
    -L -f ipv6 -o extended
    -U {FLOW} -p udp --sport 4 --dport 2 -t 4294967295
    -U {FLOW} -p udp --sport 5 --dport 2 -u UNSET
    -U {FLOW} -p udp --sport 5 --dport 2 -u ASSURED
    -U {FLOW} -p udp --sport 5 --dport 2 -u EXPECTED
    -U {FLOW} -p udp --sport 5 --dport 2 -u FIXED_TIMEOUT
    -U {FLOW} -p udp --sport 5 --dport 2 -t 300
    -U {FLOW} -p udp --sport 8 --dport 2 -u SEEN_REPLY
    -U {FLOW} -p udp --sport 4 --dport 2 --label-add mail
    -U {FLOW} -p udp --sport 4 --dport 2 --label-del web
    -U {FLOW} -p udp --sport 4 --dport 2 --label-add eth0 --label-del last
    -U {FLOW} -p udp --sport 4 --dport 2 --label-add nothing
    -U -l mail -m 8
    -U -w 3 -m 0x10/0xff
    -U --orig-zone 3 -m 4
    -U -s 192.168.1.0/24 -p tcp -m 1
    -U -d 192.168.1.0 --mask-dst 255.255.255.0 -p sctp -m 2
    -U -p tcp --state ESTABLISHED
    -U -p tcp --sport 13 --state ESTABLISHED -t 300
    -U -u ASSURED -m 6
    -U -m 0xffffffff/0xf0
    -U -m 5 -f ipv6
    -U -q {C} -p udp --reply-port-dst 99 -m 1
    -U -p udp -n 10.0.0.1
    -U
    -U -p udp --sport 99 --dport 2 -m 5
    -A {FLOW} -p tcp --sport 13 --dport 2 --state LAST_ACK -t 100
    -A {FLOW} -p tcp --sport 20 --dport 2 --state LAST_ACK -t 100
    -A {FLOW} -p udp --sport 18 --dport 2 -t 600 -w 3 -m 9 --label-add last
    -A {FLOW} -p udp --sport 4 --dport 2
    -A {FLOW} -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 600
    -L -o extended,labels
    -L -f ipv6 -o labels
"""


def test_changes(tracker):
    """-I, -U and -A with each option, good and bad."""
    names_of_labels()
    with w.World(tracker) as world:
        say(world, "matrix_changes", WITHOUT_LABELS, f"sh -c '{ASKS}'", CHANGES)


BAD_FILE = f"""
-A {FLOW} -p udp --sport 1 --dport 2 -t 600
# nothing

-A {FLOW} -p udp --sport 2 --dport 2 -t 600 -m 5
-D {FLOW} -p udp --sport 1 --dport 2
-I {FLOW} -p udp --sport 2 --dport 2 -t 600
-U {FLOW} -p udp --sport 3 --dport 2 -t 600
-A {FLOW} -p udp --sport 4 --dport 2 -t 600
-F
"""


def test_files(tracker):
    """-R: what -o save has written is there again; -R - reads what comes."""
    w.sh("ln -sf /proc/self/fd/0 /dev/stdin")
    with w.World(tracker) as world:
        labels(world)
        n.traffic(world)
        marked(world)
        transcript = n.Transcript(world, "matrix_files")
        for family in ("ipv4", "ipv6"):
            world.firewall(f"conntrack -L -f {family} -o save > /tmp/{family} 2>/dev/null")
            transcript.run(f"conntrack -L -f {family}")
        lists = {family: Path(f"/tmp/{family}").read_text() for family in ("ipv4", "ipv6")}
        w.check_equal([len(text.splitlines()) for text in lists.values()], [17, 4], "lines")
        transcript.run("conntrack -F")
        for _ in range(2):
            for family in lists:
                transcript.run(f"conntrack -R /tmp/{family}")
                transcript.run(f"conntrack -L -f {family}")
        transcript.run("sh -c 'conntrack -L -w 7 -o save | sed s/-w.7/-w\\ 12/ | conntrack -R -'")
        transcript.run("conntrack -L -w 12")
        Path("/tmp/bad").write_text(BAD_FILE)
        for command in ("-R /tmp/bad", "-L -p udp", "-R /tmp/nothing", "-R", "-R /dev/null"):
            transcript.run(f"conntrack {command}")
        transcript.check()


WATCHED = f"""
    -E
    -E conntrack -e NEW
    -E -e UPDATES
    -E -e DESTROY
    -E -e NEW,DESTROY
    -E -e ALL -p tcp
    -E -p udp --dport 53
    -E -p tcp --sport 1001 -o extended
    -E -p tcp --state ESTABLISHED
    -E -p sctp
    -E -p icmp --icmp-id 8
    -E -p gre -o xml
    -E -s {C} -p 99
    -E -s 192.168.1.0/29
    -E -d 192.168.1.0 --mask-dst 255.255.255.0 -e NEW
    -E -q {C} -e DESTROY
    -E -f ipv6
    -E -f ipv6 -o xml
    -E -u ASSURED
    -E -u SEEN_REPLY -e UPDATES
    -E -m 7
    -E -m 0/1 -e DESTROY
    -E -l web
    -E -w 7
    -E --orig-zone 7
    -E -n
    -E -o timestamp -e NEW
    -E -o timestamp,id -p udp
    -E -o ktimestamp -e DESTROY
    -E -o labels -e UPDATES
    -E -o save -e NEW
    -E -o userspace -e DESTROY
    -E -o xml,timestamp -e DESTROY
    -E -b 1048576 -e NEW
"""
# Who has caused it may be gone when its name is looked for.
SENDERS = ((r"portid=\d+( progname=\S+)?", "portid=N"), (r"<portid>\d+</portid>(<progname>.*?</progname>)?", "<portid>N</portid>"))


def event(line):
    """A line without what differs from run to run."""
    for pattern, by in SENDERS:
        line = re.sub(pattern, by, line)
    when, line = re.fullmatch(r"(\[\d+\.\d+\s*\])?\s*(.*)", line).groups()
    return ("[T] " if when else "") + n.masked(line)


def test_events(tracker):
    """-E with each filter and form, all at once over the same traffic."""
    e.load(tracker)
    with w.World(tracker) as world, contextlib.ExitStack() as stack:
        settings(world, "acct=1", "timestamp=1")
        labels(world)
        watches = [stack.enter_context(e.Watch(line.strip().removeprefix("-E").strip())) for line in WATCHED.strip().splitlines()]
        n.traffic(world)
        marked(world)
        world.firewall("conntrack -F")
        # Everybody has read on when a last one is told.
        w.time.sleep(1)
        transcript = n.Transcript(world, "matrix_events")
        for watch in watches:
            watch.stop()
            transcript.note(f"$ conntrack -E {watch.options}")
            transcript.numbered(sorted(map(event, watch.output.read_text().splitlines())))
        for options in ("-E -e NOTHING", "-E -t 5", "-E -z", "-E -b 0x", "-E dying", "-E expect -e NEW -p tcp", "-E -p tcp --dport 65536"):
            transcript.run(f"timeout 5 conntrack {options}")
        transcript.check()


def test_counts(tracker):
    """-S and -C: after the same traffic all CPUs together have counted the same."""
    with w.World(tracker) as world:
        n.traffic(world)
        world.client.send(w.tcp(C, S, 1001, 80, "SF"))
        w.time.sleep(0.2)
        found = {}
        for line in world.firewall("conntrack -S").splitlines():
            for name, value in re.findall(r"(\w+)=(\d+)", line):
                found[name] = found.get(name, 0) + int(value)
        names = list(found)
        for name in ("cpu", "search_restart"):
            del found[name]
        transcript = n.Transcript(world, "matrix_counts")
        transcript.note(" ".join(names), str(found))
        for options in ("-C", "-C expect", "-C dying", "-S expect", "-S -p tcp", "-S -o xml"):
            transcript.run(f"conntrack {options} | grep -v cpu")
        transcript.check()


def test_unconfirmed(tracker):
    """A packet that waits in a queue has a connection that no list shows."""
    with w.World(tracker) as world:
        queue = nfqueue.Queue(world, 5)
        world.firewall("iptables-legacy -t mangle -A FORWARD -p udp --dport 53 -j NFQUEUE --queue-num 5")
        world.client.send(w.udp(C, S, 1, 53))
        packet = queue.packet()
        transcript = n.Transcript(world, "matrix_unconfirmed")
        key = f"-p udp {FLOW} --sport 1 --dport 53"
        commands = ("-L unconfirmed", "-L unconfirmed -o xml", "-L", f"-G {key}", f"-D {key}", f"-U {key} -m 5", "-F", "-L dying")
        for options in commands:
            transcript.run(f"conntrack {options}")
        queue.verdict(packet, nfqueue.NF_ACCEPT)
        w.time.sleep(0.2)
        for options in ("-L", "-L unconfirmed"):
            transcript.run(f"conntrack {options}")
        transcript.check()


def shown(value):
    return value.hex() if isinstance(value, bytes) else "{" + " ".join(f"{k}:{shown(v)}" for k, v in value) + "}"


def test_dying(tracker):
    """What is over and not told of yet stands in the list of the dying and nowhere else: nobody gets, ends
    or changes it, and its place is free."""
    with e.world(tracker) as world, n.Socket() as s:
        listener = e.Listener(world, e.DESTROY, buffer=4096, errors=True)
        for port in range(5000, 5100):
            world.client.send(w.udp(C, S, port, 53))
        w.wait_until(lambda: e.count() == 100, 20, "all are there")
        world.firewall("conntrack -F")
        w.check(e.count() > 50, "its buffer is full: from here on all are kept")
        kept = e.count()
        n.traffic(world)
        many = e.count() - kept
        transcript = n.Transcript(world, "matrix_dying")
        udp, tcp = f"-p udp {FLOW} --sport 2001 --dport 53", f"-p tcp {FLOW} --sport 1001 --dport 80"
        for options in (f"-D {udp}", f"-D {tcp}", "-D -p sctp", "-D -f ipv6 -p tcp", "-F"):
            transcript.run(f"conntrack {options}")
        w.check_equal(e.count() - kept, many, "they count")
        for options in ("-L", "-L -f ipv6", "-L -p udp", "-L -o xml", f"-G {udp}", f"-G {tcp}", f"-D {udp}", f"-D {tcp}", "-D -p udp",
                        f"-U {udp} -m 5", "-U -m 5", "-F", "-L -z"):
            transcript.run(f"conntrack {options}")
        others = "grep -vE 'sport[=>]5[0-9]{3}' 2>/dev/null"
        for options in ("", "-f ipv6", "-o xml"):
            transcript.run(f"conntrack -L dying {options} 2>/dev/null | {others}")
        key = n.flow(1, C, S, 17, 2001, 53)
        for message, flags in ((n.GET, n.ACK), (n.GET_CTRZERO, n.ACK), (n.DELETE, n.ACK), (n.NEW, n.ACK), (n.DYING, n.ACK)):
            transcript.note(f"{message}: {s.outcome(n.CT, message, flags, key, n.be32(7, 600))}")
        for family in (0, 2, 10, 7):
            transcript.note(f"# of family {family}")
            transcript.note(*sorted(
                f"{kind:#x} {flags:#x} {head.hex()} " + " ".join(f"{k}:" + ("*" if k in (7, 12) else shown(v)) for k, v in attrs)
                for kind, flags, head, attrs in s.ask(n.CT, n.DYING, n.DUMP, family=family)
                if not 5000 <= int.from_bytes(dict(dict(dict(attrs)[1])[2]).get(2, b"")) < 5100))
        # Another takes its place.
        transcript.run(f"conntrack -I {udp} -t 600")
        for options in ("-L", f"-G {udp}"):
            transcript.run(f"conntrack {options}")
        transcript.run("conntrack -L dying 2>/dev/null | grep -c sport=2001")
        transcript.check()
        listener.read()
        w.wait_until(lambda: not listener.read() and e.count() == 1, 60, "all are told")
        w.check_equal(world.firewall("conntrack -L dying 2>/dev/null"), "", "the dying then")
