#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""summary.py RESULTS FLAVOUR : adds up the results of `make test`, and ends with `N passed, N failed`."""

import json
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def host(results):
    """Tests of the crates, from nextest."""
    for kind in ("units", "asan", "loom"):
        file = results / f"host-{kind}.xml"
        if not file.exists():
            yield f"host tests ({kind})", "no results"
            continue
        for case in xml.parse(file).iter("testcase"):
            failed = case.find("failure") is not None or case.find("error") is not None
            yield f"{case.get('classname')} {case.get('name')}", "failed" if failed else None


def listed(file, name):
    """Scenarios, KUnit cases and the like, as JSON of name and trouble."""
    if not file.exists():
        yield name, "no results"
        return
    cases = json.loads(file.read_text())
    if not cases:
        yield name, "no tests were run"
    yield from ((f"{name} {case}", trouble) for case, trouble in cases.items())


def main():
    results = Path(sys.argv[1])
    # What a debug kernel would only slow down is left to the other.
    plain = sys.argv[2] == "plain"
    cases = [*host(results),
             *listed(results / "coverage.json", "coverage"),
             *listed(results / "fuzz.json", "fuzz"),
             *listed(results / "setup.json", "setup"),
             *(case for part in ("difftest", "bench") if plain for case in listed(results / f"{part}.json", part)),
             *listed(results / "kunit/kunit.json", "kunit"),
             *listed(results / "scenarios/scenarios.json", "scenario"),
             *listed(results / "stock/scenarios.json", "scenario on stock")]
    for part in ("kunit", "scenarios", "stock"):
        status = results / part / "status"
        cases.append((f"guest of {part}", None if status.exists() else "ended early"))
    failed = [(name, trouble) for name, trouble in cases if trouble]
    for name, trouble in failed:
        print(f"FAILED {name}: {trouble.splitlines()[0]}")
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
