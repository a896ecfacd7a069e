"""What hookbell does to the pins of an emulated Pi, watched from outside.

Each scenario says what it has seen, or what it has not; all are played, and one that fails fails the whole.
Called by scripts/test-pi, which brings the kernel, the libraries and QEMU.
"""

import statistics
import sys
import time

from common import arguments, check, conclude, eventually, first_files, play, start, start_pi
from desk import LEDS, LEVELS, Desk
from machine import Watcher

# The Pi 3's PWM, ten registers (control at 0, RNG1 and DAT1 at words 4 and 5).
PWM = ("pwm", 0x3F20C000, 10)
PWM_CLOCK_HZ = 10_000_000

# Of `-M virt`: a chip of eight lines; QEMU's power button is on line 3.
PL061 = ("levels", 0x90303FC, 1)
PL061_BUTTON = 3

CONFIG = """
[store]
path = "/var/desk/hookbell.db"

[sources.github]
secret = { env = "GITHUB_WEBHOOK_SECRET" }

[sinks.bell]
kind = "bell"

[[rules]]
name = "all"
to = ["bell"]
"""

CUE = """
[cues.%s]
led = "%s"
blink = { on_ms = %d, off_ms = %d, times = %d }
tune = "%s"
priority = %d
"""

# LED, on, off and times: each rhythm is its own.
BLINKS = {
    "in_red": ("red", 150, 150, 5),
    "in_green": ("green", 400, 200, 3),
    "in_blue": ("blue", 250, 500, 4),
}
# A light that lasts, and what may interrupt it.
LASTING_MS = 6000
ALARM = ("red", 300, 300, 2)

# Quarters of 400 ms: a pause in the middle, and no two notes of one pitch in a row.
TUNE = "d=4,o=5,b=150:a4,c,p,e,a"
TONES_HZ = [440.0, 523.25, 659.26, 880.0]
TONE_MS = 400

DESK = CONFIG + "[bell]\nboard = \"chip\"\nleds = { red = 17, green = 27, blue = 22 }\n"
for name, (led, on, off, times) in BLINKS.items():
    DESK += CUE % (name, led, on, off, times, "", 5)
DESK += CUE % ("lasting", "green", LASTING_MS, 0, 1, "", 1)
DESK += CUE % ("alarm", *ALARM, "", 9)

SOUND = CONFIG + "[bell]\nboard = \"chip\"\nleds = { red = 17, green = 27, blue = 22 }\n"
SOUND += "buzzer = { pin = 18, type = \"passive\" }\n"
SOUND += CUE % ("song", "blue", 100, 100, 2, TUNE, 5)
SOUND += CUE % ("siren", "red", LASTING_MS, 0, 1, "d=1,o=5,b=60:c,c", 5)

BUTTON = CONFIG + "[bell]\nboard = \"chip\"\nchip = \"9030000.pl061\"\nleds = { green = 0 }\n"
# It is pressed by a high level here, and that chip has no resistors.
BUTTON += f"button = {{ pin = {PL061_BUTTON}, active_low = false, pull = \"none\" }}\n"
BUTTON += CUE % ("lasting", "green", LASTING_MS, 0, 1, "", 1)


class Bell(Desk):
    """The guest with hookbell in it, and what is seen of its lights and heard of its tones."""

    def ring(self, cue, config):
        said = self.hookbell(f"bell ring {cue}", config)
        check("running service" in said, f"the ring did not go through the running service: {said}")

    def tone(self, registers=None):
        """What channel 1 sounds: (Hz, share of the period that is high), or None for silence."""
        words = registers or self.watcher.changes["pwm"][-1][1]
        control, range_, data = words[0], words[4], words[5]
        return (PWM_CLOCK_HZ / range_, data / range_) if control & 1 and range_ and data else None

    def tones(self, since):
        """[tone, from, to] after that moment; what is shorter than 15 ms is the way from one to the next."""
        found = []
        changes = [(at, self.tone(words)) for at, words in list(self.watcher.changes["pwm"])]
        for (at, tone), (until, _) in zip(changes, changes[1:] + [(time.monotonic(), None)]):
            if tone and at >= since and until - at >= 0.015:
                if found and found[-1][0] == tone and at - found[-1][2] < 0.015:
                    found[-1][2] = until
                else:
                    found.append([tone, at, until])
        return found


# ---- the scenarios -----------------------------------------------------------------------------------------------


def rhythm(pulses):
    """Median lengths of light and of the dark between, in ms."""
    on = [end - start for start, end in pulses]
    off = [after[0] - before[1] for before, after in zip(pulses, pulses[1:])]
    return statistics.median(on) * 1000, statistics.median(off) * 1000


def blinking(desk, figures):
    """three cues through the service, as an ordinary user: each LED in its own rhythm"""
    check("uid=0" not in desk.machine.must(desk.as_user("id -u; id")), "the user is root")
    tolerance_ms = 50
    with desk.service("desk"):
        for cue, (led, on, off, times) in BLINKS.items():
            since = time.monotonic()
            desk.ring(cue, "desk")
            seconds = (on + off) * times / 1000 + 10
            whole = lambda: len([end for _, end in desk.pulses(led, since) if end]) >= times
            eventually(whole, seconds, f"{led} lights {times} times for {cue}")
            time.sleep((on + off) / 1000 + 0.1)
            pulses = desk.pulses(led, since)
            check(len(pulses) == times, f"{led} lit {len(pulses)} times instead of {times}")
            seen = rhythm(pulses)
            wanted = f"{on}/{off} ms"
            figures[f"{cue}: {wanted}, {times} times"] = f"{seen[0]:.0f}/{seen[1]:.0f} ms, {len(pulses)} times"
            check(abs(seen[0] - on) <= tolerance_ms and abs(seen[1] - off) <= tolerance_ms,
                  f"{cue} should be {wanted} and was {seen[0]:.0f}/{seen[1]:.0f} ms")
            others = [other for other in LEDS if other != led and desk.pulses(other, since)]
            check(not others, f"{' and '.join(others)} lit during {cue}")
    check(desk.dark(), "a LED is lit after the service has stopped")


def interrupting(desk, figures):
    """a higher cue interrupts a lower one, whose light returns"""
    with desk.service("desk"):
        since = time.monotonic()
        desk.ring("lasting", "desk")
        eventually(lambda: desk.lit("green"), 5, "green lights")
        time.sleep(1)
        rung = time.monotonic()
        desk.ring("alarm", "desk")
        eventually(lambda: desk.pulses("red", rung), LASTING_MS / 1000 + 5, "red lights")
        delay = desk.pulses("red", rung)[0][0] - rung
        figures["alarm: red after the ring"] = f"{delay * 1000:.0f} ms"
        check(len(desk.pulses("green", since)) == 1 and delay < 3,
              f"red waited for the end of green ({delay:.1f} s) instead of interrupting it")
        eventually(lambda: not desk.lit("green"), 0.5, "green is dark while red is lit")
        red_ends = lambda: len(desk.pulses("red", rung)) == ALARM[3] and not desk.lit("red")
        eventually(red_ends, 10, f"red lights {ALARM[3]} times and ends dark")
        end_of_red = desk.pulses("red", rung)[-1][1]
        eventually(lambda: desk.lit("green"), 3, "green lights again after red")
        again = desk.pulses("green", since)[-1][0] - end_of_red
        figures["alarm: green again after red"] = f"{again * 1000:.0f} ms"
        time.sleep(0.5)
        check(desk.lit("green"), "green only flashed after red")
        both = [on for on, end in desk.pulses("red", rung)
                for first, last in desk.pulses("green", since) if first + 0.02 < on < (last or on) - 0.02]
        check(not both, "red and green were lit together")
        eventually(desk.dark, LASTING_MS / 1000 + 5, "dark at the end")


def killed_lit(desk, figures):
    """kill -9 while a LED is lit: the line is free, and `hookbell bell off` makes it dark"""
    with desk.service("desk"):
        desk.ring("lasting", "desk")
        eventually(lambda: desk.lit("green"), 5, "green lights")
        held = desk.machine.must("cat /sys/kernel/debug/gpio")
        check("hookbell" in held, "the kernel names no hookbell as holder of the lines")
        desk.machine.must("kill -9 $(pidof hookbell); while pidof hookbell >/dev/null; do sleep 0.05; done")
        held = desk.machine.must("cat /sys/kernel/debug/gpio")
        check("hookbell" not in held, "the kernel still names hookbell as holder of a line")
        time.sleep(0.3)
        figures["level of a lit line after kill -9"] = "kept" if desk.lit("green") else "low"
        desk.hookbell("bell off", "desk")
        time.sleep(0.1)
        check(desk.dark(), "a LED is lit after `hookbell bell off`")


def registers(desk, figures):
    """a tone written by hand is seen in the PWM's registers: what the next scenarios rely on"""
    write = ("chip=$(dirname /sys/class/pwm/*/export); echo 0 >$chip/export; sleep 0.5; cd $chip/pwm0 && "
             "echo 2272727 >period && echo 1136363 >duty_cycle && echo 1 >enable")
    desk.machine.must(desk.as_user(write))
    time.sleep(0.1)
    tone = desk.tone()
    check(tone and abs(tone[0] - 440) < 1 and abs(tone[1] - 0.5) < 0.01, f"440 Hz should sound, and it is {tone}")
    desk.machine.must(desk.as_user("chip=$(dirname /sys/class/pwm/*/export); echo 0 >$chip/pwm0/enable;"
                                   " echo 0 >$chip/unexport"))
    time.sleep(0.1)
    check(desk.tone() is None, f"it still sounds: {desk.tone()}")


def sounding(desk, figures):
    """a tune on a passive buzzer: its tones, in their order and lengths, and then silence"""
    with desk.service("sound"):
        check(desk.tone() is None, f"it sounds before anything has rung: {desk.tone()}")
        since = time.monotonic()
        desk.ring("song", "sound")
        eventually(lambda: desk.tones(since), 5, "the first tone")
        time.sleep(TONE_MS * 5 / 1000)
        eventually(lambda: desk.tone() is None, 3, "silence after the tune")
        tones = desk.tones(since)
        figures["tones expected, Hz"] = " ".join(f"{hz:.0f}" for hz in TONES_HZ)
        figures["tones seen, Hz"] = " ".join(f"{hz:.0f}" for (hz, _), _, _ in tones)
        figures["their lengths, ms"] = " ".join(f"{(end - start) * 1000:.0f}" for _, start, end in tones)
        check(len(tones) == len(TONES_HZ), f"{len(tones)} tones instead of {len(TONES_HZ)}")
        for ((hz, share), start, end), wanted in zip(tones, TONES_HZ):
            check(abs(hz - wanted) < wanted / 100, f"{hz:.1f} Hz instead of {wanted:.1f} Hz")
            check(0.05 <= share <= 0.6, f"{hz:.0f} Hz is high for {share:.0%} of its period")
            # Notes may be cut short a little, so that two of one pitch are heard as two.
            check(abs((end - start) * 1000 - TONE_MS) < 100, f"{hz:.0f} Hz lasted {(end - start) * 1000:.0f} ms instead of {TONE_MS}")
        pause = tones[2][1] - tones[1][2]
        check(pause > 0.25, f"the pause lasted {pause * 1000:.0f} ms instead of {TONE_MS}")


def killed_sounding(desk, figures):
    """kill -9 while the buzzer sounds: `hookbell bell off` takes the channel over and silences it"""
    with desk.service("sound"):
        desk.ring("siren", "sound")
        eventually(desk.tone, 5, "a tone")
        desk.machine.must("kill -9 $(pidof hookbell); while pidof hookbell >/dev/null; do sleep 0.05; done")
        time.sleep(0.3)
        figures["tone after kill -9"] = "goes on" if desk.tone() else "ends"
        desk.hookbell("bell off", "sound")
        time.sleep(0.1)
        check(desk.tone() is None, f"it sounds after `hookbell bell off`: {desk.tone()}")
        check(desk.dark(), "a LED is lit after `hookbell bell off`")
        held = desk.machine.must("cat /sys/kernel/debug/pwm")
        check("sysfs" not in held, f"the channel was not given back: {held}")


def pressing(desk, figures):
    """the button: pressed once it makes the desk dark, pressed twice it says how much waits"""
    green = lambda: desk.watcher.changes["levels"][-1][1][0] & 1
    # The emulated computer's power button: its line goes high for 100 ms.
    press = lambda: desk.machine.control.ask("system_powerdown")
    with desk.service("button"):
        desk.ring("lasting", "button")
        eventually(green, 5, "green lights")
        time.sleep(0.5)
        press()
        took = eventually(lambda: not green(), LASTING_MS / 1000 - 2, "the press makes it dark")
        figures["button: dark after the press"] = f"{took * 1000:.0f} ms"
        time.sleep(0.5)
        press()
        time.sleep(0.2)
        press()
        # Nothing waits: one long light.
        eventually(green, 3, "a double press answers")
        took = eventually(lambda: not green(), 3, "the answer ends")
        figures["button: nothing waits, 600 ms"] = f"{took * 1000:.0f} ms"
        check(0.45 < took < 0.75, f"the answer should last 600 ms and lasted {took * 1000:.0f} ms")
        said = desk.hookbell("status --json", "button")
        check('"presses":3' in said, f"three presses should be counted: {said}")


# ---- playing them ------------------------------------------------------------------------------------------------


def board(options, initrd, figures):
    """The Pi: everything but the button."""
    scenarios = [blinking, interrupting, killed_lit, registers, sounding, killed_sounding]
    with start_pi(options, initrd, "pi.console") as machine:
        figures["boot"] = f"{machine.boot():.1f} s"
        watcher = Watcher(machine, [LEVELS, PWM])
        since = time.monotonic()
        failed = play(scenarios, Bell(machine, watcher), figures)
        watcher.stop()
        seconds = time.monotonic() - since
        figures["samples"] = f"{watcher.samples} in {seconds:.0f} s, every {seconds / watcher.samples * 1000:.1f} ms"
        figures["worst gap between samples"] = f"{watcher.gap_max * 1000:.0f} ms"
        figures["changes of pins, of PWM"] = f"{len(watcher.changes['levels'])}, {len(watcher.changes['pwm'])}"
    return failed


def button(options, initrd, figures):
    """A computer that is no Pi but has a chip whose line can be pressed from outside."""
    model = ["-M", "virt", "-cpu", "cortex-a53", "-m", "256"]
    with start(options, initrd, model, "ttyAMA0", 0, "button.console") as machine:
        figures["boot, button"] = f"{machine.boot():.1f} s"
        watcher = Watcher(machine, [PL061])
        desk = Bell(machine, watcher)
        failed = play([pressing], desk, figures)
        watcher.stop()
    return failed


def main():
    options = arguments(__doc__)
    configs = (("desk", DESK), ("sound", SOUND), ("button", BUTTON))
    initrd = first_files(options, "pins", ["pwm_bcm2835"], configs)
    return conclude(lambda figures: board(options, initrd, figures) + button(options, initrd, figures))


if __name__ == "__main__":
    sys.exit(main())
