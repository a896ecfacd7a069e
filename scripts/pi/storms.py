"""hookbell on an emulated Pi with an SD card and a network, and what happens to a Pi: a clock that starts in 1970, a full
card, and power cuts.

Called by scripts/test-pi, with the kernel, the libraries and QEMU.
"""

import contextlib
import json
import os
import random
import sys
import time

from common import CARD_MODULES, KNOCKS, ONE_CORE, Failure, arguments, check, conclude, eventually, first_files, play, start_pi
from desk import LEVELS, SECRET, Card, Keeper
from machine import Watcher, free_port
from outside import GitHub, Load, Slack, accepted, percentile

CUTS = 9
READY_SECONDS_MAX = 1.0
# A card's size is a power of two.
CARD_BYTES = 128 * 1024 * 1024

CONFIG = f"""
[door]
listen = "0.0.0.0:5000"

[store]
path = "/var/desk/hookbell.db"
keep = "90 days"
free_min = "16 MiB"

[panel]
listen = ""

[sources.github]
secret = {{ env = "GITHUB_WEBHOOK_SECRET" }}

[sinks.slack]
kind = "slack"
webhook_url = {{ env = "SLACK_WEBHOOK_URL" }}
# Two a second are sent here, and Slack itself would take one.
interval = "0 s"
{KNOCKS}"""


class Sdcard(Keeper):
    """The desk with its database on a card, and the world outside."""

    def __init__(self, machine, watcher, slack, port):
        super().__init__(machine, watcher, "storms")
        self.slack = slack
        self.github = GitHub(port, SECRET)

    def as_user(self, command):
        return super().as_user(f"export SLACK_WEBHOOK_URL=http://127.0.0.1:5050/slack; {command}")

    def mount(self):
        self.machine.must("mount -t ext4 /dev/mmcblk0 /var/desk && chown bell:bell /var/desk && chmod 700 /var/desk")

    def unmount_and_off(self):
        self.machine.must("umount /var/desk", 40)
        self.machine.console.sendall(b"poweroff -f\n")
        self.machine.switched_off()


@contextlib.contextmanager
def powered(options, initrd, card, slack, log, words=None):
    """The Pi with power, up to its shell, the card mounted."""
    port = free_port()
    hardware = ["-drive", f"if=sd,format=raw,file={card.path}", "-netdev",
                f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:5000", "-device", "usb-net,netdev=net"]
    words = f"{ONE_CORE} network now={int(time.time())}" if words is None else f"{ONE_CORE} network {words}"
    with start_pi(options, initrd, log, hardware, words) as machine:
        machine.boot()
        watcher = Watcher(machine, [LEVELS], pause=0.005)
        desk = Sdcard(machine, watcher, slack, port)
        desk.mount()
        machine.must(f"echo '127.0.0.1 5050 10.0.2.2 {slack.port}' >/tmp/rinetd.conf")
        machine.must("rinetd -f -c /tmp/rinetd.conf >/tmp/rinetd.log 2>&1 &")
        yield desk
        watcher.ended = True


# ---- what is played ----------------------------------------------------------------------------------------------


def clock(desk, figures):
    """the clock jumps from 1970 to now: nothing is given up, pruned or lost, and times are put right"""
    year = int(desk.machine.must("date +%Y"))
    check(year == 1970, f"the guest's clock should start in 1970, and it is {year}")
    desk.slack.down = True
    desk.start_service("storms")
    before = [desk.github.post("early", number, issue=1) for number in range(1, 4)]
    check(all(answer.status == 200 for answer in before), f"in 1970 the answers are {[answer.said for answer in before]}")
    eventually(lambda: desk.slack.refused >= 2, 20, "Slack is tried and refuses")
    desk.machine.must(f"date -s @{int(time.time())}")
    after = [desk.github.post("early", number, issue=1) for number in range(4, 6)]
    check(all(answer.status == 200 for answer in after), f"after the jump the answers are {[answer.said for answer in after]}")
    desk.slack.down = False
    eventually(lambda: len(set(desk.slack.numbers("early"))) == 5, 60, "five messages reach Slack after the jump")
    seen = desk.slack.numbers("early")
    check(seen == sorted(seen), f"Slack got them in another order: {seen}")
    desk.holds(before + after)
    desk.settled()
    listed = desk.hookbell("deliveries list --json", "storms")
    times = [json.loads(line)["received_at"] for line in listed.splitlines()][::-1]
    check(len(times) == 5 and times == sorted(times), f"the list's times are {times}")
    check(not times[0].startswith("1970"), f"the list still says 1970: {times}")
    # What is older than 90 days may go when the service starts; nothing here is.
    desk.stop_service()
    desk.start_service("storms")
    desk.holds(before + after)
    late = desk.github.post("early", 6, issue=1)
    check(late.status == 200, f"after a restart the answer is {late.said}")
    eventually(lambda: 6 in desk.slack.numbers("early"), 20, "a delivery after the restart reaches Slack")
    desk.stop_service()
    figures["clock: times after the jump"] = f"{times[0]} to {times[-1]}"


def main_job(desk, figures):
    """a signed POST every half second: 200, the message in Slack, the LED, all in order"""
    desk.start_service("storms")
    since, wanted = time.monotonic(), 24
    whole = lambda: len([end for _, end in desk.pulses("red", since) if end])
    answers = []
    for number in range(1, wanted + 1):
        time.sleep(max(since + number * 0.5 - time.monotonic(), 0))
        answers.append(desk.github.post("steady", number))
        # Cues that come while their like still plays are played as one; a slow machine must not make two into one.
        eventually(lambda: whole() >= number, 30, f"the LED lights for POST {number}")
    bad = [answer for answer in answers if answer.status != 200]
    check(not bad, f"{len(bad)} of {wanted} were not answered 200, first: {bad and bad[0].said}")
    eventually(lambda: len(desk.slack.numbers("steady")) >= wanted, 60, f"{wanted} messages reach Slack")
    check(desk.slack.numbers("steady") == list(range(1, wanted + 1)),
          f"Slack got other messages or another order: {desk.slack.numbers('steady')}")
    pulses = desk.pulses("red", since)
    check(len(pulses) == wanted, f"the LED lit {len(pulses)} times instead of {wanted}")
    # Each is lit after its own POST; the order of Slack's messages is that of the answers.
    edges = [on - answer.posted for (on, _), answer in zip(pulses, answers)]
    check(min(edges) > 0, "the LED lit before the POST that it is for")
    answered = [answer.answered - answer.posted for answer in answers]
    for name, values in (("200", answered), ("LED", edges)):
        figures[f"POST to {name}, 2 a second: p50, p99"] = \
            f"{percentile(values, 0.5) * 1000:.0f} ms, {percentile(values, 0.99) * 1000:.0f} ms"
    desk.stop_service()


def starting(desk, figures):
    """it is ready within a second of its process's start"""
    took = []
    for _ in range(4):
        took.append(desk.start_service("storms"))
        desk.stop_service()
    figures["start to ready, four times"] = " ".join(f"{seconds:.2f}" for seconds in took) + " s"
    # What else this machine does makes some of them slow, and none of them quick.
    check(min(took) < READY_SECONDS_MAX, f"the quickest of four starts took {min(took):.2f} s")


def full(desk, figures):
    """the card is full: 503 and nothing lost; there is room again: 200 by itself"""
    desk.start_service("storms")
    before = [desk.github.post("full", number, "closed") for number in range(1, 6)]
    check(len(accepted(before)) == 5, f"with room the answers are {[answer.said for answer in before]}")
    # All but the last 2 MB are only reserved, because writing takes long; what matters is that nothing is left.
    desk.machine.must("free=$(df -k /var/desk | awk 'END { print $4 }'); fallocate -l $((free - 2048))k /var/desk/filler", 60)
    desk.machine.must("dd if=/dev/zero of=/var/desk/rest bs=64k 2>/dev/null; sync", 60)
    # How much is free is looked at now and then, not for each delivery; the card itself may say no first.
    refused = lambda: desk.github.post("full", 6, "closed").status == 503
    figures["full: seconds to the first 503"] = f"{eventually(refused, 20, 'a full card is answered 503'):.1f}"
    during = [desk.github.post("full", number, "closed") for number in range(7, 12)]
    check(all(answer.status == 503 for answer in during), f"the full card's answers are {[answer.said for answer in during]}")
    desk.holds(before)
    desk.machine.must("rm /var/desk/filler /var/desk/rest; sync")
    again = lambda: before.append(desk.github.post("full", 20, "closed")) or before[-1].status == 200
    figures["full: seconds to the next 200"] = f"{eventually(again, 60, 'there is room and it is answered 200'):.1f}"
    desk.holds(accepted(before))
    desk.sound()
    desk.settled()
    desk.stop_service()


class Cuts:
    """Power cuts under load, all with one card, and what was promised in between."""

    def __init__(self, random_moments):
        self.moments = random_moments
        self.promised = []
        self.starts = []
        self.unanswered = 0
        self.recovered = 0

    def verify(self, desk, turn):
        """After a cut: what was answered is there, and the database is sound. The service has not been started yet."""
        if turn == 0:
            return
        said = desk.machine.must("dmesg")
        self.recovered += "recovery complete" in said
        check("EXT4-fs error" not in said, f"the card's file system is not sound:\n{said[-1500:]}")
        desk.sound()
        desk.holds(self.promised)

    def load(self, desk, turn):
        """Load, and in the middle of it the power goes."""
        self.starts.append(desk.start_service("storms"))
        moment = self.moments.uniform(0, 2.5)
        load = Load(desk.github, "storm", turn * 10_000 + 1, senders=4, action="closed")
        try:
            eventually(load.accepted, 20, "the first 200 under load")
        except Failure:
            load.stop()
            raise
        time.sleep(moment)
        desk.machine.cut()
        answers = load.stop()
        new = accepted(answers)
        self.promised += new
        self.unanswered += len(answers) - len(new)
        strange = [answer for answer in answers if answer.status not in (0, 200)]
        check(not strange, f"an answer under load was {strange and strange[0].status} {strange and strange[0].said}")
        print(f"        cut {turn + 1} of {CUTS}: {moment:.2f} s after the first 200, {len(new)} answered 200", flush=True)


def steady(options, figures):
    """What is measured: it wants this machine for itself."""
    initrd = first_files(options, "steady", CARD_MODULES, [("storms", CONFIG)])
    card = Card(os.path.join(options.work, "steady.card"))
    card.make(CARD_BYTES)
    try:
        with Slack() as slack, powered(options, initrd, card, slack, "steady.console") as desk:
            return play((main_job, starting), desk, figures)
    finally:
        card.remove()


def storms(options, figures):
    """What happens to a Pi: it is judged by what is there afterwards, however long it takes."""
    initrd = first_files(options, "storms", CARD_MODULES, [("storms", CONFIG)])
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    print(f"seed {seed}; --seed {seed} repeats the moments of the power cuts", flush=True)
    cuts = Cuts(random.Random(seed))
    failed = 0

    def played(scenario, *more):
        nonlocal failed
        try:
            scenario(*more)
            return True
        except Failure as failure:
            failed += 1
            print(f"FAILED  {scenario.__doc__}\n        {failure}", flush=True)
            return False

    card = Card(os.path.join(options.work, "storms.card"))
    card.make(CARD_BYTES)
    with Slack() as slack:
        try:
            began = time.monotonic()
            with powered(options, initrd, card, slack, "storms.console", words="") as desk:
                figures["boot, with card and network"] = f"{time.monotonic() - began:.1f} s"
                for scenario in (clock, full):
                    if played(scenario, desk, figures):
                        print(f"ok      {scenario.__doc__}", flush=True)
                    desk.stop_service()
                    desk.machine.must("rm -f /var/desk/hookbell.db* /var/desk/filler /var/desk/rest")
                # Whatever came of the jump: from here on the clock is right.
                desk.machine.must(f"date -s @{int(time.time())}")
                sound = played(cuts.load, desk, 0)
            began = time.monotonic()
            for turn in range(1, CUTS + 1):
                with powered(options, initrd, card, slack, f"storms-{turn}.console") as desk:
                    sound = played(cuts.verify, desk, turn) and sound
                    if turn < CUTS:
                        sound = played(cuts.load, desk, turn) and sound
                        continue
                    # What was promised is also done: by a service that starts once more and finds what is left over.
                    desk.start_service("storms")
                    sound = played(desk.settled, 120) and sound
                    figures["cuts: what was left over is settled"] = f"{desk.count('1')} deliveries"
                    desk.stop_service()
                    desk.unmount_and_off()
            sound = played(card.sound) and sound
            figures["cuts: start to ready after one, median"] = f"{percentile(cuts.starts, 0.5):.2f} s"
            figures[f"{CUTS} power cuts, boots included"] = f"{time.monotonic() - began:.0f} s"
            figures["cuts: answered 200, all there"] = len(cuts.promised)
            figures["cuts: left without an answer"] = cuts.unanswered
            figures["cuts: journals that ext4 recovered"] = cuts.recovered
            if sound:
                print(f"ok      {CUTS} power cuts under load: {len(cuts.promised)} deliveries were answered 200 and all are"
                      " there; the database and the file system are sound", flush=True)
        finally:
            card.remove()
    return failed


def main():
    options = arguments(__doc__, ("part",))
    part = {"steady": steady, "storms": storms}[options.part]
    return conclude(lambda figures: part(options, figures))


if __name__ == "__main__":
    sys.exit(main())
