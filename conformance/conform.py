"""hookbell against the official SDKs, in both directions. What scripts/test-conformance runs, which installs the SDKs.

verify: an SDK signs a random body; `hookbell verify` has to say what the SDK says of the request as it is, with a changed
        body, with a changed signature, of another secret, and of another time where the provider signs one.
send:   `hookbell send` signs a random body, a server on loopback catches the request, and the SDK has to accept it.

Every case follows from the seed, the provider, the direction and its number; the times that are signed are today's.
"""

import argparse
import base64
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import bodies
import sdks
from hookbell import Broken, Hookbell, record

# One body in this many has a megabyte.
LARGE_EVERY = 25
# Nearer to the edge of a time window than this the verdict may depend on which of the two looks at its clock first.
EDGE_S = 30
# With this many disagreements the rest would say nothing new.
FAILURES_MAX = 20


class Tally:
    """What came out, over all threads."""

    def __init__(self, directory, seed):
        self.directory = directory
        self.seed = seed
        self.lock = threading.Lock()
        self.counts = Counter()
        self.failures = 0

    def count(self, *key):
        with self.lock:
            self.counts[key] += 1

    def disagree(self, sdk, direction, number, what, command, kept):
        """Prints a disagreement, and keeps a file that repeats it."""
        name = f"{sdk.provider} {direction} {self.seed} {number} {what}.json"
        path = os.path.join(self.directory, re.sub(r"[^\w.+-]+", "-", name))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(kept, file, ensure_ascii=False, indent=1)
        with self.lock:
            self.failures += 1
            print(f"DISAGREE {sdk.provider} {direction}, seed {self.seed}, case {number} ({kept['body_kind']}), {what}:")
            print(f"    {sdk.package} {sdk.version()}: {kept['sdk']}")
            print(f"    hookbell: {kept['hookbell']}")
            print(f"    again: {command.replace('FILE', path)}")
            print(
                f"    or: scripts/test-conformance --seed {self.seed} --provider {sdk.provider} --case {number}",
                flush=True,
            )


def word(is_valid, why=""):
    return ("valid" if is_valid else "invalid") + (f" ({why})" if why else "")


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def seed_of(tally, sdk, direction, number):
    return random.Random(f"{tally.seed} {sdk.provider} {direction} {number}")


def body_of(rng, sdk, number):
    """The first cases of a provider are one of each kind, so that no seed leaves one out."""
    if number < len(sdk.kinds):
        return bodies.make(rng, [sdk.kinds[number]], False)
    return bodies.make(rng, sdk.kinds, number % LARGE_EVERY == LARGE_EVERY - 1)


def changes(sdk, request, signing, other, body, now, rng):
    """What is asked of each body: a name, the request, whether the judge has another secret, and what the SDK must say;
    None where that is left to the SDK."""
    yield "as signed", request, False, True
    # A form can be written in several ways that mean the same.
    yield "body changed", sdks.change_body(sdk, request, rng), False, None if sdk.provider == "twilio" else False
    way, changed = sdks.change_signature(sdk, request, rng)
    yield f"signature: {way}", changed, False, None
    yield "another secret", request, True, False
    moved = sdk.elsewhere(request, rng)
    if moved is not None:
        yield "called elsewhere", moved, False, None
    if sdk.behind is None:
        return
    limit = sdk.behind
    offset = rng.choice([rng.randint(-limit + EDGE_S, limit - EDGE_S), -rng.randint(limit + EDGE_S, 10 * limit)])
    if rng.random() < 0.4:
        offset = rng.randint(limit + EDGE_S, 10 * limit)
    is_within = -limit <= offset and (sdk.ahead is None or offset <= limit)
    yield f"signed at {offset:+} s", sdk.sign(signing, body, now + offset, rng), False, is_within


def verify_case(sdk, hookbell, tally, number):
    rng = seed_of(tally, sdk, "verify", number)
    kind, body = body_of(rng, sdk, number)
    signing, judging = sdk.secret(rng)
    _, other = sdk.secret(rng)
    while other == judging:
        _, other = sdk.secret(rng)
    now = int(time.time())
    request = sdk.sign(signing, body, now, rng)
    tally.count(sdk.provider, "verify", "bodies")
    for what, asked, is_other, expected in changes(sdk, request, signing, other, body, now, rng):
        secret = other if is_other else judging
        accepted, why = sdk.accepts(secret, asked)
        if expected is not None and accepted != expected:
            why = f"{why or 'no reason given'}; this test expects {word(expected)}"
        # While a secret is rolled the old one is still there.
        secrets = [secret] if is_other or rng.random() < 0.7 else [other, secret]
        recorded = record(rng, asked, sdk.public_url, now)
        public_url = sdk.public_url if sdk.public_url and asked.url != recorded["url"] else None
        try:
            said = hookbell.verify(sdk.provider, secrets, recorded, public_url)
            is_same = said["valid"] == accepted and (not accepted or said["verified_by"] in (len(secrets), None))
            said_text = word(said["valid"], said["why"] or f"by secret {said['verified_by']} of {len(secrets)}")
        except Broken as broken:
            is_same, said_text = False, str(broken)
        tally.count(sdk.provider, "verify", word(accepted))
        if is_same and (expected is None or accepted == expected):
            continue
        names = [f"SECRET_{index}" for index in range(len(secrets))]
        command = " ".join(
            [f"{name}={quoted(text)}" for name, text in zip(names, secrets, strict=True)]
            + [f"hookbell verify FILE --provider {sdk.provider} --json"]
            + [f"--secret-env {name}" for name in names]
            + ([f"--public-url {public_url}"] if public_url else [])
        )
        kept = recorded | {"body_kind": kind, "secrets": secrets, "sdk": word(accepted, why), "hookbell": said_text}
        tally.disagree(sdk, "verify", number, what, command, kept)


def send_case(sdk, hookbell, tally, number):
    rng = seed_of(tally, sdk, "send", number)
    kind, body = body_of(rng, sdk, number)
    signing, judging = sdk.secret(rng)
    event = rng.choice(sdk.events)
    tally.count(sdk.provider, "send", "bodies")
    kept = {"body_kind": kind, "secret": signing, "public": judging}
    kept["payload_base64"] = base64.b64encode(body).decode()
    try:
        request = hookbell.send(sdk.provider, event, body, signing, sdk.public_url)
        accepted, why = sdk.accepts(judging, request)
        if request.body != body:
            accepted, why = False, "the body is another"
        kept |= record(rng, request, None, int(time.time())) | {"sdk": word(accepted, why), "hookbell": "signed this"}
    except Broken as broken:
        accepted = False
        kept |= {"sdk": "was not asked", "hookbell": str(broken)}
    tally.count(sdk.provider, "send", word(accepted))
    if not accepted:
        at = f" --public-url {sdk.public_url}" if sdk.public_url else ""
        payload = "| base64 -d | SECRET=%s hookbell send %s %s --payload - --secret-env SECRET --to URL%s"
        take = "python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[\"payload_base64\"])' FILE "
        command = take + payload % (quoted(signing), sdk.provider, event, at)
        tally.disagree(sdk, "send", number, "as sent", command, kept)


def shown(tally, everyone, seconds):
    """A table, a line for each provider."""
    rows = [("provider", "SDK", "", "verified", "valid", "invalid", "sent", "accepted")]
    for sdk in everyone:
        of = tally.counts
        row = [of[sdk.provider, "verify", key] for key in ("bodies", "valid", "invalid")]
        row += [of[sdk.provider, "send", key] for key in ("bodies", "valid")]
        rows.append((sdk.provider, sdk.package, sdk.version(), *map(str, row)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if tally.failures >= FAILURES_MAX:
        print(f"stopped early: {FAILURES_MAX} disagreements are enough to begin with")
    verdicts = sum(count for key, count in tally.counts.items() if key[2] != "bodies")
    print(f"{verdicts} verdicts in {seconds:.0f} s, {tally.failures} disagreements, seed {tally.seed}")


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/test-conformance", add_help=False)
    parser.add_argument("hookbell")
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--provider", default=None)
    parser.add_argument("--case", type=int, default=None)
    return parser.parse_args()


def main():
    asked = arguments()
    seed = random.SystemRandom().randrange(10**9) if asked.seed is None else asked.seed
    everyone = [sdk for sdk in sdks.everyone(asked.directory) if asked.provider in (None, sdk.provider)]
    if not everyone:
        raise SystemExit(f"there is no SDK for {asked.provider!r}")
    failures = os.path.join(asked.directory, "disagreements")
    os.makedirs(failures, exist_ok=True)
    print(f"seed {seed}, {asked.count} bodies a provider and direction", flush=True)
    tally = Tally(failures, seed)
    numbers = range(asked.count) if asked.case is None else [asked.case]
    jobs = [(case, sdk, number) for number in numbers for sdk in everyone for case in (verify_case, send_case)]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        mine = threading.local()

        def run(job):
            case, sdk, number = job
            if tally.failures >= FAILURES_MAX:
                return
            if not hasattr(mine, "hookbell"):
                mine.hookbell = Hookbell(asked.hookbell, tempfile.mkdtemp(dir=scratch))
            case(sdk, mine.hookbell, tally, number)

        with ThreadPoolExecutor(max_workers=(os.cpu_count() or 2) + 1) as threads:
            for _ in threads.map(run, jobs):
                pass
    shown(tally, everyone, time.monotonic() - started)
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
