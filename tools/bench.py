#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What `make bench` makes of its measurements (qemu/bench/run): tables, JSON, a plot, the bar.

    bench.py report RAW... --json FILE --svg FILE [--record README]
    bench.py gate RAW BASELINE JSON     whether packets have become dearer than BASELINE says; with `--unheard RAW`,
                                        where no events were known, and `--bare RAW`, where no helpers were known
                                        either: what those cost
    bench.py baseline RAW BASELINE      what they cost now is what they are to cost
"""

import argparse
import json
import re
import sys
from pathlib import Path

TRACKERS = ("empty", "stock", "ours")
NAMES = {"udp": "UDP", "tcp": "TCP", "icmp": "ICMP"}
SITUATIONS = {"grow": "the table grows to {:,}", "expire": "{:,} expire at once",
              "proc": "/proc/net/nf_conntrack is read, {:,} lines", "netlink": "conntrack -L lists {:,}",
              "delete": "half of {:,} are ended by their mark, in one request"}
# What may change without anybody having to say so.
HEADROOM = 0.03
# The longest that a packet may take, in instructions.
LONGEST = 20000
# The longest that a packet may wait while many connections end; it is a sixth of that.
LONGEST_DELAY = 100000
# What may be paid for events while nobody listens, and for these and helpers that do not read the connection, in
# instructions: for a packet of an open connection, one that changes its state, and one that opens one.
UNUSED = {"unheard": {"established": 5, "rest of the handshake": 5, "new": 8},
          "bare": {"established": 5, "rest of the handshake": 5, "new": 18}}
WHAT = {"unheard": "events that nobody hears", "bare": "events and helpers that are not used"}


class Measured:
    """What was found, by measure, tracker and what the measure was told."""

    def __init__(self, files):
        self.found = {}
        self.kernel = ""
        for file in files:
            raw = json.loads(Path(file).read_text())
            self.kernel = self.kernel or raw["kernel"]
            for one in raw["results"]:
                key = one["measure"], *one["options"].values()
                self.found.setdefault(key, {}).setdefault(one["tracker"], []).append(one["found"])

    def of(self, measure):
        """The options of each measurement, and what was found with each tracker (the last, if more)."""
        for key, found in self.found.items():
            if key[0] == measure:
                yield key[1:], {tracker: times[-1] for tracker, times in found.items()}

    def all(self, measure):
        for key, found in self.found.items():
            if key[0] == measure:
                yield key[1:], found

    def wrong(self):
        """Where packets were not tracked as they should be."""
        for key, found in self.found.items():
            for tracker, times in found.items():
                count = sum(costs.get("wrong", 0) for one in times for costs in one.values())
                if count:
                    yield f"{tracker}: {' '.join(map(str, key))}: {count} packets or connections are not as they should be"


def mean(costs):
    return costs["sum"] / costs["packets"]


# What is said of a packet, from its costs.
FIGURES = {
    "established": lambda found: found["data"]["p50"],
    "p99": lambda found: found["data"]["p99"],
    "p99.9": lambda found: found["data"]["p999"],
    "worst": lambda found: found["data"]["worst"],
    "rest of the handshake": lambda found: mean(found["rest"]),
    "new": lambda found: mean(found["open"]),
    "worst new": lambda found: found["open"]["worst"],
    "life": lambda found: mean(found["life"]),
}


def net(found, figure):
    """A figure of each tracker, without what the empty path costs."""
    costs = {tracker: FIGURES[figure](one) for tracker, one in found.items()}
    return {tracker: cost - costs["empty"] for tracker, cost in costs.items() if tracker != "empty"}


def ratio(costs):
    return costs["ours"] / costs["stock"] if {"ours", "stock"} <= set(costs) and costs["stock"] else None


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def compared(costs, digits=0):
    """Three cells: stock, ours, and what is ours of stock's."""
    return [number(costs.get("stock"), digits), number(costs.get("ours"), digits), number(ratio(costs), 2)]


def table(heads, rows):
    """As Markdown, its columns aligned."""
    rows = [list(map(str, row)) for row in [heads, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(f"{cell:{'<' if at == 0 else '>'}{width}}" for at, (cell, width) in enumerate(zip(row, widths))) + " |" for row in rows]
    lines.insert(1, "|" + "|".join(("-" * (width + 1) + "-") if at == 0 else ("-" * (width + 1) + ":") for at, width in enumerate(widths)) + "|")
    return "\n".join(lines) + "\n"


def kind(protocol, family, flows):
    return f"{NAMES[protocol]}, IPv{family}, {flows:,}"


def three(*names):
    return [head for name in names for head in (f"{name}: stock", "ours", "ratio")]


def packets_table(measured, title, figures):
    rows = []
    for options, found in measured.of("packets"):
        rows.append([kind(*options), *(cell for figure in figures for cell in compared(net(found, figure)))])
    if rows:
        yield title, table(["connections", *three(*figures)], rows)


def memory_table(measured):
    rows = []
    for (protocol, _, flows, extras), found in measured.of("memory"):
        costs = {tracker: mean(one["memory"]) for tracker, one in found.items()}
        rows.append([f"{NAMES[protocol]}, {flows:,}{', accounting and timestamps' if extras else ''}", *compared(costs)])
    if rows:
        yield "Bytes of memory for a connection, the table included", table(["connections", "stock", "ours", "ratio"], rows)


def silence_table(measured):
    rows = []
    for (protocol, _, flows, extras), found in measured.of("memory"):
        costs = {tracker: mean(one["silence"]) for tracker, one in found.items() if "silence" in one}
        if costs and not extras:
            rows.append([f"{NAMES[protocol]}, {flows:,}", *compared(costs)])
    if rows:
        yield "Instructions in a minute for each open connection that is silent", table(["connections", "stock", "ours", "ratio"], rows)


def longest(found):
    """The worst packet of each tracker in a situation, the worst delay, and how they compare."""
    packet = {tracker: max(one["data"]["worst"], one["open"]["worst"]) - found["empty"]["data"]["p50"] for tracker, one in found.items()}
    delay = {tracker: one["delay"]["worst"] - found["empty"]["delay"]["p50"] for tracker, one in found.items()}
    return packet, delay


def stall_table(measured):
    rows = []
    for (situation, connections), found in measured.of("stall"):
        packet, delay = longest(found)
        rows.append([SITUATIONS[situation].format(connections), *(number(costs.get(tracker)) for costs in (packet, delay) for tracker in ("stock", "ours"))])
    if rows:
        yield ("The worst packet, in instructions, and the longest from when a packet was due until it was through",
               table(["while", "packet: stock", "ours", "delay: stock", "ours"], rows))


def events_table(measured):
    rows = []
    for (flows, listener), found in measured.of("listened"):
        for tracker, one in found.items():
            told, lost = one["noted"]["told"], one["noted"]["overruns"]
            rows.append([f"{tracker}, {'a listener with 8 MiB' if listener else 'no listener'}", number(mean(one["open"])),
                         f"{one['open']['sum'] / 1e9:.2f} s", f"{flows - told:,}, {lost} overruns" if listener else "-"])
    if rows:
        yield "100,000 new connections, one after the other", table(["", "instructions for each", "all", "events lost"], rows)


def factors(measured):
    """How much more two CPUs send than one, the best of all runs, by tracker."""
    rates = {}
    for (protocol, cpus, shared), found in measured.all("cpus"):
        for tracker, times in found.items():
            rates[protocol, shared, tracker, cpus] = max(one["data"]["packets"] / one["data"]["ns"] for one in times)
    for protocol, shared in dict.fromkeys(key[:2] for key in rates):
        yield (protocol, shared), {tracker: rates[protocol, shared, tracker, 2] / rates[protocol, shared, tracker, 1]
                                   for tracker in TRACKERS if (protocol, shared, tracker, 2) in rates}


def cpus_table(measured):
    rows = [[f"{NAMES[protocol]}, {'one direction each of the same connections' if shared else 'connections of their own'}",
             *(number(costs.get(tracker), 2) for tracker in TRACKERS)] for (protocol, shared), costs in factors(measured)]
    if rows:
        yield "What two CPUs send of what one sends", table(["established", "empty path", "stock", "ours"], rows)


def native_times(measured):
    """Nanoseconds for an established packet, the best of all runs, the empty path subtracted."""
    for options, found in measured.all("native"):
        best = {tracker: min(one["data"]["ns"] / one["data"]["packets"] for one in times) for tracker, times in found.items()}
        yield options, {tracker: time - best["empty"] for tracker, time in best.items() if tracker != "empty"}


def native_table(measured):
    rows = [[kind(*options), number(ratio(times), 2)] for options, times in native_times(measured)]
    if rows:
        yield "Time of an established packet at native speed, ours over stock", table(["connections", "ratio"], rows)


def tables(measured):
    yield from packets_table(measured, "Instructions, the empty path subtracted: established packets (p50), new connections (mean), "
                             "a connection's whole life", ("established", "new", "life"))
    yield from packets_table(measured, "Instructions of established packets", ("p99", "p99.9", "worst"))
    yield from packets_table(measured, "Instructions of others", ("rest of the handshake", "worst new"))
    yield from memory_table(measured)
    yield from silence_table(measured)
    yield from stall_table(measured)
    yield from events_table(measured)
    yield from cpus_table(measured)
    yield from native_table(measured)


def most(values):
    return max((value for value in values if value is not None), default=None)


def bars(measured):
    """What is asked for: its name, what was found, the limit, whether it is to be at most that."""
    kinds = [(options, found) for options, found in measured.of("packets") if options[0] in ("udp", "tcp")]
    for figure in ("established", "new", "life"):
        yield f"{figure}, instructions of stock's", most(ratio(net(found, figure)) for _, found in kinds), 0.40, True
    yield "10^6 established, time of stock's", most(ratio(times) for (_, _, flows), times in native_times(measured) if flows == 10**6), 0.50, True
    for limit, wanted in ((0.80, ("udp", False)), (0.80, ("tcp", False)), (0.55, ("udp", True)), (0.70, ("tcp", True))):
        costs = [ratio({tracker: mean(one["memory"]) for tracker, one in found.items()})
                 for (protocol, _, _, extras), found in measured.of("memory") if (protocol, extras) == wanted]
        yield f"bytes, {NAMES[wanted[0]]}{', with accounting and timestamps' if wanted[1] else ''}, of stock's", most(costs), limit, True
    worst = [longest(found)[0].get("ours") for _, found in measured.of("stall")]
    worst += [net(found, figure).get("ours") for _, found in measured.of("packets") for figure in ("worst", "worst new")]
    yield "the worst packet, instructions", most(worst), LONGEST, True
    two = {tracker: min((costs[tracker] / costs["ours"] for _, costs in factors(measured) if {"ours", tracker} <= set(costs)), default=None)
           for tracker in ("stock", "empty")}
    for tracker, limit in (("stock", 1.0), ("empty", 0.9)):
        yield f"2 CPUs, factor of the {tracker} one's", two[tracker] and 1 / two[tracker], limit, False


def bar_table(measured):
    rows = []
    for name, value, limit, at_most in bars(measured):
        if value is not None:
            met = value <= limit if at_most else value >= limit
            digits = 0 if limit > 10 else 2
            rows.append([name, number(value, digits), f"{'at most' if at_most else 'at least'} {number(limit, digits)}", "met" if met else "not met"])
    return table(["the bar", "ours", "wanted", ""], rows)


def as_json(measured):
    """All that was found, and what follows from it."""
    return {
        "kernel": measured.kernel,
        "packets": [{"connections": options, "figures": {figure: net(found, figure) for figure in FIGURES}} for options, found in measured.of("packets")],
        "memory": [{"connections": options, "bytes": {tracker: mean(one["memory"]) for tracker, one in found.items()}} for options, found in measured.of("memory")],
        "stalls": [{"while": situation, "connections": connections, "packet": longest(found)[0], "delay": longest(found)[1]}
                   for (situation, connections), found in measured.of("stall")],
        "cpus": [{"what": what, "factor": costs} for what, costs in factors(measured)],
        "native": [{"connections": options, "ns": times} for options, times in native_times(measured)],
        "bar": [{"name": name, "ours": value, "limit": limit, "at_most": at_most} for name, value, limit, at_most in bars(measured)],
    }


def svg(measured):
    """Bars of stock and ours side by side: established, new, life."""
    colours = {"stock": "#b0b0b0", "ours": "#2266aa"}
    panels, width, line, left = ("established", "new", "life"), 280, 15, 150
    kinds = [(kind(*options), {figure: net(found, figure) for figure in panels}) for options, found in measured.of("packets")]
    if not kinds:
        return None
    height = 60 + len(kinds) * (2 * line + 8)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + len(panels) * (width + 20)}" height="{height}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>']
    for panel, figure in enumerate(panels):
        x = left + panel * (width + 20)
        scale = (width - 50) / max(max(figures[figure].values()) for _, figures in kinds)
        out.append(f'<text x="{x}" y="20" font-weight="bold">{figure}, instructions</text>')
        for row, (name, figures) in enumerate(kinds):
            y = 35 + row * (2 * line + 8)
            if panel == 0:
                out.append(f'<text x="{left - 8}" y="{y + line + 3}" text-anchor="end">{name}</text>')
            for at, (tracker, cost) in enumerate(figures[figure].items()):
                out.append(f'<rect x="{x}" y="{y + at * line}" width="{max(cost * scale, 0):.1f}" height="{line - 2}" fill="{colours[tracker]}"/>'
                           f'<text x="{x + max(cost * scale, 0) + 4:.1f}" y="{y + at * line + 10}">{cost:,.0f}</text>')
    for at, (tracker, colour) in enumerate(colours.items()):
        out.append(f'<rect x="{left + at * 70}" y="{height - 16}" width="10" height="10" fill="{colour}"/><text x="{left + at * 70 + 14}" y="{height - 7}">{tracker}</text>')
    return "\n".join([*out, "</svg>\n"])


def record(measured, readme):
    """Writes the tables between the marks in a file."""
    text = readme.read_text()
    said = "".join(f"{title}:\n\n{body}\n" for title, body in tables(measured))
    begin, end = "<!-- written by `make bench RECORD=1` -->\n", "<!-- end of what it has written -->\n"
    new, count = re.subn(f"(?s){re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\nLinux {measured.kernel}.\n\n{said}{bar_table(measured)}{end}", text)
    if count != 1:
        sys.exit(f"error: {readme} has no marks for the table of record")
    readme.write_text(new)


def report(args):
    measured = Measured(args.raw)
    for title, body in tables(measured):
        print(f"\n{title}:\n\n{body}", end="")
    print(f"\n{bar_table(measured)}", end="")
    args.json.write_text(json.dumps(as_json(measured), indent=1))
    plot = svg(measured)
    if plot:
        args.svg.write_text(plot)
    wrong = list(measured.wrong())
    print(*(f"error: {line}" for line in wrong), sep="\n" if wrong else "", end="\n" if wrong else "")
    if args.record and not wrong:
        record(measured, args.record)
    return 1 if wrong else 0


GATED = ("established", "new")


def costs_now(raw, figures=GATED):
    measured = Measured([raw])
    wrong = list(measured.wrong())
    costs = {f"{NAMES[options[0]]} {figure}": {tracker: round(cost, 1) for tracker, cost in net(found, figure).items()}
             for options, found in measured.of("packets") for figure in figures}
    return costs, wrong


def gate(args):
    """Ours against the baseline. Another kernel or compiler changes both trackers: what counts is what
    ours costs of what stock costs."""
    costs, wrong = costs_now(args.raw)
    cases = {"packets are tracked": "; ".join(wrong) or None}
    for name, then in json.loads(args.baseline.read_text()).items():
        now = costs[name]
        allowed = then["ours"] * now["stock"] / then["stock"]
        change = now["ours"] / allowed - 1
        print(f"   {name}: {now['ours']:,.0f} instructions, stock {now['stock']:,.0f}; the baseline says {allowed:,.0f} ({change:+.1%})")
        cases[name] = None
        if change > HEADROOM:
            cases[name] = (f"{now['ours']:,.0f} instructions, {change:.1%} more than the baseline's {allowed:,.0f}; if that is intended: "
                           "make bench BASELINE=1, and commit qemu/bench/baseline.json with the reason")
        elif change < -HEADROOM:
            print("   that is better than the baseline, so it can be lost unseen: make bench BASELINE=1, and commit qemu/bench/baseline.json")
    for which, without in (("unheard", args.unheard), ("bare", args.bare)):
        if without:
            cases.update(unused(args.raw, which, without))
    if args.stalls:
        cases.update(stalled(args.stalls))
    args.json.write_text(json.dumps(cases))
    return 1 if any(cases.values()) else 0


def stalled(raw):
    """Whether packets wait for what else happens."""
    measured = Measured([raw])
    yield "packets are tracked while much happens", "; ".join(measured.wrong()) or None
    for (situation, connections), found in measured.of("stall"):
        name = f"while {SITUATIONS[situation].format(connections)}"
        packet, delay = (costs["ours"] for costs in longest(found))
        print(f"   {name}: the worst packet {packet:,} instructions, the longest delay {delay:,}")
        yield f"packets {name}", f"{packet:,} instructions, more than {LONGEST:,}" if packet > LONGEST else None
        yield f"delays {name}", f"{delay:,} instructions, more than {LONGEST_DELAY:,}" if delay > LONGEST_DELAY else None


def unused(raw, which, without):
    """What packets pay for what is not used: beside modules that know of none."""
    (costs, _), (fewer, wrong) = (costs_now(file, UNUSED[which]) for file in (raw, without))
    yield f"packets are tracked without {WHAT[which]}", "; ".join(wrong) or None
    for name, then in fewer.items():
        paid = costs[name]["ours"] - then["ours"]
        print(f"   {name}: {paid:+,.1f} instructions for {WHAT[which]}")
        limit = next(limit for figure, limit in UNUSED[which].items() if name.endswith(figure))
        yield f"{name}, {which}", f"{WHAT[which]} cost {paid:,.1f} instructions, more than {limit}" if paid > limit else None


def baseline(args):
    costs, wrong = costs_now(args.raw)
    if wrong:
        sys.exit("error: " + "; ".join(wrong))
    args.baseline.write_text(json.dumps(costs, indent=1) + "\n")
    print(args.baseline.read_text(), end="")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("report")
    command.add_argument("raw", nargs="+", type=Path)
    command.add_argument("--json", required=True, type=Path)
    command.add_argument("--svg", required=True, type=Path)
    command.add_argument("--record", type=Path)
    command.set_defaults(act=report)
    command = commands.add_parser("gate")
    command.add_argument("raw", type=Path)
    command.add_argument("baseline", type=Path)
    command.add_argument("json", type=Path)
    command.add_argument("--stalls", type=Path)
    command.add_argument("--unheard", type=Path)
    command.add_argument("--bare", type=Path)
    command.set_defaults(act=gate)
    command = commands.add_parser("baseline")
    command.add_argument("raw", type=Path)
    command.add_argument("baseline", type=Path)
    command.set_defaults(act=baseline)
    args = parser.parse_args()
    return args.act(args)


if __name__ == "__main__":
    sys.exit(main())
