//! One channel of the Pi's PWM hardware, through the kernel's files: what a passive buzzer sounds by. Owns finding the
//! hardware, taking the channel, and the order of writes; refuses to know tones.
//!
//! An overlay in config.txt leads a channel to a pin, and the kernel does not say here to which: 12 and 18 share one on
//! all models before the Pi 5, as 13 and 19 do. A channel that is killed with its program goes on sounding, so the
//! next one to open it silences it first.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::threads::Wake;

#[cfg(test)]
mod tests;

/// udev hands the files of a new channel to the group gpio shortly after they appear; until then they are root's.
const READY_WITHIN: Duration = Duration::from_secs(1);
const READY_STEP: Duration = Duration::from_millis(10);

/// The period before the first tone. Any would do, but while it is 0 the kernel refuses everything else.
const FIRST_PERIOD_NS: u64 = 1_000_000;

/// The header's pins that have PWM.
const WIRES: [Wire; 4] = [
    Wire { bcm: 12, func: 4, bcm2835: 0, rp1: 0 },
    Wire { bcm: 13, func: 4, bcm2835: 1, rp1: 1 },
    Wire { bcm: 18, func: 2, bcm2835: 0, rp1: 2 },
    Wire { bcm: 19, func: 2, bcm2835: 1, rp1: 3 },
];

/// How a pin gets its PWM: the `func` of its overlay, and the channel on either hardware.
struct Wire {
    bcm: u32,
    func: u32,
    bcm2835: u32,
    rp1: u32,
}

impl Wire {
    fn of(bcm: u32) -> Option<&'static Wire> {
        WIRES.iter().find(|wire| wire.bcm == bcm)
    }

    fn channel(&self, hardware: Hardware) -> u32 {
        match hardware {
            Hardware::Bcm2835 => self.bcm2835,
            Hardware::Rp1 => self.rp1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hardware {
    /// Pi 0 to 4, `2020c000.pwm`, `3f20c000.pwm` or `fe20c000.pwm`.
    Bcm2835,
    /// Pi 5, `1f00098000.pwm`.
    Rp1,
}

impl Hardware {
    /// By the device's name, which has the address in it. Neither the chip's number (it depends on the kernel) nor the
    /// driver alone will do: a Pi 4 has a second one of the kind for its headphones, a Pi 5 one for its fan.
    fn of(device: &str, compatible: Option<&[u8]>) -> Option<Hardware> {
        let (hardware, driver) = match device {
            "1f00098000.pwm" => (Hardware::Rp1, "raspberrypi,rp1-pwm"),
            name if name.ends_with("20c000.pwm") => (Hardware::Bcm2835, "brcm,bcm2835-pwm"),
            _ => return None,
        };
        // A list of names, each ended by a zero.
        let agrees = compatible.is_none_or(|names| names.split(|byte| *byte == 0).any(|it| it == driver.as_bytes()));
        agrees.then_some(hardware)
    }
}

/// Whether udev gets its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// [`READY_WITHIN`]: a channel that has just been exported becomes ours within it.
    Wait,
    /// None: what is not ours now is left exported, and may be ours the next time. All other lines wait for this.
    Look,
}

impl Patience {
    /// For what is tried for the first time, or again.
    pub(super) fn of(tried_before: bool) -> Patience {
        if tried_before { Patience::Look } else { Patience::Wait }
    }
}

/// One channel of the PWM hardware: exported, silent until told.
#[derive(Debug)]
pub(super) struct Channel {
    files: Files,
    /// The polarity could not be turned round, so what is high is what should be low.
    turned: bool,
    active_low: bool,
    now: Wave,
}

/// Where a channel is, whoever has it.
#[derive(Debug)]
struct Files {
    chip: PathBuf,
    number: u32,
}

/// What the kernel was told. It refuses whatever would make `high_ns` more than the period, even for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wave {
    period_ns: u64,
    high_ns: u64,
}

impl Channel {
    /// Takes the channel that is wired to this pin. `root` is `/`; tests give a directory.
    ///
    /// One that is exported already and lets us write is taken over: a killed process of ours leaves it so. Whether
    /// another program of the group gpio uses it cannot be seen.
    ///
    /// # Errors
    /// When there is no such hardware, it is not ours to use, or somebody else has it. Waits [`READY_WITHIN`] for udev.
    pub(super) fn open(root: &Path, bcm: u32, active_low: bool, patience: Patience) -> Result<Channel, PwmError> {
        let wire = Wire::of(bcm).ok_or(PwmError::NoPwm { bcm })?;
        let (chip, hardware) = find(root)?.ok_or(PwmError::NoChip { bcm, func: wire.func })?;
        let files = Files { chip, number: wire.channel(hardware) };
        files.take(bcm, patience)?;
        // Ours from here on: whatever happens, it is given back.
        let mut channel = Channel { files, turned: false, active_low, now: Wave { period_ns: 0, high_ns: 0 } };
        match channel.prepare(active_low) {
            Ok(()) => Ok(channel),
            Err(cause) => Err(channel.files.refused("set up", channel.files.directory(), bcm, cause)),
        }
    }

    /// Whether [`Channel::open`] would find hardware that is ours to use. Nothing is exported.
    pub(super) fn look(root: &Path, bcm: u32) -> Result<(), PwmError> {
        let wire = Wire::of(bcm).ok_or(PwmError::NoPwm { bcm })?;
        let (chip, hardware) = find(root)?.ok_or(PwmError::NoChip { bcm, func: wire.func })?;
        let export = chip.join("export");
        let files = Files { chip, number: wire.channel(hardware) };
        // Opened and not written to.
        match OpenOptions::new().write(true).open(&export) {
            Ok(_) => Ok(()),
            Err(cause) => Err(files.refused("write", export, bcm, cause)),
        }
    }

    /// On for `duty` of each period, both in nanoseconds; duty 0 is off.
    ///
    /// # Errors
    /// When the kernel refuses, as it does a period that the hardware cannot do.
    pub(super) fn set(&mut self, period_ns: u64, duty_ns: u64) -> io::Result<()> {
        // Silence keeps the period: one write, which cannot be refused for the period's sake.
        let period_ns = if duty_ns == 0 || period_ns == 0 { self.now.period_ns } else { period_ns };
        let on_ns = if duty_ns == 0 { 0 } else { duty_ns.min(period_ns) };
        let high_ns = if self.turned { period_ns - on_ns } else { on_ns };
        for step in self.now.steps_to(Wave { period_ns, high_ns }) {
            match step {
                Step::Period(period_ns) => {
                    self.files.write("period", period_ns)?;
                    self.now.period_ns = period_ns;
                }
                Step::High(high_ns) => {
                    self.files.write("duty_cycle", high_ns)?;
                    self.now.high_ns = high_ns;
                }
            }
        }
        Ok(())
    }

    /// Silent, with our polarity, and switched on: only then does an active-low buzzer stay off, because hardware that
    /// is switched off leaves its pin low.
    fn prepare(&mut self, active_low: bool) -> io::Result<()> {
        // The state of whoever had it before survives, even giving the channel back.
        if self.files.read("period")? != "0" {
            self.files.write("duty_cycle", 0)?;
            self.files.write("enable", 0)?;
        }
        self.files.write("period", FIRST_PERIOD_NS)?;
        self.now = Wave { period_ns: FIRST_PERIOD_NS, high_ns: 0 };
        let polarity = if active_low { "inversed" } else { "normal" };
        // Not every driver can turn it round, nor does every one have the file.
        let has = self.files.read("polarity").is_ok_and(|now| now == polarity)
            || self.files.write("polarity", polarity).is_ok();
        self.turned = active_low && !has;
        self.set(0, 0)?;
        self.files.write("enable", 1)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Silent, off, and free for the next one, as far as the kernel still obeys. Nobody is left to tell.
        let _ = self.set(0, 0);
        if self.active_low {
            // Switched off, or given back, the pin would be low, which is as bright or loud as it gets. The next of us takes it
            // over as it is.
            return;
        }
        let _ = self.files.write("enable", 0);
        let _ = write(&self.files.chip.join("unexport"), self.files.number);
    }
}

impl Files {
    /// Exports the channel, unless it is exported, and waits until its files are ours to write.
    fn take(&self, bcm: u32, patience: Patience) -> Result<(), PwmError> {
        let directory = self.directory();
        let was_there = directory.is_dir();
        if !was_there {
            let export = self.chip.join("export");
            write(&export, self.number).map_err(|cause| self.refused("export a channel by", export, bcm, cause))?;
        }
        let within = if patience == Patience::Wait { READY_WITHIN } else { Duration::ZERO };
        let deadline = Instant::now() + within;
        loop {
            match self.ready() {
                Ok(()) => return Ok(()),
                Err((_, cause)) if is_not_yet(&cause) && Instant::now() < deadline => {
                    Wake::new().wait(READY_STEP);
                }
                Err((_, cause)) if was_there && cause.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(PwmError::Busy { bcm, channel: directory });
                }
                Err((path, cause)) => {
                    if !was_there && patience == Patience::Wait {
                        // Nobody is served by a channel that nobody may use.
                        let _ = write(&self.chip.join("unexport"), self.number);
                    }
                    return Err(self.refused("write", path, bcm, cause));
                }
            }
        }
    }

    /// Whether all files are ours to write, or the first that is not: they become so one after the other.
    fn ready(&self) -> Result<(), (PathBuf, io::Error)> {
        for (file, may_lack) in [("period", false), ("duty_cycle", false), ("enable", false), ("polarity", true)] {
            let path = self.directory().join(file);
            match OpenOptions::new().write(true).open(&path) {
                Ok(_) => {}
                Err(cause) if may_lack && cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err((path, cause)),
            }
        }
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        self.chip.join(format!("pwm{}", self.number))
    }

    fn read(&self, file: &str) -> io::Result<String> {
        let path = self.directory().join(file);
        let text = fs::read_to_string(&path).map_err(|cause| at(&path, &cause))?;
        Ok(text.trim().to_owned())
    }

    fn write(&self, file: &str, value: impl fmt::Display) -> io::Result<()> {
        let path = self.directory().join(file);
        write(&path, value).map_err(|cause| at(&path, &cause))
    }

    fn refused(&self, attempt: &'static str, path: PathBuf, bcm: u32, cause: io::Error) -> PwmError {
        match cause.kind() {
            io::ErrorKind::ResourceBusy => PwmError::Busy { bcm, channel: self.directory() },
            io::ErrorKind::PermissionDenied => PwmError::Forbidden { path },
            io::ErrorKind::ReadOnlyFilesystem => {
                // The real folder: systemd follows no link whose number may change with the kernel.
                let device = fs::canonicalize(self.chip.join("device")).unwrap_or_else(|_| self.chip.clone());
                PwmError::ReadOnly { path, device }
            }
            _ => PwmError::Io { attempt, path, cause },
        }
    }
}

/// A write on the way from one wave to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Period(u64),
    High(u64),
}

impl Wave {
    /// What has to be written, in an order in which the period is never exceeded.
    fn steps_to(self, to: Wave) -> impl Iterator<Item = Step> {
        let period = (to.period_ns != self.period_ns).then_some(Step::Period(to.period_ns));
        let high = (to.high_ns != self.high_ns).then_some(Step::High(to.high_ns));
        let order = if to.period_ns < self.period_ns { [high, period] } else { [period, high] };
        order.into_iter().flatten()
    }
}

/// The chip of the header's pins, by its device.
fn find(root: &Path) -> Result<Option<(PathBuf, Hardware)>, PwmError> {
    let class = root.join("sys/class/pwm");
    let entries = match fs::read_dir(&class) {
        Ok(entries) => entries,
        // A kernel without PWM.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(PwmError::Io { attempt: "list", path: class, cause }),
    };
    for chip in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let Ok(device) = fs::canonicalize(chip.join("device")) else { continue };
        let compatible = fs::read(device.join("of_node/compatible")).ok();
        let name = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(hardware) = Hardware::of(name, compatible.as_deref()) {
            return Ok(Some((chip, hardware)));
        }
    }
    Ok(None)
}

/// Not there, or not ours: both may pass.
fn is_not_yet(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}

/// Never makes a file: one that is not there is an error.
fn write(path: &Path, value: impl fmt::Display) -> io::Result<()> {
    // The kernel wants a value in one piece.
    OpenOptions::new().write(true).truncate(true).open(path)?.write_all(value.to_string().as_bytes())
}

fn at(path: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{}: {cause}", path.display()))
}

/// Why there is no channel.
#[derive(Debug)]
pub(super) enum PwmError {
    /// A pin that has no PWM on any model.
    NoPwm {
        /// The pin.
        bcm: u32,
    },
    /// The hardware is not there until an overlay asks for it.
    NoChip {
        /// The pin.
        bcm: u32,
        /// Its function in the overlay.
        func: u32,
    },
    /// Somebody else has the channel.
    Busy {
        /// The pin.
        bcm: u32,
        /// The channel's folder.
        channel: PathBuf,
    },
    /// Files that this user may not write.
    Forbidden {
        /// The first of them.
        path: PathBuf,
    },
    /// Files that the service may not write, whoever it is.
    ReadOnly {
        /// The first of them.
        path: PathBuf,
        /// The folder that must be writable.
        device: PathBuf,
    },
    /// Anything else.
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
}

impl fmt::Display for PwmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PwmError::NoPwm { bcm } => write!(
                f,
                "pin {bcm} has no PWM hardware, without which a passive buzzer stays silent; wire it to pin 18 (or 12, \
                 13, 19), or wire an active one"
            ),
            PwmError::NoChip { bcm, func } => write!(
                f,
                "no PWM hardware for pin {bcm} in /sys/class/pwm; add the line `dtoverlay=pwm,pin={bcm},func={func}` to \
                 /boot/firmware/config.txt (`pwm-2chan` where both channels are used) and reboot"
            ),
            PwmError::Busy { bcm, channel } => write!(
                f,
                "the PWM channel of pin {bcm} ({}) is in use; stop the program or remove the overlay that has it, or \
                 choose another pin of 12, 13, 18 and 19 (`sudo cat /sys/kernel/debug/pwm` shows who has which)",
                channel.display()
            ),
            PwmError::Forbidden { path } => write!(
                f,
                "may not write {}; add this user to the group gpio (`sudo usermod -aG gpio USER`) and start again. Where \
                 these files are root's alone, a udev rule gives them to the group: SUBSYSTEM==\"pwm\", \
                 ACTION!=\"remove\", RUN+=\"/bin/chgrp -R gpio /sys%p\", RUN+=\"/bin/chmod -R g=u /sys%p\"",
                path.display()
            ),
            PwmError::ReadOnly { path, device } => write!(
                f,
                "{} is read-only here; a systemd unit that protects the kernel's files must name it: \
                 ReadWritePaths={}",
                path.display(),
                device.display()
            ),
            PwmError::Io { attempt, path, cause } => {
                write!(f, "cannot {attempt} {} for the buzzer's PWM: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for PwmError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PwmError::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
