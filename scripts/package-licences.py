#!/usr/bin/env python3
# scripts/package-licences.py TARGET FOLDER
#
# Writes two files for the package into FOLDER: `copyright`, hookbell's own, and `licences`, the licences of everything
# else that is in the binary built for TARGET (aarch64-unknown-linux-gnu, …): cargo says which packages these are, their
# sources hold the texts. Ends with 1 when a package has no text, so that none is forgotten.
#
#     --help    this text
import pathlib
import re
import sys

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
from packed import ROOT, fail, help_asked, linked  # noqa: E402

# Not COPYING where there is a LICENSE: beside zstd's BSD licence stands the GPL, which one may choose and need not.
NAMES = ("LICENSE*", "LICENCE*", "license*", "UNLICENSE*", "NOTICE*")
# Sources of another language that these packages bring along, in folders of their own.
BUNDLED = {"zstd-sys": ["zstd/LICENSE"], "ring": ["third_party/fiat/LICENSE"]}

MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def texts(package):
    """The licences of one package, or none."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = {file for name in NAMES for file in folder.glob(name) if file.is_file()}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    files = sorted(files) or sorted(file for file in folder.glob("COPYING*") if file.is_file())
    for name in BUNDLED.get(package["name"], []):
        if not (folder / name).is_file():
            fail(f"{package['name']} {package['version']} has no {name}", "Look where it is now, and change BUNDLED.")
        files.append(folder / name)
    found = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    found = ["\n".join(line.rstrip() for line in text.strip("\n").splitlines()) for text in found if text.strip()]
    if package["name"] == "libsqlite3-sys":
        found.append(sqlite(folder))
    return found or from_expression(package)


def sqlite(folder):
    """SQLite has no licence, but a blessing at the head of its sources."""
    head = (folder / "sqlite3" / "sqlite3.h").read_text(encoding="utf-8", errors="replace")[:2000]
    blessing = re.search(r"The author disclaims copyright.*?(?=\*{9})", head, re.DOTALL)
    if blessing is None:
        fail("sqlite3.h no longer begins with its blessing")
    lines = (line.lstrip("* ").rstrip() for line in blessing.group().splitlines())
    return "SQLite, in libsqlite3-sys:\n\n" + "\n".join(lines).strip()


def from_expression(package):
    """Some authors publish a package without its text. Of the licences that they name one is chosen whose text is known."""
    choices = re.split(r"\s+OR\s+|/", package["license"] or "")
    if "Apache-2.0" in choices:
        return [(ROOT / "LICENSE-APACHE").read_text(encoding="utf-8").strip("\n")]
    holders = ", ".join(re.sub(r"\s*<[^>]*>", "", author) for author in package["authors"])
    if "MIT" in choices and holders:
        return [f"Copyright (c) {holders}\n\n{MIT}"]
    return []


def main():
    help_asked(__file__)
    if len(sys.argv) != 3:
        fail("two arguments are needed", "Type: scripts/package-licences.py --help")
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])

    packages = linked(target)
    # One text for all that share it, in the order in which it is first met.
    users, without = {}, []
    for package in packages:
        found = texts(package)
        if not found:
            without.append(f"{package['name']} {package['version']} ({package['license']}, {package['repository']})")
        for text in found:
            users.setdefault(text, []).append(f"{package['name']} {package['version']}")
    if without:
        fail("these packages are in the binary and have no licence text:", *without,
             "Ask their authors, or teach from_expression() the text.")
    users[f"Copyright (c) The Rust Project Contributors\n\n{MIT}"] = ["the Rust standard library"]

    rule = "=" * 100
    out = ["What is in /usr/bin/hookbell besides hookbell itself, and under which licences. Where there are several to",
           "choose from, all texts stand here that their authors published.", ""]
    for package in packages:
        out.append(f"  {package['name']} {package['version']}  {package['license']}  {package['repository'] or ''}".rstrip())
    out.append("  the Rust standard library  MIT OR Apache-2.0  https://github.com/rust-lang/rust")
    for text, names in users.items():
        out += ["", rule, *(f"  {name}" for name in names), rule, "", text]
    (folder / "licences").write_text("\n".join(out) + "\n", encoding="utf-8")

    mit = (ROOT / "LICENSE-MIT").read_text(encoding="utf-8").strip("\n").splitlines()
    holder = next((line for line in mit if line.startswith("Copyright")), None)
    if holder is None:
        fail("LICENSE-MIT names no holder of the copyright")
    own = ["Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/", "Upstream-Name: hookbell",
           "Comment:", " The licences of the libraries that are part of the program stand in licences.gz beside this file.",
           "", "Files: *", f"Copyright: {holder.removeprefix('Copyright (c) ')}", "License: MIT or Apache-2.0", "",
           "License: MIT", *(f" {line}" if line else " ." for line in mit),
           "", "License: Apache-2.0", " On Debian systems its full text is in /usr/share/common-licenses/Apache-2.0."]
    (folder / "copyright").write_text("\n".join(own) + "\n", encoding="utf-8")
    print(f"licences of {len(packages)} packages, {len(users)} texts")


if __name__ == "__main__":
    main()
