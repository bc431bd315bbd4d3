#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""coverage.py PROFILES JSON : how many lines of the engine its tests on the host reach.

Standard input: nextest's list of test binaries. Fails below LEAST percent; names the lines that no
test reaches in PROFILES/missed.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

LEAST = 95
# What is not the engine: its tests, libraries.
OTHERS = "/tests/|/cargo/|/rustc"


def main():
    profiles, result = map(Path, sys.argv[1:])
    binaries = [binary["binary-path"] for binary in json.load(sys.stdin)["rust-binaries"].values()]
    merged = profiles / "merged"
    subprocess.run(["llvm-profdata", "merge", "-sparse", *profiles.glob("*.profraw"), "-o", merged], check=True)
    what = ["--instr-profile", merged, *(word for binary in binaries for word in ("--object", binary)),
            "--ignore-filename-regex", OTHERS]
    export = subprocess.run(["llvm-cov", "export", "--summary-only", *what], capture_output=True, check=True)
    lines = json.loads(export.stdout)["data"][0]["totals"]["lines"]
    shown = subprocess.run(["llvm-cov", "show", *what], capture_output=True, text=True, check=True).stdout
    (profiles / "missed").write_text("".join(
        f"{line}\n" for line in shown.splitlines() if line.startswith("/") or re.match(r" *\d+\| *0\|", line)))
    percent = lines["percent"]
    print(f"   the engine's tests reach {lines['covered']} of its {lines['count']} lines ({percent:.1f} %)")
    trouble = None if percent >= LEAST else f"{percent:.1f} %; the rest is in {profiles}/missed"
    result.write_text(json.dumps({f"lines of the engine, at least {LEAST} %": trouble}))
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
