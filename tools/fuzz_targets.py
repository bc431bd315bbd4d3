#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Builds the fuzz targets of rust/fuzz and runs them, within the environment's root.

    fuzz_targets.py replay [JSON]   seeds, and RUNS inputs that are always the same
    fuzz_targets.py run SECONDS     new inputs, for so long with each target
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CARGO_FUZZ = "0.12.0"  # 0.13.2 is too new for Debian's compiler.
CRATE = Path("/checkout/rust/fuzz")
CACHE = Path("/cache")
# Of each target: how many inputs, how long they may be, and how long one may take.
RUNS = 1_000_000
LONGEST = 1024
SECONDS = 10
# Code without unsafe needs no sanitizer; Debian's compiler has none.
BUILD = ["cargo", "fuzz", "build", "--fuzz-dir", str(CRATE), "--sanitizer", "none", "--debug-assertions"]


def quietly(log, what, environment):
    """Runs a command; its output goes to `log`, and its end to the screen where it fails: `None` or that."""
    with open(CACHE / log, "w") as output:
        done = subprocess.run(what, cwd=CRATE, env=environment, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        return None
    print(*(CACHE / log).read_text().splitlines()[-30:], sep="\n")
    return f"{' '.join(what)} failed; all of it is in {log} in the cache"


def build():
    """Builds the targets: the folder that they are in, and what is wrong with the seeds."""
    tool = CACHE / f"cargo-fuzz-{CARGO_FUZZ}"
    if not (tool / "bin/cargo-fuzz").exists():
        print(f"   building cargo-fuzz {CARGO_FUZZ}, once (about a minute on two cores)", flush=True)
        target = CACHE / "cargo-fuzz-target"
        trouble = quietly(
            "cargo-fuzz.log",
            ["cargo", "install", "--quiet", "--locked", "--root", str(tool), f"cargo-fuzz@{CARGO_FUZZ}"],
            {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0"})
        shutil.rmtree(target, ignore_errors=True)
        if trouble:
            sys.exit(trouble)
    target = CACHE / "target-fuzz"
    # Cargo looks at times alone, and what was built here last may be another checkout's.
    for crate in ("conntrack", "helpers", "fuzz"):
        for known in target.glob(f"**/.fingerprint/{crate}-*"):
            shutil.rmtree(known)
    environment = {**os.environ, "PATH": f"{tool}/bin:{os.environ['PATH']}", "CARGO_TARGET_DIR": str(target)}
    # Also sees to it that the versions are those of Cargo.lock, which cargo-fuzz does not.
    seeds = quietly("fuzz-seeds.log", ["cargo", "test", "--locked", "--test", "seeds"], environment)
    trouble = quietly("fuzz-build.log", BUILD, environment)
    if trouble:
        sys.exit(trouble)
    [binary] = target.glob("*/release/ftp")
    return binary.parent, seeds


def fuzz(binary, limits, grown):
    """Runs a target: `None`, or what is wrong. New inputs that are worth it go to `grown`."""
    name = binary.name
    findings = CACHE / "fuzz/findings"
    log = CACHE / f"fuzz/{name}.log"
    for folder in (grown, findings):
        folder.mkdir(parents=True, exist_ok=True)
    # Where code lies in memory tells libFuzzer comparisons apart: it is to be the same, too.
    what = ["setarch", "-R", binary, *limits, f"-max_len={LONGEST}", f"-timeout={SECONDS}", "-rss_limit_mb=1024",
            f"-dict={CRATE}/dictionaries/{name}", f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1",
            grown, CRATE / "corpus" / name]
    with log.open("w") as output:
        code = subprocess.run(what, cwd="/", stdout=output, stderr=subprocess.STDOUT).returncode
    text = log.read_text(errors="replace")
    runs = int((re.findall(r"stat::number_of_executed_units: *(\d+)", text) or ["0"])[-1])
    if code != 0:
        found = re.findall(r"Test unit written to \S+/(\S+)", text)
        why = re.search(r"panicked at .*\n.*|ERROR: .*", text)
        print(f"   {name}: FAILED: {why[0] if why else f'exit code {code}'}",
              *(f"   to see it again: tools/env/enter.sh {binary} {findings / file}" for file in found), sep="\n", flush=True)
        return f"fails on an input: {', '.join(found) or 'none was written'}; {name}.log in the cache's fuzz has the rest"
    print(f"   {name}: {runs:,} inputs, nothing found", flush=True)
    return None if runs >= RUNS or "-runs" not in limits[0] else f"only {runs} of {RUNS} inputs were read"


def main():
    mode, argument = (sys.argv[1:] + [None])[:2]
    folder, seeds = build()
    if mode == "replay":
        # The same every time: no inputs left from the last time, none read again by the clock.
        limits, grown = [f"-runs={RUNS}", "-seed=1", "-reload=0"], CACHE / "fuzz/replay"
        shutil.rmtree(grown, ignore_errors=True)
    else:
        limits, grown = [f"-max_total_time={int(argument)}"], CACHE / "fuzz/corpus"
    names = [target["name"] for target in tomllib.loads((CRATE / "Cargo.toml").read_text())["bin"]]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        troubles = list(pool.map(lambda name: fuzz(folder / name, limits, grown / name), names))
    if any(troubles):
        print("   Once it is mended, the input belongs into rust/fuzz/corpus, by a name that says what it is.")
    results = {"seeds": seeds, **dict(zip(names, troubles))}
    if mode == "replay" and argument:
        Path(argument).write_text(json.dumps(results))
    return 1 if any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
