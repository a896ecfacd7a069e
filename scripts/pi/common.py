"""What all that is played in an emulated Pi shares: how it is started, and how a play is judged."""

import argparse
import collections
import os
import shlex
import signal
import sys
import time

from machine import Broken, Machine, initramfs
from modules import order

# The watchdog, which also switches the power off; USB with an Ethernet adapter on it; the SD card, and its file system.
CARD_MODULES = ["pwm_bcm2835", "bcm2835_wdt", "phy_generic", "dwc2", "cdc_ether", "bcm2835", "crc32c_generic", "ext4"]

# What a desk on a card has: two kinds of event, of which Slack gets one and the LED both.
KNOCKS = """
[sinks.slack.retry]
first = "1 s"
cap = "2 s"

[sinks.bell]
kind = "bell"

[[rules]]
name = "opened"
when = { kind = ["issue_opened"] }
to = ["slack", "bell"]
cue = "knock"

[[rules]]
name = "closed"
when = { kind = ["issue_closed"] }
to = ["bell"]
cue = "knock"

[bell]
board = "chip"
leds = { red = 17 }

# Long enough to be seen from outside, also when this machine has other things to do.
[cues.knock]
led = "red"
blink = { on_ms = 250, off_ms = 40, times = 1 }
"""


class Failure(Exception):
    """Something was not as it should be."""


def check(holds, what):
    if not holds:
        raise Failure(what)


def eventually(holds, seconds, what):
    """Waits until it holds, and says how long that took."""
    start = time.monotonic()
    while not holds():
        check(time.monotonic() - start < seconds, f"{what}: not within {seconds} s")
        time.sleep(0.01)
    return time.monotonic() - start


def play(scenarios, desk, figures):
    """Plays all, says how each went, and returns how many failed."""
    failed = 0
    for scenario in scenarios:
        try:
            scenario(desk, figures)
            print(f"ok      {scenario.__doc__}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAILED  {scenario.__doc__}\n        {failure}", flush=True)
    return failed


def arguments(description, more=()):
    """What scripts/test-pi says: where everything is that a Pi is made of."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("qemu", "kernel", "dtb", "busybox", "forwarder", "binary", "modules", "work", *more):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--library", action="append", default=[])
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


def content(path):
    with open(path, "rb") as file:
        return file.read()


def beside(name):
    """A file of this folder."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), name)


def first_files(options, name, modules, configs=(), init="guest"):
    """Writes what is in the guest's memory when it starts, and returns where."""
    files = [
        ("init", 0o755, content(beside(init))),
        ("bin/busybox", 0o755, content(options.busybox)),
    ]
    # Numbered, because each may need the ones before it.
    for number, module in enumerate(order(options.modules, modules)):
        files.append((f"modules/{number:02}-{os.path.basename(module)}", 0o644, content(module)))
    if init == "guest":
        files += [
            ("bin/hookbell", 0o755, content(options.binary)),
            ("bin/rinetd", 0o755, content(options.forwarder)),
            ("etc/passwd", 0o644, b"root::0:0::/root:/bin/sh\nbell::1000:1000::/var/desk:/bin/sh\n"),
            ("etc/group", 0o644, b"root::0:\nbell::1000:\ngpio::997:bell\n"),
        ]
        for config, text in configs:
            files.append((f"etc/{config}.toml", 0o644, text.encode()))
        for library in options.library:
            base = os.path.basename(library)
            folder = "lib" if base.startswith("ld-") else "lib/aarch64-linux-gnu"
            files.append((f"{folder}/{base}", 0o755, content(library)))
    path = os.path.join(options.work, f"{name}.initrd")
    initramfs(path, files)
    return path


def start(options, initrd, model, console, serial_before, log, words=None):
    """`words` are added to the kernel's command line; without them the guest's clock is set to now."""
    words = f"now={int(time.time())}" if words is None else words
    # One thread is three times faster than four on a small machine.
    command = [*model, "-accel", "tcg,thread=single", "-kernel", options.kernel, "-initrd", initrd]
    command += ["-append", f"console={console},115200 rdinit=/init panic=5 {words}"]
    return Machine(shlex.split(options.qemu), command, serial_before, os.path.join(options.work, log))


# One of its four cores: QEMU emulates all of them in one thread, and those that idle cost a third of its time.
ONE_CORE = "maxcpus=1"


def start_pi(options, initrd, log, more=(), words=None):
    # Its first serial line leads to the Bluetooth chip, the second is the console.
    return start(options, initrd, ["-M", "raspi3b", "-dtb", options.dtb, *more], "ttyS1", 1, log, words)


def told_to_end(*_):
    # Once: `timeout` sends its signal twice, and the second would interrupt the tidying up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def conclude(body):
    """Plays, shows the figures, and returns the exit status. Told to end, it still ends QEMU and tidies up."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told_to_end)
    figures = collections.OrderedDict()
    try:
        failed = body(figures)
    except Broken as broken:
        print(f"the emulation broke: {broken}", file=sys.stderr)
        failed = 1
    print()
    for name, figure in figures.items():
        print(f"{name:40} {figure}")
    return 1 if failed else 0
