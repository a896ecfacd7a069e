"""Which files of a kernel's module tree have to be inserted for these modules, in an order that works.

What `depmod` and `modprobe` would do, without either: each module says itself what it depends on. Prints their paths, one
a line. A module that the kernel has built in has no file, and needs none.
"""

import os
import re
import sys


def tree(folder):
    """All modules beneath a folder, by name. A file may write `-` where the kernel says `_`."""
    found = {}
    for parent, _, files in os.walk(folder):
        for file in files:
            if file.endswith(".ko"):
                found[file[:-3].replace("-", "_")] = os.path.join(parent, file)
    return found


def depends(path):
    with open(path, "rb") as file:
        said = re.search(rb"\0depends=([^\0]*)\0", file.read())
    return [name.replace("-", "_") for name in said.group(1).decode().split(",") if name] if said else []


def order(folder, names):
    """Paths of these modules and of what they depend on, what is needed first."""
    known, paths, seen = tree(folder), [], set()

    def visit(name):
        if name in seen:
            return
        seen.add(name)
        path = known.get(name)
        if path is None:
            sys.exit(f"the kernel has no module {name} beneath {folder}")
        for other in depends(path):
            visit(other)
        paths.append(path)

    for name in names:
        visit(name.replace("-", "_"))
    return paths


if __name__ == "__main__":
    print("\n".join(order(sys.argv[1], sys.argv[2:])))
