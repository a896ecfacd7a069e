#!/usr/bin/env python3
# scripts/package-sbom.py TARGET FILE [--version VERSION] [--time SECONDS] [--program PROGRAM]
#
# Writes to FILE what the binary built for TARGET (aarch64-unknown-linux-gnu, …) is made of, as CycloneDX 1.6: the same
# packages whose licences scripts/package-licences.py collects, with version, licence, the SHA-256 that Cargo.lock holds,
# and who needs whom; and the C that some of them bring along, SQLite and zstd. The same sources make the same bytes.
#
#     --version VERSION    hookbell's own; without it Cargo.toml's
#     --time SECONDS       when it was made, since 1970; without it SOURCE_DATE_EPOCH, else no time stands in it
#     --program PROGRAM    the binary: its SHA-256 and the Rust that built it are named. Ends with 1 when a part says of
#                          itself in there that it is another one than the sources are
#     --help               this text
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import sys
import uuid

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
from packed import ROOT, fail, help_asked, linked_of, metadata  # noqa: E402

# What makes a serial number of hookbell's from the rest of the document; any constant does.
NAMESPACE = uuid.UUID("a8f6a7e0-5f5c-5b0e-9f54-7d7f2f5d3c11")


def bundled(package):
    """The C of another project that a package compiles into the program, as a component, or none."""
    folder = pathlib.Path(package["manifest_path"]).parent
    if package["name"] == "libsqlite3-sys":
        head = read(folder / "sqlite3" / "sqlite3.h")
        version = only(r'^#define SQLITE_VERSION +"([0-9.]+)"', head, "sqlite3.h")
        source = only(r'^#define SQLITE_SOURCE_ID +"([^"]+)"', head, "sqlite3.h")
        # Its licence is a blessing, which SPDX knows by this name.
        return library("sqlite", version, f"pkg:generic/sqlite@{version}", "blessing",
                       "https://www.sqlite.org/src", properties={"hookbell:source-id": source})
    if package["name"] == "zstd-sys":
        head = read(folder / "zstd" / "lib" / "zstd.h")
        version = ".".join(only(rf"^#define ZSTD_VERSION_{part} +([0-9]+)", head, "zstd.h")
                           for part in ("MAJOR", "MINOR", "RELEASE"))
        return library("zstd", version, f"pkg:generic/zstd@{version}", "BSD-3-Clause OR GPL-2.0-only",
                       "https://github.com/facebook/zstd")
    return None


def read(file):
    """The text of a source of a package."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", "Look where it is now, and change bundled().")


def only(pattern, text, where):
    """The first group of the first match."""
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        fail(f"{where} no longer says what {pattern} looks for", "Look how it says it now, and change bundled().")
    return match.group(1)


def library(name, version, purl, licence, repository, sha256=None, properties=None):
    """One component."""
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "scope": "required"}
    if sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if licence:
        # Packages of old separate what one may choose from by a stroke.
        component["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", licence)}]
    component["purl"] = purl
    if repository:
        component["externalReferences"] = [{"type": "vcs", "url": repository}]
    if properties:
        component["properties"] = [{"name": key, "value": properties[key]} for key in sorted(properties)]
    return component


def checksums():
    """What Cargo.lock holds of each package: (name, version) → SHA-256."""
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    # As cargo writes it; Python 3.10 has no reader of TOML.
    found = re.findall(r'^name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "([0-9a-f]{64})"$', lock, re.MULTILINE)
    return {(name, version): checksum for name, version, checksum in found}


def purl_of(package):
    """The name of a package anywhere. A `+` has to be written otherwise there."""
    return f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"


def dependencies(known, packages, parts):
    """Who needs whom, among what is in the program."""
    names = {package["id"]: purl_of(package) for package in packages}
    root = known["resolve"]["root"]
    names[root] = "hookbell"
    made = []
    for node in known["resolve"]["nodes"]:
        if node["id"] not in names:
            continue
        needed = {names[edge["pkg"]] for edge in node["deps"]
                  if edge["pkg"] in names and any(kind["kind"] is None for kind in edge["dep_kinds"])}
        part = parts.get(names[node["id"]])
        made.append({"ref": names[node["id"]], "dependsOn": sorted(needed | ({part} if part else set()))})
    made += [{"ref": part, "dependsOn": []} for part in parts.values()]
    return sorted(made, key=lambda entry: entry["ref"])


def look_into(program, components):
    """What the binary says of itself: its hash and the Rust that built it. Its SQLite has to be that of the sources."""
    try:
        data = pathlib.Path(program).read_bytes()
    except OSError as error:
        fail(f"{program} cannot be read: {error.strerror}", "Build it first: scripts/cross-build")
    for component in components:
        for found in component.get("properties", []):
            if found["name"] == "hookbell:source-id" and found["value"].encode() not in data:
                fail(f"{program} holds another {component['name']} than {found['value']}", "Build it again: scripts/cross-build")
    # A compiler signs what it has made.
    rust = re.search(rb"rustc version ([0-9]+\.[0-9]+\.[0-9]+)", data)
    return hashlib.sha256(data).hexdigest(), rust and rust.group(1).decode()


def document(arguments):
    """The whole document, but for its serial number."""
    known = metadata("--filter-platform", arguments.target)
    hookbell = next(package for package in known["packages"] if package["id"] == known["resolve"]["root"])
    packages, sums = linked_of(arguments.target, known), checksums()
    components, parts = [], {}
    for package in packages:
        sha256 = sums.get((package["name"], package["version"]))
        if sha256 is None:
            fail(f"Cargo.lock has no checksum for {package['name']} {package['version']}")
        components.append(library(package["name"], package["version"], purl_of(package), package["license"],
                                  package["repository"], sha256))
        part = bundled(package)
        if part:
            parts[purl_of(package)] = part["bom-ref"]
            components.append(part)
    version = arguments.version or hookbell["version"]
    own = {"type": "application", "bom-ref": "hookbell", "name": "hookbell", "version": version,
           "description": hookbell["description"], "licenses": [{"expression": hookbell["license"]}],
           "purl": f"pkg:generic/hookbell@{version.replace('+', '%2B')}",
           "properties": [{"name": "hookbell:target", "value": arguments.target}]}
    needs = dependencies(known, packages, parts)
    if arguments.program:
        sha256, rust = look_into(arguments.program, components)
        own["hashes"] = [{"alg": "SHA-256", "content": sha256}]
        if rust is None:
            fail(f"{arguments.program} does not say which Rust built it")
        standard = library("std", rust, f"pkg:generic/rust-std@{rust}", "MIT OR Apache-2.0",
                           "https://github.com/rust-lang/rust")
        components.append(standard)
        needs.append({"ref": standard["bom-ref"], "dependsOn": []})
        next(entry for entry in needs if entry["ref"] == "hookbell")["dependsOn"].append(standard["bom-ref"])
    about = {"component": own}
    if arguments.time is not None:
        when = datetime.datetime.fromtimestamp(arguments.time, datetime.timezone.utc)
        about = {"timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), **about}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about,
            "components": components, "dependencies": needs}


def main():
    help_asked(__file__)
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("target")
    parser.add_argument("file")
    parser.add_argument("--version")
    parser.add_argument("--time", type=int, default=int(epoch) if epoch else None)
    parser.add_argument("--program")
    arguments = parser.parse_args()
    made = document(arguments)
    serial = uuid.uuid5(NAMESPACE, json.dumps(made, sort_keys=True))
    made = {"bomFormat": made.pop("bomFormat"), "specVersion": made.pop("specVersion"), "serialNumber": f"urn:uuid:{serial}", **made}
    pathlib.Path(arguments.file).write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{len(made['components'])} components")


if __name__ == "__main__":
    main()
