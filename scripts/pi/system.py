"""hookbell's package on an emulated Pi with Debian and systemd: installed, sandboxed, killed, upgraded, cut off its power,
and removed, as its user would see it.

Called by scripts/test-pi, with the system's image, the package, the kernel and QEMU.
"""

import base64
import contextlib
import os
import random
import re
import sys
import time

from common import CARD_MODULES, KNOCKS, ONE_CORE, Failure, arguments, check, conclude, eventually, first_files, start_pi
from desk import LEVELS, SECRET, Card, Keeper, tool
from machine import Broken, Watcher, free_port
from outside import GitHub, Load, Slack, accepted

RESIDENT_KB_MAX = 12_000
LASTING_MS = 10_000

CONFIG = f"""
[door]
listen = "unix:/run/hookbell/door.sock"

[store]
path = "/var/lib/hookbell/hookbell.db"
keep = "90 days"

[sources.github]
secret = {{ credential = "github" }}

[sinks.slack]
kind = "slack"
webhook_url = {{ credential = "slack" }}
interval = "0 s"
{KNOCKS}
[cues.lasting]
led = "red"
blink = {{ on_ms = {LASTING_MS}, off_ms = 0, times = 1 }}
priority = 9
"""

UNIT = "hookbell.service"


class System(Keeper):
    """The Pi with systemd, and the world outside."""

    def __init__(self, machine, watcher, slack, port, options):
        super().__init__(machine, watcher, None)
        self.slack = slack
        self.github = GitHub(port, SECRET)
        self.options = options
        self.promised = []

    def hookbell(self, arguments, _config=None, seconds=60):
        """As a person would type it, as root, without saying which configuration."""
        status, said = self.machine.shell(f"hookbell {arguments}", seconds)
        check(status == 0, f"`hookbell {arguments}` ended with {status}: {said}")
        return said

    def show(self, name, unit=UNIT):
        """One property of a unit."""
        return self.machine.must(f"systemctl show --property={name} --value {unit}")

    def pid(self):
        return int(self.show("MainPID"))

    def active(self, unit=UNIT, seconds=60):
        """Waits until the unit runs."""
        loop = f"for i in $(seq {seconds * 2}); do systemctl is-active --quiet {unit} && exit 0; sleep 0.5; done; exit 1"
        status, _ = self.machine.shell(loop, seconds * 3)
        if status:
            said = self.machine.must(f"systemctl status --no-pager --lines=40 {unit} || true", 60)
            raise Failure(f"{unit} was not active within {seconds} s:\n{said}")

    def write(self, path, text, mode):
        """Writes a file; the console takes lines of 4095 characters at most."""
        packed = base64.b64encode(text.encode()).decode()
        self.machine.must(f"umask 077; echo {packed} | base64 -d >{path} && chmod {mode} {path}")

    def post(self, word, number, action="opened"):
        """One delivery that has to be answered 200."""
        answer = self.github.post(word, number, action, seconds=60)
        check(answer.status == 200, f"{word} no. {number} was answered {answer.status} {answer.said}")
        self.promised.append(answer)
        return answer

    def told(self, word, numbers, seconds=60):
        """Waits until Slack has been told of all of these."""
        numbers = set(numbers)
        eventually(lambda: numbers <= set(self.slack.numbers(word)), seconds, f"Slack is told of {word} no. {sorted(numbers)}")


# ---- what is played ----------------------------------------------------------------------------------------------


def installing(desk, figures):
    """`dpkg -i` installs, and starts nothing that is not configured"""
    took = time.monotonic()
    desk.machine.must("dpkg -i /hookbell-1.deb 2>&1", 300)
    figures["dpkg -i"] = f"{time.monotonic() - took:.1f} s"
    status, said = desk.machine.shell("systemctl is-active hookbell.service hookbell.socket")
    check(status != 0 and "failed" not in said, f"without a configuration it should not run, and it is {said.split()}")
    desk.machine.must("test -d /etc/hookbell/secrets && test \"$(stat -c '%a %U' /etc/hookbell/secrets)\" = '700 root'")


def configuring(desk, figures):
    """configured and enabled it starts, says when it is ready, and systemd watches it"""
    desk.write("/etc/hookbell/secrets/github", SECRET, "600")
    desk.write("/etc/hookbell/secrets/slack", "http://127.0.0.1:5050/slack", "600")
    desk.write("/etc/hookbell/hookbell.toml", CONFIG, "644")
    desk.hookbell("check")
    desk.machine.must("systemctl enable --now hookbell.service 2>&1", 120)
    desk.active()
    started, ready = (int(desk.show(name)) for name in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"))
    # Most of it is systemd's, which builds the sandbox in the new process; storms.py judges hookbell's own part.
    figures["started to ready, sandbox included"] = f"{(ready - started) / 1000:.0f} ms"
    check(desk.show("Type") == "notify" and desk.show("WatchdogUSec") not in ("0", "infinity"),
          f"it is of type {desk.show('Type')}, its watchdog {desk.show('WatchdogUSec')}")
    figures["watchdog"] = desk.show("WatchdogUSec")


def sandboxed(desk, figures):
    """it is an ordinary user without capabilities, sees the pins and no other device, and its door is a Unix socket"""
    pid = desk.pid()
    status = dict(re.findall(r"^(\w+):\s*(.*)$", desk.machine.must(f"cat /proc/{pid}/status"), re.M))
    uid = desk.machine.must("id -u hookbell").strip()
    check(uid != "0" and set(status["Uid"].split()) == {uid}, f"it runs as {status['Uid']} and hookbell is {uid}")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        check(int(status[name], 16) == 0, f"{name} is {status[name]}")
    check(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2",
          f"NoNewPrivs {status['NoNewPrivs']}, Seccomp {status['Seccomp']}")
    # Even root, once among its processes, cannot open what the service may not.
    join = "echo $$ >/sys/fs/cgroup/system.slice/hookbell.service/cgroup.procs"
    for device, allowed in (("/dev/gpiochip0", True), ("/dev/mmcblk0", False), ("/dev/kmsg", False)):
        ended, said = desk.machine.shell(f"sh -c '{join} && exec dd if={device} of=/dev/null count=0' 2>&1")
        check((ended == 0) == allowed, f"{device} should be {'open' if allowed else 'closed'} to it: {said}")
    door = desk.machine.must("stat -c '%a %U %G %F' /run/hookbell/door.sock").strip()
    check(door == "660 hookbell hookbell socket", f"the door is {door}")
    listening = desk.machine.must("cat /proc/net/tcp")
    held = desk.machine.must(f"ls -l /proc/{pid}/fd")
    check("gpiochip" in held or "gpio" in held, f"it holds no pin: {held}")
    figures["its user, its door"] = f"{uid}, {door}"
    figures["ports that listen on the Pi"] = " ".join(
        str(int(port, 16)) for port in re.findall(r"^\s*\d+: \w+:(\w{4}) 00000000:0000 0A", listening, re.M))


def main_job(desk, figures):
    """a signed POST through the tunnel: 200, the message in Slack, the LED"""
    since = time.monotonic()
    answers = []
    for number in range(1, 6):
        answers.append(desk.post("tunnel", number))
        time.sleep(0.5)
    desk.told("tunnel", range(1, 6))
    check(desk.slack.numbers("tunnel") == [1, 2, 3, 4, 5], f"Slack got {desk.slack.numbers('tunnel')}")
    eventually(lambda: desk.pulses("red", since), 20, "the LED lights")
    figures["POST to LED, the first"] = f"{(desk.pulses('red', since)[0][0] - answers[0].posted) * 1000:.0f} ms"
    figures["POST to 200, one after the other"] = " ".join(f"{(a.answered - a.posted) * 1000:.0f}" for a in answers) + " ms"


def load(desk, figures):
    """under load it takes less than 12 MB"""
    peak, pid = 0, desk.pid()
    under = Load(desk.github, "load", 1, senders=4, action="closed", seconds=60)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        peak = max(peak, int(desk.machine.must(f"sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status")))
    answers = under.stop(90)
    bad = [answer for answer in answers if answer.status != 200]
    check(not bad, f"{len(bad)} of {len(answers)} were not answered 200, first: {bad and (bad[0].status, bad[0].said)}")
    desk.promised += answers
    high = int(desk.machine.must(f"sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status"))
    figures["resident under load, its peak ever"] = f"{peak} kB, {high} kB; {len(answers)} deliveries in 8 s"
    check(0 < high < RESIDENT_KB_MAX, f"it took {high} kB")


def killed(desk, figures):
    """kill -9 while the LED is lit: dark until it is started again, by systemd, and receives"""
    before = desk.pid()
    desk.hookbell("bell ring lasting")
    eventually(lambda: desk.lit("red"), 10, "the LED lights")
    desk.machine.must(f"kill -9 {before}")
    dark = eventually(lambda: not desk.lit("red"), 20, "the LED is dark after kill -9")
    answer = desk.post("killed", 1)
    desk.active()
    check(desk.pid() not in (0, before), "systemd has not started it again")
    check(int(desk.show("NRestarts")) == 1, f"it was started again {desk.show('NRestarts')} times")
    desk.told("killed", [1])
    figures["kill -9: dark after, 200 after"] = f"{dark * 1000:.0f} ms, {answer.answered - answer.posted:.1f} s"


def doctor(desk, figures):
    """`hookbell doctor` finds what it looks for"""
    status, said = desk.machine.shell("hookbell doctor 2>&1", 180)
    print("\n".join("        " + line for line in said.splitlines()), flush=True)
    check(status == 0, f"`hookbell doctor` ended with {status}")


def upgrading(desk, figures):
    """an upgrade by package under load: each POST is answered 200; configuration and database stay"""
    config = desk.machine.must("sha256sum /etc/hookbell/hookbell.toml /etc/hookbell/secrets/*")
    before, rows = desk.pid(), desk.count("1")
    # One a second: a faster sender takes the emulated processor from dpkg, and shows no more.
    under = Load(desk.github, "upgrade", 1, senders=1, action="closed", every=1.0, seconds=120)
    try:
        eventually(under.accepted, 60, "the sender's first 200")
        took = time.monotonic()
        desk.machine.must("dpkg -i /hookbell-2.deb 2>&1", 300)
        took = time.monotonic() - took
        desk.active()
        during = len(under.accepted())
        eventually(lambda: len(under.accepted()) > during + 3, 60, "it receives after the upgrade")
    finally:
        answers = under.stop(130)
    bad = [answer for answer in answers if answer.status != 200]
    check(not bad, f"{len(bad)} of {len(answers)} were not answered 200, first: {bad and (bad[0].status, bad[0].said)}")
    desk.promised += answers
    version = desk.machine.must("dpkg-query -W -f '${Version}\\n' hookbell")
    check(version.strip().endswith(desk.options.newer), f"the version is {version}")
    check(desk.pid() not in (0, before), "the old program still runs")
    check(desk.machine.must("sha256sum /etc/hookbell/hookbell.toml /etc/hookbell/secrets/*") == config,
          "the upgrade has changed the configuration")
    check(desk.count("1") >= rows + len(answers), "the database is not the one from before")
    desk.holds(desk.promised)
    longest = max(answer.answered - answer.posted for answer in answers)
    figures["upgrade: dpkg -i, longest answer"] = f"{took:.1f} s, {longest:.1f} s; all {len(answers)} answered 200"


def cut(desk, figures):
    """the power goes under load"""
    under = Load(desk.github, "dark", 1, senders=3, action="closed")
    try:
        eventually(under.accepted, 30, "the first 200 under load")
    except Failure:
        under.stop()
        raise
    time.sleep(desk.options.moments.uniform(0, 2.5))
    desk.machine.cut()
    new = accepted(under.stop())
    desk.promised += new
    figures["power cut: answered 200 under load"] = len(new)


def back(desk, figures):
    """after the power cut it comes back by itself, with everything that was answered 200"""
    desk.active(seconds=90)
    desk.sound()
    desk.holds(desk.promised)
    check("EXT4-fs error" not in desk.machine.must("dmesg"), "the card's file system is not sound")
    desk.post("back", 1)
    desk.told("back", [1])
    desk.settled(120)
    figures["deliveries answered 200, all there"] = len(desk.promised)


def split(desk, figures):
    """the split form, hookbell-receive and hookbell-work: a delivery goes through both"""
    desk.machine.must("systemctl disable --now hookbell.socket hookbell.service 2>&1", 60)
    desk.machine.must("systemctl enable --now hookbell-receive.socket hookbell-receive.service hookbell-work.service 2>&1", 120)
    desk.active("hookbell-receive.service")
    desk.active("hookbell-work.service")
    since = time.monotonic()
    desk.post("split", 1)
    desk.told("split", [1])
    eventually(lambda: desk.pulses("red", since), 20, "the LED lights")
    check(not desk.pid(), "hookbell.service runs beside the split form")


def removing(desk, figures):
    """`dpkg -r` keeps the database and the configuration, `dpkg -P` takes them; neither asks"""
    desk.machine.must("dpkg -r hookbell 2>&1", 120)
    desk.machine.must("test -s /var/lib/hookbell/hookbell.db && test -s /etc/hookbell/hookbell.toml")
    desk.machine.must("! pidof hookbell && ! test -e /usr/bin/hookbell")
    desk.machine.must("dpkg -P hookbell 2>&1", 120)
    left = desk.machine.shell("ls -d /var/lib/hookbell /etc/hookbell /run/hookbell 2>/dev/null")[1].split()
    check(not left, f"purged, and still there: {left}")
    said = desk.machine.shell("dpkg -s hookbell 2>&1")[1]
    check("not installed" in said, f"dpkg still knows it: {said}")


# ---- playing -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def powered(options, initrd, card, slack, log, figures):
    port = free_port()
    hardware = ["-drive", f"if=sd,format=raw,file={card.path}", "-netdev",
                f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:8080", "-device", "usb-net,netdev=net"]
    # What the system says while it starts is only of interest when it does not.
    words = f"{ONE_CORE} now={int(time.time())} slack={slack.port} net.ifnames=0 audit=0"
    with start_pi(options, initrd, log, hardware, words) as machine:
        figures[f"boot of Debian, {os.path.splitext(log)[0]}"] = f"{machine.boot(300):.1f} s"
        # From here on the console is ours alone: SIGRTMIN+21 silences systemd.
        machine.must("dmesg -n 1; kill -55 1")
        # The shortest light here lasts 250 ms.
        watcher = Watcher(machine, [LEVELS], pause=0.015)
        yield System(machine, watcher, slack, port, options)
        watcher.ended = True


def newer(package, work):
    """The same package under a higher version, and that version's end."""
    folder, path, end = os.path.join(work, "newer"), os.path.join(work, "hookbell-2.deb"), "+newer"
    tool("rm", "-rf", folder)
    tool("dpkg-deb", "-R", package, folder)
    tool("sed", "-i", rf"s/^Version: .*/&{end}/", os.path.join(folder, "DEBIAN", "control"))
    # gzip: what matters is that the emulated processor unpacks it soon.
    tool("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", folder, path)
    tool("rm", "-rf", folder)
    return path, end


def play(scenarios, desk, figures):
    """Plays one after the other until one fails: each begins where the one before has ended."""
    for scenario in scenarios:
        began = time.monotonic()
        try:
            scenario(desk, figures)
        except (Failure, Broken) as failure:
            print(f"FAILED  {scenario.__doc__}\n        {failure}", flush=True)
            with contextlib.suppress(Broken, OSError):
                print(desk.machine.shell(f"journalctl --no-pager --output=cat --lines=25 --unit={UNIT}", 60)[1], flush=True)
            return 1
        print(f"ok      {scenario.__doc__} ({time.monotonic() - began:.0f} s)", flush=True)
    return 0


def system(options, figures):
    initrd = first_files(options, "system", CARD_MODULES, init="handover")
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    print(f"seed {seed}; --seed {seed} repeats the moment of the power cut", flush=True)
    options.moments = random.Random(seed)
    card = Card(os.path.join(options.work, "system.card"))
    second = None
    with Slack() as slack:
        try:
            card.copy(options.image)
            second, options.newer = newer(options.package, options.work)
            card.put(options.package, "hookbell-1.deb")
            card.put(second, "hookbell-2.deb")
            with powered(options, initrd, card, slack, "system.console", figures) as desk:
                if play([installing, configuring, sandboxed, main_job, load, killed, doctor, upgrading], desk, figures):
                    return 1
                cut(desk, figures)
                promised = desk.promised
            with powered(options, initrd, card, slack, "system-again.console", figures) as desk:
                desk.promised = promised
                if play([back, split, removing], desk, figures):
                    return 1
                desk.machine.console.sendall(b"systemctl poweroff\n")
                desk.machine.switched_off(90)
            card.sound()
            print("ok      the file system of its card is sound", flush=True)
        except Failure as failure:
            print(f"FAILED  {failure}", flush=True)
            return 1
        finally:
            card.remove()
            if second:
                os.unlink(second)
    return 0


def main():
    options = arguments(__doc__, more=("image", "package"))
    return conclude(lambda figures: system(options, figures))


if __name__ == "__main__":
    sys.exit(main())
