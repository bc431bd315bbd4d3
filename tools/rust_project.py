#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""rust_project.py KERNEL_PROJECT CHECKOUT : the kernel's rust-project.json, with our crates added."""

import json
import sys
from pathlib import Path

# Each crate with those of ours that it uses, lowest first.
CRATES = {
    "conntrack": (), "rcu_table": (), "raw": (),
    "netfilter": ("raw", "conntrack", "rcu_table"),
    "ip_conntrack": ("netfilter", "conntrack", "rcu_table"),
}


def main():
    project = json.loads(Path(sys.argv[1]).read_text())
    rust = Path(sys.argv[2], "rust")
    known = {crate["display_name"]: number for number, crate in enumerate(project["crates"])}
    base = [name for name in ("core", "kernel", "macros", "pin_init", "ffi", "zerocopy", "zerocopy_derive") if name in known]
    roots = {name: rust / ("netfilter" if name == "raw" else name) / f"{name}.rs" for name in CRATES}
    edges = {path.stem: path for path in sorted([*(rust / "xtables").glob("*.rs"), *(rust / "nftables").glob("*.rs")])}
    uses = CRATES | dict.fromkeys(edges, ("ip_conntrack", "netfilter", "conntrack"))
    for name, root in (roots | edges).items():
        known[name] = len(project["crates"])
        project["crates"].append({
            "display_name": name, "root_module": str(root), "edition": "2021", "is_workspace_member": True,
            "cfg": project["crates"][known["kernel"]].get("cfg", []) + ["MODULE"],
            "deps": [{"crate": known[used], "name": used} for used in (*base, *uses[name])],
            "env": {},
        })
    print(json.dumps(project, indent=1))


main()
