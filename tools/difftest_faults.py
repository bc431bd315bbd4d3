#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""difftest_faults.py [TEXT...] : plants faults of one line in copies of the sources (those whose line contains
a TEXT), and sees each found by the differential test.

Runs on the host, after `make difftest N=1250 SEED=0`, whose results of the stock tracker it uses.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
# A file, a line of it, and what is put in its place.
FAULTS = (
    ("rust/conntrack/proto/tcp/window.rs", "claim.seq.after(sender.limit)", "claim.seq.after(sender.limit.add(1))"),
    ("rust/conntrack/proto/tcp/window.rs", "!(sender.flags & receiver.flags).has(Flags::SCALES)", "!sender.flags.has(Flags::SCALES)"),
    ("rust/conntrack/proto/tcp/window.rs", "receiver.limit = offered.add(u32::from(window == 0));", "receiver.limit = offered;"),
    ("rust/conntrack/proto/tcp/mod.rs", "new = old;\n", "\n"),
    ("rust/conntrack/proto/tcp/mod.rs", "self.ends.note(Flags::EXPECTS_CHALLENGE, challenge);", ""),
    ("rust/conntrack/proto/tcp/mod.rs", "sender.reset();", ""),
    ("rust/conntrack/proto/tcp/mod.rs", "_ if new == State::Established => Effect::moved(", "_ if new == State::SynRecv => Effect::moved("),
    ("rust/conntrack/proto/tcp/near.rs", "let offered = !segment.seq.after(sender.limit)", "let offered = !segment.seq.after(sender.limit.add(1))"),
    ("rust/conntrack/proto/tcp/near.rs", "unacknowledged <= LEAST", "unacknowledged <= 2 * LEAST"),
    ("rust/conntrack/proto/tcp/usual.rs", "ends.close_first(direction);", ""),
    ("rust/conntrack/proto/tcp/recent.rs", "self.retrans >= config.tcp_max_retrans.get()", "self.retrans > config.tcp_max_retrans.get()"),
    ("rust/conntrack/proto/udp.rs", "if !status.contains(Status::SEEN_REPLY)", "if status.contains(Status::SEEN_REPLY)"),
    ("rust/conntrack/proto/sctp.rs", "self.strange_heartbeat = Some(direction);", ""),
    ("rust/conntrack/proto/sctp.rs", "self.inits = [false; 2];", ""),
    ("rust/conntrack/packet.rs", "self.network.dst != answer.dst_words()", "self.network.src == answer.dst_words()"),
    ("rust/conntrack/wire/ip.rs", "units.saturating_add(2).saturating_mul(4)", "units.saturating_add(1).saturating_mul(8)"),
    ("rust/ip_conntrack/track.rs", "Direction::Original if status.contains(Status::SEEN_REPLY) => CtInfo::Established,", ""),
)


def stale():
    """Faults whose line is not there just once."""
    for file, line, _ in FAULTS:
        times = (CHECKOUT / file).read_text().count(line)
        if times != 1:
            yield f"{Path(__file__).name}: {file} has {times} times {line!r}"


def found(stock, file, line, other):
    """Whether the differential test notices the fault."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "tree")
        shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(".git", "target", "__pycache__"))
        text = (copy / file).read_text()
        (copy / file).write_text(text.replace(line, other))
        done = subprocess.run([copy / "tools/difftest.sh", "1250", "0"], env=os.environ | {"STOCK": stock},
                              capture_output=True, text=True)
        built = subprocess.run([copy / "tools/build.sh", "--path", "plain"], capture_output=True, text=True, check=True)
        shutil.rmtree(built.stdout.strip(), ignore_errors=True)
        last = (done.stdout.splitlines() or [""])[-1]
        if not last.startswith("difftest: "):
            sys.exit(f"not built or not run:\n{done.stdout}{done.stderr}")
        print(f"   {last.removeprefix('difftest: ')}", flush=True)
        return done.returncode != 0


def main():
    work = subprocess.run([CHECKOUT / "tools/build.sh", "--path", "plain"], capture_output=True, text=True, check=True)
    stock = Path(work.stdout.strip(), "difftest/plan.stock/packets")
    if not stock.exists():
        sys.exit("first: make difftest N=1250 SEED=0")
    missed = 0
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or any(text in fault[1] for text in sys.argv[1:])]
    for file, line, other in chosen:
        print(f"-> {file}: {line.strip()}", flush=True)
        if not found(str(stock), file, line, other):
            missed += 1
            print("   NOT FOUND")
    print(f"faults: {len(chosen) - missed} found, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
