"""What is in the program, by cargo's word: for the licences and the list of parts that lie in its package.

Owns the question which packages are linked in, and how these scripts speak. Knows nothing of what is written about them.
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What scripts/cross-build builds with.
FEATURES = ("--features", "rppal")


def fail(what, *remedies):
    """Says what is wrong, then what to do, and ends with 1."""
    print(f"{pathlib.Path(sys.argv[0]).name}: {what}", file=sys.stderr)
    for remedy in remedies:
        print(f"    {remedy}", file=sys.stderr)
    sys.exit(1)


def help_asked(script):
    """Prints the comment at the top of a script and ends, where --help is all that is asked."""
    if sys.argv[1:] not in (["--help"], ["-h"]):
        return
    for line in pathlib.Path(script).read_text(encoding="utf-8").splitlines()[1:]:
        if not line.startswith("#"):
            sys.exit(0)
        print(line.removeprefix("#").removeprefix(" "))


def cargo(*arguments):
    """What a command of cargo's prints, for these sources and their Cargo.lock."""
    result = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if result.returncode != 0:
        fail(f"cargo {arguments[0]} failed", "Its words stand above.")
    return result.stdout.decode()


def metadata(*arguments):
    """What cargo knows of all packages."""
    return json.loads(cargo("metadata", "--locked", "--format-version", "1", *FEATURES, *arguments))


def linked(target):
    """The packages that are linked into the binary: no tools of the build, no macros, only this target's, not hookbell."""
    return linked_of(target, metadata("--filter-platform", target))


def linked_of(target, known):
    """The same, where the metadata of that target are at hand."""
    listing = cargo("tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target, *FEATURES,
                    "--prefix", "none", "--format", "{p}")
    wanted = {tuple(line.split()[:2]) for line in listing.splitlines() if line}
    found = [package for package in known["packages"] if (package["name"], "v" + package["version"]) in wanted]
    if len({(package["name"], package["version"]) for package in found}) != len(wanted):
        fail("cargo tree and cargo metadata name different packages")
    return sorted((package for package in found if package["name"] != "hookbell"),
                  key=lambda package: (package["name"], package["version"]))
