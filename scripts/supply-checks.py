#!/usr/bin/env python3
# scripts/supply-checks.py CHECK [ARGUMENT...]
#
# The part of scripts/supply that reads what cargo says and what packages hold. CHECK is one of these; exit 1 when it
# finds something, naming it:
#
#     defaults            no dependency has default features on; what is wanted of them is named in Cargo.toml
#     features [--accept] the packages of the program for the Pi, and of its build, have the features in supply/features
#                         and no other; --accept writes them there, to be looked at in the difference
#     builds              nothing that runs during a build reaches the network: build scripts, macros, and what these
#                         are made from
#     sbom FILE...        each FILE, .gz or not, is CycloneDX 1.6 (wants cyclonedx-python-lib)
#
#     --help              this text
import gzip
import json
import pathlib
import re
import sys

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
from packed import FEATURES, ROOT, cargo, fail, help_asked, metadata  # noqa: E402

PI = "aarch64-unknown-linux-gnu"
SNAPSHOT = ROOT / "supply" / "features"

# What reaches the network, or starts somebody who does.
NETWORK = r"""
    \b(?: std::net | core::net | TcpStream | TcpListener | UdpSocket | ToSocketAddrs | UnixStream
        | (?: reqwest | ureq | hyper | attohttpc | minreq | isahc | socket2 | git2 | gix )::
        | curl | wget | aria2c | Invoke-WebRequest | git\ (?: clone | fetch | pull | submodule ) | rsync )\b
    | "(?: clone | fetch | pull | submodule )"
"""
WORDS = re.compile(NETWORK, re.VERBOSE)
# Libraries and macros show addresses in their documentation. A build script has no reader.
WORDS_OF_SCRIPTS = re.compile(NETWORK + r"| \b(?: https? | ftp | git | ssh ):// ", re.VERBOSE)
# (package, word): why it is no download. One that is no longer met has to go.
ALLOWED = {
    ("rustversion", "https://"): "where to complain, in a message",
    ("serde_core", "core::net"): "names addresses, to write them down; it comes along with fuser's macros",
    ("serde_core", "std::net"): "the same",
}


def defaults():
    """Which dependencies of ours have default features on that are not empty."""
    known = metadata("--filter-platform", PI)
    packages = {package["id"]: package for package in known["packages"]}
    on = []
    for member in known["workspace_members"]:
        node = next(node for node in known["resolve"]["nodes"] if node["id"] == member)
        used = {packages[edge["pkg"]]["name"]: packages[edge["pkg"]] for edge in node["deps"]}
        for wanted in packages[member]["dependencies"]:
            package = used.get(wanted["name"])
            if package and wanted["uses_default_features"] and package["features"].get("default"):
                on.append(f"{packages[member]['name']}: {wanted['name']}, which turns on "
                          f"{', '.join(package['features']['default'])}")
    if on:
        fail("these dependencies have default features on:", *sorted(on),
             "Say default-features = false there, and name in features what is used.")
    print("no dependency has default features on")


def features(accept):
    """Which features are on in the program and in what builds it."""
    listing = cargo("tree", "--locked", "--edges", "normal,build", "--target", PI, *FEATURES, "--prefix", "none",
                    "--format", "{p}|{f}")
    found = set()
    for line in listing.splitlines():
        package, _, names = line.removesuffix(" (*)").partition("|")
        if package:
            found.add(f"{package.split()[0]}  {', '.join(names.split(','))}".rstrip())
    text = "".join(f"{line}\n" for line in sorted(found))
    if accept:
        SNAPSHOT.write_text(text, encoding="utf-8")
        print(f"{SNAPSHOT.relative_to(ROOT)} says what is on now")
        return
    before = set(SNAPSHOT.read_text(encoding="utf-8").splitlines()) if SNAPSHOT.exists() else set()
    if before != found:
        fail("packages or their features are not those of supply/features:",
             *(f"- {line}" for line in sorted(before - found)), *(f"+ {line}" for line in sorted(found - before)),
             "Turn off what is not needed. What is, is accepted by: scripts/supply-checks.py features --accept")
    print(f"features of {len(found)} packages as in supply/features")


def builders(known):
    """The packages whose code runs during a build: those with a build script, by that alone, and those that such a
    script or a macro is made from, as a whole."""
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    whole, seen, waiting = set(), set(), [(member, False) for member in known["workspace_members"]]
    while waiting:
        one, tool = waiting.pop()
        tool = tool or any("proc-macro" in target["kind"] for target in packages[one]["targets"])
        if (one, tool) in seen:
            continue
        seen.add((one, tool))
        if tool:
            whole.add(one)
        for edge in nodes[one]["deps"]:
            waiting += [(edge["pkg"], tool or kind["kind"] == "build") for kind in edge["dep_kinds"]]
    scripts = {one for one, _ in seen if any("custom-build" in target["kind"] for target in packages[one]["targets"])}
    return [packages[one] for one in whole], [packages[one] for one in scripts]


def with_modules(file):
    """A source and those that it names as its modules or takes in."""
    found, waiting = set(), [file]
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        text = file.read_text(encoding="utf-8", errors="replace")
        for name in re.findall(r"^\s*(?:pub(?:\([a-z]+\))?\s+)?mod\s+(\w+)\s*;", text, re.MULTILINE):
            for folder in (file.parent, file.parent / file.stem):
                waiting += [folder / f"{name}.rs", folder / name / "mod.rs"]
        waiting += [file.parent / name for name in re.findall(r'(?:include!\(|path\s*=)\s*"([^"]+)"', text)]
    return found


def without_comments(text):
    """Code only. The `//` of an address is none."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r"(?<!:)//[^\n]*", " ", text)


def allowed_scripts():
    """Whom deny.toml allows a build script."""
    match = re.search(r"^allow-build-scripts = \[(.*?)^\]", (ROOT / "deny.toml").read_text(encoding="utf-8"),
                      re.DOTALL | re.MULTILINE)
    if match is None:
        fail("deny.toml has no allow-build-scripts")
    return re.findall(r'^\s*"([^"]+)"', match.group(1), re.MULTILINE)


def builds():
    """What of all that runs during a build has words that reach the network."""
    known = metadata("--filter-platform", PI)
    whole, scripts = builders(known)
    files = {}
    for package in whole:
        for target in package["targets"]:
            if {"lib", "proc-macro"} & set(target["kind"]):
                for file in pathlib.Path(target["src_path"]).parent.rglob("*.rs"):
                    files[file] = (package["name"], WORDS)
    for package in scripts:
        for target in package["targets"]:
            if "custom-build" in target["kind"]:
                for file in with_modules(pathlib.Path(target["src_path"])):
                    files[file] = (package["name"], WORDS_OF_SCRIPTS)
    hits, met = [], set()
    for file in sorted(files):
        package, words = files[file]
        for line in without_comments(file.read_text(encoding="utf-8", errors="replace")).splitlines():
            for word in words.findall(line):
                met.add((package, word))
                if (package, word) not in ALLOWED:
                    hits.append(f"{package}, {file.name}: {word} in: {line.strip()[:100]}")
    if hits:
        fail("what runs during a build may reach the network:", *hits,
             "Read it. Does it download, take another package; else say why not in ALLOWED, scripts/supply-checks.py.")
    gone = sorted(set(ALLOWED) - met)
    if gone:
        fail("ALLOWED in scripts/supply-checks.py names what no longer is:", *map(str, gone), "Take it out.")
    names = sorted(package["name"] for package in scripts)
    idle = sorted(set(allowed_scripts()) - set(names))
    if idle:
        fail("deny.toml allows these a build script, and they have none:", *idle,
             "Take them out of allow-build-scripts: who gets one again shall be looked at.")
    print(f"{len(names)} build scripts: {', '.join(names)}")
    print(f"{len(files)} files of {len({package for package, _ in files.values()})} packages run during a build; none reaches the network")


def sbom(names):
    """Whether these files are what they say."""
    from cyclonedx.schema import SchemaVersion  # pylint: disable=import-outside-toplevel
    from cyclonedx.validation.json import JsonStrictValidator  # pylint: disable=import-outside-toplevel

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for name in names:
        data = pathlib.Path(name).read_bytes()
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        wrong = validator.validate_str(text)
        if wrong is not None:
            error = wrong.data
            fail(f"{name} is not CycloneDX 1.6: {getattr(error, 'message', error)}"[:500],
                 f"at {getattr(error, 'json_path', 'an unknown place')}",
                 "Mend scripts/package-sbom.py.")
        made = json.loads(text)
        named = {component["bom-ref"] for component in made["components"]} | {"hookbell"}
        used = {one for entry in made["dependencies"] for one in (entry["ref"], *entry["dependsOn"])}
        if used != named:
            fail(f"{name}: its components and its dependencies name different parts:", *sorted(used ^ named))
        print(f"{name}: CycloneDX 1.6, {len(made['components'])} components")


def main():
    help_asked(__file__)
    match sys.argv[1:]:
        case ["defaults"]:
            defaults()
        case ["features", *rest] if rest in ([], ["--accept"]):
            features(bool(rest))
        case ["builds"]:
            builds()
        case ["sbom", _, *_]:
            sbom(sys.argv[2:])
        case _:
            fail("a check is needed", "Type: scripts/supply-checks.py --help")


if __name__ == "__main__":
    main()
