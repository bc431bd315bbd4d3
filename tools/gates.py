#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Gates on the sources: where unsafe code may stand, what may not panic, licence lines.

    gates.py [ROOT]      prints what is wrong; exit code 1 if anything is
    gates.py --self-test plants a fault of each kind in a copy and sees each caught
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import difftest_faults

UNSAFE_HOME = ("rust/netfilter/", "rust/rcu_table/")
NO_PANIC = ("rust/conntrack/", "rust/ip_conntrack/", "rust/helpers/", "rust/netlink/", "rust/nftables/", "rust/xtables/")
SOURCES = {".rs", ".c", ".h", ".py", ".sh"}
PANICS = re.compile(r"\.unwrap\(\)|\.expect\(|\b(panic|unreachable|todo|unimplemented|assert|assert_eq|assert_ne)!")
MACHINE = re.compile(r"/home/\w+/|/root/\.")


def code(line):
    """A line of Rust without its comment and the text of strings."""
    line = re.sub(r'"(?:\\.|[^"\\])*"', '""', line)
    return line.split("//", 1)[0]


def before_tests(lines):
    """The lines in front of a module of tests; tests stand last in a file."""
    for number, line in enumerate(lines, 1):
        if line.startswith("#[kunit_tests") or line == "#[cfg(test)]" and any(next_line.startswith("mod ") for next_line in lines[number:number + 2]):
            return
        yield number, line


def proven(lines, number):
    """Whether the comment above line `number` says why it is safe."""
    for line in reversed(lines[:number - 1]):
        text = line.strip()
        if "SAFETY:" in text or "# Safety" in text:
            return True
        # Attributes and further comment lines may stand between, and the lines of a statement
        # that has begun above.
        if text.endswith((";", "}")) or not text:
            return False
    return False


def of_a_trait(lines, number):
    """Whether line `number` lies in the implementation of a trait, which states the contract."""
    heads = (line for line in reversed(lines[:number]) if re.match(r"(unsafe )?impl\b|fn |pub ", line))
    return bool(re.match(r"unsafe impl\b.* for ", next(heads, "")))


def check_unsafe(name, lines):
    for number, line in enumerate(lines, 1):
        text = code(line)
        if not re.search(r"\bunsafe\b", text) or re.search(r"(forbid|deny)\(unsafe_code\)|unsafe_op_in_unsafe_fn", text):
            continue
        if not name.startswith(UNSAFE_HOME):
            yield number, "unsafe outside of rust/netfilter and rust/rcu_table"
        # A function's type says what its pointer is, and claims nothing.
        elif re.match(r"    unsafe fn", line) and of_a_trait(lines, number):
            continue
        elif not re.search(r"Option<unsafe|unsafe (extern \"\" )?fn\(", text) and not proven(lines, number) and "// SAFETY:" not in line:
            yield number, "unsafe without a SAFETY comment or a # Safety section above it"


def check_panics(name, lines):
    if name.startswith(NO_PANIC) and "/tests/" not in name:
        for number, line in before_tests(lines):
            # (What is asserted at compile time cannot.)
            if PANICS.search(code(line)) and not re.match(r"\s*const (_: \(\) =|\{)", line):
                yield number, "may panic where packets can reach"


def check_root(name, lines):
    """A crate's root forbids unsafe code, but for those whose work it is."""
    parts = Path(name)
    root = parts.stem == parts.parent.name or parts.parent.name in ("nftables", "xtables") and name.count("/") == 2 or name.startswith("kunit-tests/")
    if root and not name.startswith(UNSAFE_HOME) and not any(re.match(r"#!\[(forbid|deny)\(unsafe_code\)\]", line) for line in lines):
        yield 1, "a crate's root without #![forbid(unsafe_code)]"


def check_file(root, path):
    name = str(path.relative_to(root))
    raw = path.read_bytes()
    if len(raw) > 1 << 20:
        yield 1, "larger than 1 MiB"
    if b"\0" in raw:
        return
    lines = raw.decode(errors="replace").splitlines()
    scripted = lines and lines[0].startswith("#!/")
    if (path.suffix in SOURCES or scripted or path.name in ("Kbuild", "Makefile")) and not any("SPDX-License-Identifier: GPL-2.0" in line for line in lines[:3]):
        yield 1, "no SPDX line"
    if not name.endswith("gates.py"):
        yield from ((number, "a path of one machine") for number, line in enumerate(lines, 1) if MACHINE.search(line))
    if path.suffix == ".rs" and name.startswith(("rust/", "kunit-tests/")):
        yield from check_unsafe(name, lines)
        yield from check_panics(name, lines)
        yield from check_root(name, lines)


def files(root):
    skipped = {".git", "target", "__pycache__"}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not skipped & set(path.relative_to(root).parts):
            yield path


def check(root):
    return [f"{path.relative_to(root)}:{number}: {what}" for path in files(root) for number, what in check_file(root, path)]


# A file, a line planted at its end, and what must be said of it.
FAULTS = (
    ("rust/conntrack/tuple.rs", "fn f() { unsafe { g() } }", "unsafe outside"),
    ("rust/ip_conntrack/rules.rs", "macro_rules! m { () => { unsafe { g() } }; }", "unsafe outside"),
    ("kunit-tests/kunit_engine.rs", "unsafe fn f() {}", "unsafe outside"),
    ("rust/netfilter/skb.rs", "\nfn f() {\n\n    unsafe { g() }\n}", "without a SAFETY"),
    ("rust/netfilter/skb.rs", "\n/// Does it.\npub unsafe fn f() {}", "without a SAFETY"),
    ("rust/rcu_table/entry.rs", "\nunsafe impl Send for Link {}", "without a SAFETY"),
    ("rust/ip_conntrack/track.rs", "fn f(x: Option<u8>) { x.unwrap(); }", "may panic"),
    ("rust/conntrack/packet.rs", "fn f() { panic!(); }", "may panic"),
    # Behind an item that is there for tests alone.
    ("rust/conntrack/proto/tcp/recent.rs", "fn f() { panic!(); }", "may panic"),
    ("rust/xtables/ipt_new.rs", "// SPDX-License-Identifier: GPL-2.0", "crate's root without"),
    ("tools/new.sh", "#!/bin/sh", "no SPDX"),
    ("tools/new.py", "# SPDX-License-Identifier: GPL-2.0\nx = '/home/me/x'", "path of one machine"),
    ("big", "x" * (1 << 20 | 1), "larger than 1 MiB"),
)


def self_test(root):
    missed = 0
    for name, fault, expected in FAULTS:
        with tempfile.TemporaryDirectory() as copy:
            target = Path(copy, "tree")
            shutil.copytree(root, target, ignore=shutil.ignore_patterns(".git", "target", "__pycache__"))
            file = target / name
            file.write_text((file.read_text() if file.exists() else "") + fault + "\n")
            found = check(target)
            if not any(line.startswith(f"{name}:") and expected in line for line in found):
                missed += 1
                print(f"gates: a fault was not seen: {fault[:60]!r} in {name}: {found}")
    print(f"gates: {len(FAULTS) - missed} of {len(FAULTS)} planted faults seen")
    return 1 if missed else 0


def main():
    here = Path(__file__).resolve().parent.parent
    if sys.argv[1:] == ["--self-test"]:
        return self_test(here)
    problems = check(Path(sys.argv[1]) if sys.argv[1:] else here)
    problems += difftest_faults.stale()
    print(*problems, sep="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
