#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench_profile.py RAW EXECUTED MODULES ALL : where the instructions of a packet go, the largest entries
by load: functions of the kernel, modules of ours. All of them, and our functions and lines, go to the
file ALL. RAW is from qemu/bench/run, EXECUTED from its plugin; MODULES is a folder with our modules,
with debug information. What the compiler has put into another function counts for itself; what it has
put there of Rust's own library counts for the one of ours that has called it."""

import bisect
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

LARGEST = 8
LOADS = {"data": "established", "open": "new", "rest": "the rest of the handshake", "close": "closing", "end": "the end, by the clock"}


class Lines:
    """The functions of our modules, by address within a section."""

    def __init__(self, folder):
        self.folder = folder
        self.known = {}

    def look_up(self, module, section, offsets):
        file = self.folder / f"{module}.ko"
        wanted = sorted(offset for offset in set(offsets) if (module, section, offset) not in self.known)
        if not wanted:
            return
        run = subprocess.run(["addr2line", "-a", "-i", "-f", "-C", "-j", section, "-e", file], text=True, check=True, capture_output=True,
                             input="".join(f"{offset:#x}\n" for offset in wanted))
        for text in re.split(r"^(?=0x)", run.stdout, flags=re.M)[1:]:
            address, *frames = text.splitlines()
            frames = list(zip(frames[::2], frames[1::2]))
            frames = [(name, re.sub(r"^(/checkout/)?(\./)?| .*", "", place)) for name, place in frames]
            ours = [frame for frame in frames if frame[1].startswith("rust/")]
            name, place = ours[0] if ours else frames[-1]
            self.known[module, section, int(address, 16)] = tidy(name), place

    def of(self, module, section, offset):
        """The function, and the line of the source."""
        return self.known[module, section, offset]


def tidy(name):
    """A function's path without the types that it is made for."""
    name = re.sub(r"::h[0-9a-f]{16}$|\[[0-9a-f]{16}\]", "", name)
    while (shorter := re.sub(r"<([^<>]*?)(?: as [^<>]*)?>", lambda m: m[1] if m.start() == 0 else "", name)) != name:
        name = shorter
    return re.sub(r"::{2,}", "::", name.replace("{closure#0}", "{closure}")).rstrip(":")


def group(name):
    """The module of a function of ours; a function of the kernel stands for itself."""
    parts = name.split("::")
    outer = [part for part in parts[:-1] if part[:1].islower()]
    return "::".join(outer) if outer else name


def places(sections):
    """Where each section of a module begins, in order."""
    return sorted((address, module, section) for module, parts in sections.items() for section, address in parts.items() if address)


def named(executed, symbols, sections, lines):
    """How many instructions were executed in each function, and in each line of our sources."""
    starts = sorted((int(address), name) for address, name in symbols.items())
    keys = [address for address, _ in starts]
    homes = places(sections)
    home_keys = [address for address, *_ in homes]
    ours, counts, by_line = [], Counter(), Counter()
    for address, count in executed.items():
        at = bisect.bisect_right(home_keys, address) - 1
        start, module, section = homes[at] if at >= 0 else (0, "", "")
        if module and address - start < 1 << 22 and (lines.folder / f"{module}.ko").exists() and module != "ip_conntrack_bench":
            ours.append((module, section, address - start, count))
        elif module == "ip_conntrack_bench" and address - start < 1 << 16:
            counts["(the benchmark itself)"] += count
        else:
            counts[starts[bisect.bisect_right(keys, address) - 1][1]] += count
    for module, section in {(module, section) for module, section, *_ in ours}:
        lines.look_up(module, section, [offset for name, part, offset, _ in ours if (name, part) == (module, section)])
    for module, section, offset, count in ours:
        name, line = lines.of(module, section, offset)
        counts[name] += count
        by_line[f"{line} {name}"] += count
    return counts, by_line


def by_slot(file):
    slots = {}
    for line in file.read_text().splitlines():
        slot, count, *addresses = line.split()
        executed = slots.setdefault(int(slot), Counter())
        for address in addresses:
            executed[int(address, 16)] += int(count)
    return slots


def cells(counts, packets):
    """The largest entries, the rest, and the sum."""
    largest = [(f"`{name}`", count / packets) for name, count in counts.most_common(LARGEST)]
    rest = sum(counts.values()) / packets - sum(count for _, count in largest)
    return [*largest, ("all others", rest), ("sum", sum(counts.values()) / packets)]


def main():
    raw, executed, modules, everything = map(Path, sys.argv[1:])
    slots = by_slot(executed)
    lines = Lines(modules)
    found, text = {}, []
    for one in json.loads(raw.read_text())["results"]:
        data = one["found"]
        for phase, load in LOADS.items():
            if not data[phase]["packets"]:
                continue
            counts, by_line = named(slots[data[phase]["slot"]], data["symbols"], data["sections"], lines)
            by_module = Counter()
            for name, count in counts.items():
                by_module[group(name)] += count
            for what, counted in (("modules", by_module), ("functions", counts), ("lines", by_line)):
                text.append(f"\n{one['tracker']}, {one['options']['protocol']}, {load}: {what}\n")
                text += [f"{count / data[phase]['packets']:8.1f} {name}\n" for name, count in counted.most_common()]
            found.setdefault((one["options"]["protocol"].upper(), load), {})[one["tracker"]] = cells(by_module, data[phase]["packets"])
    everything.write_text("".join(text))
    for (protocol, load), trackers in found.items():
        print(f"\n{protocol}, {load}:\n")
        print("| " + " | ".join(f"{tracker} | instructions" for tracker in trackers) + " |")
        print("|" + "---|---:|" * len(trackers))
        for row in zip(*trackers.values()):
            print("| " + " | ".join(f"{name} | {count:,.0f}" for name, count in row) + " |")


if __name__ == "__main__":
    main()
