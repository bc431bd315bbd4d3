#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""setup_tests.py RESULTS : what a user is told when something is missing on the machine or in KDIR, and
what the installed files are good for.

Runs within the environment's root. Each refusal expects one line `error: ...`, an exit code other
than 0, and nothing in the cache that a later run would take for finished.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ENV = CHECKOUT / "tools/env"
BUILD = Path("/build")


def refused(command, expected, cache=None, **environment):
    """Runs a command that must end with the expected error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env=os.environ | environment | ({"IP_CONNTRACK_CACHE": str(cache)} if cache else {}))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode != 0, "exit code 0"
    assert len(errors) == 1 and expected in errors[0], f"said {done.stdout + done.stderr!r}"
    if cache and cache.is_dir():
        left = [path.name for path in cache.iterdir()
                if path.name.startswith(("root-", "source-", "kernel-")) and not path.name.endswith(".partial")]
        assert not left, f"left {left}"


def test_no_network(scratch):
    refused(["unshare", "--net", ENV / "root.sh"], "cannot be reached: check the network", scratch / "cache")


def test_no_disk(scratch):
    small = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-ec", 'mount -t tmpfs -o size=64M tmpfs "$0"; exec "$@"', scratch]
    refused([*small, ENV / "root.sh"], "the first set-up needs 8 GB", scratch)
    refused([*small, ENV / "kernel.sh"], "the kernel's source and build needs 6 GB", scratch)


def test_a_cache_that_cannot_be_written(_):
    refused([ENV / "root.sh"], "cannot write to /proc/none", Path("/proc/none"))


def test_a_user_without_namespaces(scratch):
    scratch.chmod(0o777)
    user = ["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"]
    refused([*user, ENV / "root.sh"], "/etc/subuid", scratch / "cache")


def test_an_unknown_flavour(_):
    refused([ENV / "kernel.sh", "shiny"], "no kernel of the kind 'shiny'")


def test_a_source_that_is_none(scratch):
    refused([ENV / "kernel.sh"], "is not a kernel's source", scratch / "cache", KERNEL_SOURCE=str(scratch))


# What is done to a copy of what a kernel's build folder has, and what is said then.
KDIRS = {
    "missing": (None, "is not there"),
    "unconfigured": ("rm .config", "is not configured"),
    "unprepared": ("rm include/generated/autoconf.h", "is not prepared"),
    "without netfilter": ("sed -i /CONFIG_NETFILTER=/d .config", "has no CONFIG_NETFILTER"),
    "without rust": ("sed -i /CONFIG_RUST=/d .config", "has no CONFIG_RUST=y"),
    "without room for a connection": ("sed -i /CONFIG_NF_CONNTRACK=/d .config", "has no CONFIG_NF_CONNTRACK=m"),
    "with stock built in": ("sed -i s/CONFIG_NF_CONNTRACK=m/CONFIG_NF_CONNTRACK=y/ .config", "stock tracker built in"),
    "not built": ("rm rust/libkernel.rmeta", "has no rust/libkernel.rmeta"),
    "of another release": ("echo 5.10.0 >include/config/kernel.release", "is 5.10.0; known to work are"),
    "of another compiler": ("sed -i 's/^CONFIG_RUSTC_VERSION_TEXT=.*/CONFIG_RUSTC_VERSION_TEXT=\"rustc 1.0\"/' .config",
                            "was built by 'rustc 1.0'"),
}


def test_kdir(scratch):
    kdir = scratch / "kdir"
    for name, (change, expected) in KDIRS.items():
        for file in (".config", "include/generated/autoconf.h", "include/config/kernel.release", "rust/libkernel.rmeta"):
            (kdir / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(BUILD / file, kdir / file)
        if change is None:
            shutil.rmtree(kdir)
        else:
            subprocess.run(change, shell=True, check=True, cwd=kdir)
        refused(["make", "-s", "-C", CHECKOUT, "modules", f"KDIR={kdir}"], expected)
    # And the one that nothing was done to is taken.
    subprocess.run([CHECKOUT / "tools/check_kdir.sh", BUILD], check=True)


def test_an_outside_module(scratch):
    """Somebody else's module, from what `make modules_install` installs; and an editor's project."""
    done = subprocess.run([CHECKOUT / "tools/outside_test.sh", scratch], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.split()[-1] == "ip_conntrack", f"it depends on {done.stdout.split()[-1]!r}"
    crates = json.loads((scratch / "rust-project.json").read_text())["crates"]
    ours = {crate["display_name"]: crate for crate in crates if "/checkout/rust/" in crate["root_module"]}
    missing = {"conntrack", "rcu_table", "raw", "netfilter", "ip_conntrack", "ipt_state"} - set(ours)
    assert not missing, f"an editor does not know {missing}"


def trouble_of(test):
    """The trouble with a case, or nothing."""
    try:
        with tempfile.TemporaryDirectory(dir="/cache") as scratch:
            test(Path(scratch))
    except Exception as trouble:  # Whatever it is, it is this case's failure.
        return repr(trouble)
    return None


def main():
    tests = {name.removeprefix("test_"): test for name, test in globals().items() if name.startswith("test_")}
    outcome = {}
    for name, test in tests.items():
        outcome[name] = trouble_of(test)
        print(f"   {'not ok' if outcome[name] else 'ok'} - setup.{name} {outcome[name] or ''}", flush=True)
    Path(sys.argv[1], "setup.json").write_text(json.dumps(outcome))
    return 1 if any(outcome.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
