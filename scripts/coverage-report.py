"""Called by scripts/coverage: what was measured (lcov), as a table; then each uncovered line of the parts that are
judged, held against tests/uncovered.toml.

    coverage-report.py JUSTIFICATIONS LCOV...

Each program has a file of its own, because not every count is counted: some are the difference of two others. A process
that is killed between the two leaves a difference below zero, which as an unsigned number is a huge one, and which added
to another program's true count would take that away. The other way round it may leave one too many.

A justification names a file, the text of a line in it, and how many lines from there on it speaks of: so it survives
what moves the code, and not what changes it.
"""

import re
import sys
import tomllib
from pathlib import Path

JUDGED = ("http", "door", "provider", "store", "work")
# What else the table shows together.
TOGETHER = {"cli": "daemon, cli", "daemon": "daemon, cli", "remote": "remote, recover", "recover": "remote, recover"}
ALONE = JUDGED + ("sink", "bell", "config", "tunnel", "doctor", "panel")
SHOWN_MAX = 400
# From here on a count is a difference below zero.
BELOW_ZERO = 1 << 63
# Lines of nothing but brackets, such as `)?;`, belong to the statement that they close and are judged with it.
CLOSING = re.compile(r"[\s)\]}>;,?]*")
ROOT = Path(__file__).resolve().parent.parent


def only_tests() -> set[Path]:
    """Files that are modules of tests alone, and folders of such modules."""
    found = set()
    for file in (ROOT / "src").rglob("*.rs"):
        home = file.parent if file.name in ("mod.rs", "lib.rs", "main.rs") else file.with_suffix("")
        for name in re.findall(r"#\[cfg\(test\)\]\s*(?:pub(?:\(\w+\))? )?mod (\w+);", file.read_text()):
            found.update({home / f"{name}.rs", home / name})
    return found


def lines_of_tests(lines: list[str]) -> set[int]:
    """The numbers of the lines of items under `#[cfg(test)]`. rustfmt closes an item where it began."""
    numbers: set[int] = set()
    until = None
    for number, line in enumerate(lines, start=1):
        if until is None and line.strip() == "#[cfg(test)]":
            until = line[: len(line) - len(line.lstrip())]
            numbers.add(number)
        elif until is not None:
            numbers.add(number)
            indent = line[: len(line) - len(line.lstrip())]
            if indent == until and line.strip() and not line.strip().startswith("#[") and line.rstrip()[-1] in "};":
                until = None
    return numbers


def read(*measured: Path) -> dict[Path, dict[int, bool]]:
    """Whether each line of each file was reached, in any of the programs that have it."""
    tests = only_tests()
    files: dict[Path, dict[int, bool]] = {}
    counts: dict[int, bool] = {}
    apart: set[int] = set()
    for record in (record for lcov in measured for record in lcov.read_text().splitlines()):
        kind, _, rest = record.partition(":")
        if kind == "SF":
            path = Path(rest)
            counts, apart = {}, set()
            if not tests.isdisjoint([path, *path.parents]):
                continue
            counts = files.setdefault(path.relative_to(ROOT), {})
            apart = lines_of_tests(path.read_text().splitlines())
        elif kind == "DA":
            number, count = (int(part) for part in rest.split(",")[:2])
            if number not in apart:
                counts[number] = counts.get(number, False) or 0 < count < BELOW_ZERO
    return files


def group(path: Path) -> str:
    part = path.parts[1].removesuffix(".rs")
    return TOGETHER.get(part, part if part in ALONE else "the vocabulary")


def table(files: dict[Path, dict[int, bool]]) -> None:
    sums: dict[str, list[int]] = {}
    for path, counts in files.items():
        for name in (group(path), "altogether"):
            both = sums.setdefault(name, [0, 0])
            both[0] += len(counts)
            both[1] += sum(1 for count in counts.values() if count)
    print(f"{'':<18}{'lines':>8}{'covered':>9}{'percent':>9}")
    order = [*JUDGED, *sorted(set(sums) - set(JUDGED) - {"altogether"}), "altogether"]
    for name in order:
        lines, covered = sums.get(name, (0, 0))
        print(f"{name:<18}{lines:>8}{covered:>9}{100 * covered / max(lines, 1):>9.1f}")


def spans(path: Path, lines: list[str], entry: dict) -> tuple[range | None, str]:
    """Which lines a justification speaks of, or what is wrong with it."""
    unknown = set(entry) - {"file", "at", "after", "lines", "sometimes"}
    if unknown:
        return None, f"has unknown keys: {', '.join(sorted(unknown))}"
    first = 1
    if "after" in entry:
        places = [number for number, line in enumerate(lines, start=1) if line.strip() == entry["after"]]
        if len(places) != 1:
            return None, f"`after` matches {len(places)} lines and has to match one"
        first = places[0] + 1
    places = [number for number, line in enumerate(lines, start=1) if number >= first and line.strip() == entry["at"]]
    if not places:
        return None, "there is no such line any more"
    if len(places) > 1 and "after" not in entry:
        return None, f"`at` matches {len(places)} lines: say `after` which line it is the first"
    return range(places[0], places[0] + entry.get("lines", 1)), ""


def judge(files: dict[Path, dict[int, bool]], justifications: Path) -> bool:
    judged = {path: counts for path, counts in sorted(files.items()) if group(path) in JUDGED}
    sources = {path: (ROOT / path).read_text().splitlines() for path in judged}
    uncovered = {
        path: sorted(
            number
            for number, count in counts.items()
            if not count and not CLOSING.fullmatch(sources[path][number - 1])
        )
        for path, counts in judged.items()
    }
    wrong: list[str] = []
    reasons: dict[tuple[Path, int], str] = {}
    sometimes = 0
    for because in tomllib.loads(justifications.read_text()).get("because", []):
        for entry in because["lines"]:
            path = Path(entry["file"])
            name = f"{entry['file']}: `{entry['at']}`"
            if path not in sources:
                wrong.append(f"{name}: there is no such file among those that are judged")
                continue
            span, problem = spans(path, sources[path], entry)
            if span is None:
                wrong.append(f"{name}: {problem}")
                continue
            here = set(span) & set(uncovered[path])
            if entry.get("sometimes"):
                sometimes += 1
            elif not here:
                wrong.append(f"{name}: a test reaches it by now; take the justification away")
            elif span[0] not in here or span[-1] not in here:
                edge = span[0] if span[0] not in here else span[-1]
                wrong.append(f"{name}: speaks of line {edge}, which a test reaches or which is no code")
            for number in span:
                reasons[path, number] = because["reason"]
    print(f"\nuncovered lines of {', '.join(JUDGED)}:")
    open_lines = justified = shown = 0
    for path, numbers in uncovered.items():
        last = ("", 0)
        for number in numbers:
            reason = reasons.get((path, number))
            justified += reason is not None
            open_lines += reason is None
            shown += 1
            if shown > SHOWN_MAX:
                continue
            if reason is not None and last != (reason, number - 1):
                print(f"  {path}:{number}: justified: {reason}")
            elif reason is None:
                print(f"  {path}:{number}: {sources[path][number - 1].strip()}    <-- neither tested nor justified")
            last = (reason or "", number)
    if shown > SHOWN_MAX:
        print(f"  and {shown - SHOWN_MAX} more")
    print(f"\n{justified} lines justified, {open_lines} neither tested nor justified; {sometimes} places are reached sometimes")
    for words in wrong:
        print(f"{justifications.name}: {words}")
    return not wrong and not open_lines


def main() -> int:
    justifications, *measured = (Path(argument) for argument in sys.argv[1:])
    files = read(*measured)
    table(files)
    if judge(files, justifications):
        return 0
    print(
        "\nWhat no test reaches gets a test, or a line in tests/uncovered.toml that says why not;"
        "\nthen: scripts/coverage, or scripts/coverage --report when only tests/uncovered.toml has changed",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
