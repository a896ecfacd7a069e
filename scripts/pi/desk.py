"""hookbell in an emulated Pi: started and stopped there, its lights seen from outside, what its database holds, its card."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import time

from common import Failure, check

LEDS = {"red": 17, "green": 27, "blue": 22}

# The Pi 3's register with the levels of GPIO 0 to 31.
LEVELS = ("levels", 0x3F200034, 1)

SECRET = "a-secret-for-an-emulated-pi"


class Desk:
    """The guest with hookbell in it, and what is seen of its pins."""

    def __init__(self, machine, watcher):
        self.machine = machine
        self.watcher = watcher

    def as_user(self, command):
        """An ordinary user, who owns nothing but /var/desk and belongs to the group gpio."""
        environment = f"cd /var/desk; export GITHUB_WEBHOOK_SECRET={SECRET} NO_COLOR=1"
        return f"su bell -c {shlex.quote(environment + '; ' + command)}"

    def hookbell(self, arguments, config, seconds=20):
        """Runs a command to its end and returns its words; it has to succeed."""
        status, said = self.machine.shell(self.as_user(f"hookbell {arguments} --config /etc/{config}.toml"), seconds)
        check(status == 0, f"`hookbell {arguments}` ended with {status}: {said}")
        return said

    def start_service(self, config):
        """`hookbell run`, until it is ready. Returns the seconds from its process's start, as the guest's clock counts."""
        command = self.as_user(f"exec hookbell run --config /etc/{config}.toml")
        # The shell reads along and notes the moment: to look for it again and again would take the emulated processor's time.
        notes = ("while read -r line; do echo \"$line\" >>/tmp/run.log; case \"$line\" in *'ready version'*)"
                 " read -r now _ </proc/uptime; echo $now >/tmp/run.ready;; esac; done </tmp/run.words")
        self.machine.must(f"rm -f /tmp/run.*; mkfifo /tmp/run.words; ({notes}) &")
        self.machine.must(f"{command} >/tmp/run.words 2>&1 & echo $! >/tmp/run.pid")
        wait = "for i in $(seq 300); do [ -s /tmp/run.ready ] && exit; [ -d /proc/$(cat /tmp/run.pid) ] || break; sleep 0.2; done; false"
        status, _ = self.machine.shell(wait, 90)
        if status:
            raise Failure(f"`hookbell run` did not become ready: {self.machine.shell('cat /tmp/run.log')[1]}")
        # Field 22: when it began, in hundredths of a second since the start of the system.
        said = self.machine.must("cat /tmp/run.ready; sed 's/.*) //' /proc/$(cat /tmp/run.pid)/stat | cut -d ' ' -f 20")
        now, began = said.split()
        return float(now) - int(began) / 100

    def stop_service(self):
        self.machine.shell("kill $(pidof hookbell) 2>/dev/null; for i in $(seq 100); do pidof hookbell >/dev/null ||"
                           " break; sleep 0.1; done; kill -9 $(pidof hookbell) 2>/dev/null; true", 30)

    @contextlib.contextmanager
    def service(self, config):
        """`hookbell run`, until the end of the block."""
        try:
            self.start_service(config)
            yield
        finally:
            self.stop_service()

    def lit(self, led):
        return bool(self.watcher.changes["levels"][-1][1][0] >> LEDS[led] & 1)

    def dark(self):
        return not any(self.lit(led) for led in LEDS)

    def pulses(self, led, since):
        """(from, to) of each time that the LED was lit after that moment; `to` is None while it is."""
        found, start, mask = [], None, 1 << LEDS[led]
        for at, (levels,) in list(self.watcher.changes["levels"]):
            if at >= since:
                if levels & mask and start is None:
                    start = at
                elif not levels & mask and start is not None:
                    found.append((start, at))
                    start = None
        return found + ([(start, None)] if start is not None else [])


UNSETTLED = "SELECT id, status FROM webhook_events WHERE status <> 'processed' LIMIT 3"


class Keeper(Desk):
    """A desk whose database outlives it, and what is in it."""

    def __init__(self, machine, watcher, config):
        super().__init__(machine, watcher)
        self.config = config

    def sound(self):
        said = self.hookbell("sql 'PRAGMA quick_check'", self.config, 60)
        check(re.search(r"^ok$", said, re.M), f"the database is not sound: {said}")

    def rows(self, query):
        """What `hookbell sql` says, a JSON object a row."""
        said = self.hookbell(f"sql --json \"{query}\"", self.config, 60)
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def count(self, where):
        return self.rows(f"SELECT count(*) AS n FROM webhook_events WHERE {where}")[0]["n"]

    def holds(self, answers):
        """All of them are stored, under the ids that the senders were told."""
        if not answers:
            return
        first = min(answer.event_id for answer in answers)
        stored = {row["id"]: row["delivery_id"] for row in
                  self.rows(f"SELECT id, delivery_id FROM webhook_events WHERE id >= {first}")}
        lost = [answer for answer in answers if stored.get(answer.event_id) != answer.delivery]
        check(not lost, f"{len(lost)} of {len(answers)} that were answered 200 are not there, first {lost and lost[0].said}")

    def settled(self, seconds=60):
        """Waits until nothing is owed to anybody."""
        until = time.monotonic() + seconds
        while left := self.count("status <> 'processed'"):
            check(time.monotonic() < until, f"{left} deliveries were not settled within {seconds} s: "
                  f"{self.rows(UNSETTLED)}")
            time.sleep(0.5)


class Card:
    """An SD card: a file, with ext4 on it."""

    def __init__(self, path):
        self.path = path

    def make(self, size):
        with open(self.path, "wb") as file:
            file.truncate(size)
        tool("mke2fs", "-q", "-F", "-t", "ext4", self.path)

    def copy(self, image):
        """A copy of an image; what is empty in it takes no place."""
        tool("cp", "--sparse=always", "--reflink=auto", image, self.path)

    def put(self, file, name):
        """Puts a file into the file system's root folder, while it is not mounted."""
        tool("debugfs", "-w", "-R", f"write {file} {name}", self.path)

    def sound(self):
        """Nothing is left to recover and nothing to mend."""
        tool("e2fsck", "-f", "-n", self.path)

    def remove(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def tool(*command, seconds=60):
    """A tool of this machine, which has to succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    check(done.returncode == 0, f"`{' '.join(command)}` ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
