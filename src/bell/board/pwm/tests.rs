//! Finding, taking, playing and giving back, on dead files; the order of writes; what errors say.

use std::os::unix::fs::symlink;

use super::*;

/// Files as a kernel shows them (6.1 on a Pi 3, and what is known of the others), but dead: they keep what is
/// written.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.root().join("sys/class/pwm")).unwrap();
        tree
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn chip(self, number: u32, device: &str, compatible: &str) -> Tree {
        let node = self.root().join(format!("sys/firmware/devicetree/base/{device}"));
        fs::create_dir_all(&node).unwrap();
        fs::write(node.join("compatible"), format!("{compatible}\0")).unwrap();
        let folder = self.root().join(format!("sys/devices/platform/{device}"));
        let chip = folder.join(format!("pwm/pwmchip{number}"));
        fs::create_dir_all(&chip).unwrap();
        symlink(&node, folder.join("of_node")).unwrap();
        symlink(format!("../../../{}", folder.file_name().unwrap().to_str().unwrap()), chip.join("device")).unwrap();
        for file in ["export", "unexport"] {
            fs::write(chip.join(file), "").unwrap();
        }
        symlink(&chip, self.root().join(format!("sys/class/pwm/pwmchip{number}"))).unwrap();
        self
    }

    /// A channel as it is after exporting, or as somebody left it.
    fn channel(self, chip: u32, number: u32, state: [&str; 4]) -> Tree {
        let folder = self.root().join(format!("sys/class/pwm/pwmchip{chip}/pwm{number}"));
        fs::create_dir(&folder).unwrap();
        for (file, content) in ["period", "duty_cycle", "enable", "polarity"].into_iter().zip(state) {
            fs::write(folder.join(file), format!("{content}\n")).unwrap();
        }
        self
    }

    /// `period/duty_cycle enable polarity`
    fn state(&self, chip: u32, number: u32) -> String {
        let folder = self.root().join(format!("sys/class/pwm/pwmchip{chip}/pwm{number}"));
        let read = |file| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
        format!("{}/{} {} {}", read("period"), read("duty_cycle"), read("enable"), read("polarity"))
    }

    fn file(&self, chip: u32, name: &str) -> String {
        fs::read_to_string(self.root().join(format!("sys/class/pwm/pwmchip{chip}/{name}"))).unwrap()
    }
}

const NEW: [&str; 4] = ["0", "0", "0", "normal"];
const BCM: &str = "brcm,bcm2835-pwm";
const RP1: &str = "raspberrypi,rp1-pwm";

#[test]
fn the_chip_is_found_by_its_device() {
    let other = |tree: Tree| tree.chip(0, "soc/firmware/pwm", "raspberrypi,firmware-poe-pwm");
    let cases = [
        (other(Tree::new()).chip(3, "soc/2020c000.pwm", BCM), Some((3, Hardware::Bcm2835))),
        (other(Tree::new()).chip(1, "soc/3f20c000.pwm", BCM), Some((1, Hardware::Bcm2835))),
        // The headphones of a Pi 4, numbered before the header.
        (Tree::new().chip(0, "soc/fe20c800.pwm", BCM).chip(7, "soc/fe20c000.pwm", BCM), Some((7, Hardware::Bcm2835))),
        // The fan of a Pi 5, likewise.
        (
            Tree::new().chip(0, "axi/pcie/1f0009c000.pwm", RP1).chip(2, "axi/pcie/1f00098000.pwm", RP1),
            Some((2, Hardware::Rp1)),
        ),
        (Tree::new().chip(0, "soc/fe20c800.pwm", BCM).chip(1, "axi/pcie/1f0009c000.pwm", RP1), None),
        (Tree::new().chip(0, "soc/ff20c000.pwm", "acme,pwm"), None),
        (Tree::new(), None),
    ];
    for (tree, expected) in cases {
        let found = find(tree.root()).unwrap();
        let found = found.map(|(chip, hardware)| (chip.file_name().unwrap().to_str().unwrap().to_owned(), hardware));
        assert_eq!(found, expected.map(|(number, hardware)| (format!("pwmchip{number}"), hardware)));
    }
    let nothing = tempfile::tempdir().unwrap();
    assert!(find(nothing.path()).unwrap().is_none(), "a kernel without PWM");
}

#[test]
fn each_pin_has_its_channel() {
    let channels = |hardware| WIRES.each_ref().map(|wire| (wire.bcm, wire.channel(hardware)));
    assert_eq!(channels(Hardware::Bcm2835), [(12, 0), (13, 1), (18, 0), (19, 1)]);
    assert_eq!(channels(Hardware::Rp1), [(12, 0), (13, 1), (18, 2), (19, 3)]);
}

#[test]
fn a_channel_is_taken_played_and_given_back() {
    let tree = Tree::new().chip(4, "axi/pcie/1f00098000.pwm", RP1).channel(4, 2, NEW);
    let mut channel = Channel::open(tree.root(), 18, false, Patience::Wait).unwrap();
    assert_eq!(tree.state(4, 2), "1000000/0 1 normal");
    channel.set(2_272_727, 1_136_363).unwrap();
    assert_eq!(tree.state(4, 2), "2272727/1136363 1 normal");
    channel.set(2_272_727, 0).unwrap();
    assert_eq!(tree.state(4, 2), "2272727/0 1 normal");
    channel.set(500_000, 900_000).unwrap();
    assert_eq!(tree.state(4, 2), "500000/500000 1 normal", "more than always is always");
    channel.set(0, 5).unwrap();
    assert_eq!(tree.state(4, 2), "500000/5 1 normal");
    drop(channel);
    assert_eq!(tree.state(4, 2), "500000/0 0 normal");
    assert_eq!(tree.file(4, "unexport"), "2");
}

#[test]
fn what_a_killed_process_left_sounding_is_silenced() {
    let left = ["250000", "125000", "1", "inversed"];
    let tree = Tree::new().chip(0, "soc/fe20c000.pwm", BCM).channel(0, 1, left);
    let channel = Channel::open(tree.root(), 19, false, Patience::Wait).unwrap();
    assert_eq!(tree.state(0, 1), "1000000/0 1 normal");
    assert_eq!(tree.file(0, "export"), "", "it was exported");
    drop(channel);
    assert_eq!(tree.state(0, 1), "1000000/0 0 normal");
}

#[test]
fn what_is_tried_again_keeps_nobody_waiting() {
    // Not exported by this tree, so that its files never come.
    let tree = Tree::new().chip(0, "soc/fe20c000.pwm", BCM);
    let begun = Instant::now();
    Channel::open(tree.root(), 19, false, Patience::Look).unwrap_err();
    assert!(begun.elapsed() < READY_WITHIN, "{:?}", begun.elapsed());
    assert_eq!(
        (tree.file(0, "export").as_str(), tree.file(0, "unexport").as_str()),
        ("1", ""),
        "it may be ours next time"
    );
}

#[test]
fn active_low_turns_the_polarity_or_else_the_duty() {
    let tree = Tree::new().chip(0, "soc/fe20c000.pwm", BCM).channel(0, 0, NEW);
    let mut channel = Channel::open(tree.root(), 12, true, Patience::Wait).unwrap();
    channel.set(1000, 300).unwrap();
    assert_eq!(tree.state(0, 0), "1000/300 1 inversed");
    drop(channel);
    assert_eq!(tree.state(0, 0), "1000/0 1 inversed", "switched off it would be low, and that is on");
    assert_eq!(tree.file(0, "unexport"), "");

    let tree = Tree::new().chip(0, "soc/fe20c000.pwm", BCM).channel(0, 0, NEW);
    fs::remove_file(tree.root().join("sys/class/pwm/pwmchip0/pwm0/polarity")).unwrap();
    let mut channel = Channel::open(tree.root(), 12, true, Patience::Wait).unwrap();
    assert_eq!(tree.state(0, 0), "1000000/1000000 1 ");
    channel.set(1000, 300).unwrap();
    assert_eq!(tree.state(0, 0), "1000/700 1 ");
    channel.set(1000, 0).unwrap();
    assert_eq!(tree.state(0, 0), "1000/1000 1 ");
}

#[test]
fn the_period_is_never_exceeded() {
    let waves = [(1000, 0), (1000, 1000), (10, 10), (10, 0), (500, 500), (400, 1), (400, 400), (900, 0), (1, 1)];
    let waves = waves.map(|(period_ns, high_ns)| Wave { period_ns, high_ns });
    for from in waves {
        for to in waves {
            let mut now = from;
            for step in from.steps_to(to) {
                match step {
                    Step::Period(period_ns) => now.period_ns = period_ns,
                    Step::High(high_ns) => now.high_ns = high_ns,
                }
                assert!(now.high_ns <= now.period_ns, "from {from:?} to {to:?}: {now:?}");
            }
            assert_eq!(now, to);
        }
        assert_eq!(from.steps_to(from).count(), 0);
    }
}

#[test]
fn errors_say_what_to_do() {
    let check = |error: PwmError, expected: &[&str]| {
        let text = error.to_string();
        for part in expected {
            assert!(text.contains(part), "{text}: {part}");
        }
    };
    let empty = Tree::new();
    check(Channel::open(empty.root(), 17, false, Patience::Wait).unwrap_err(), &["pin 17", "18 (or 12, 13, 19)"]);
    for (bcm, line) in [
        (12, "dtoverlay=pwm,pin=12,func=4"),
        (13, "dtoverlay=pwm,pin=13,func=4"),
        (18, "dtoverlay=pwm,pin=18,func=2"),
        (19, "dtoverlay=pwm,pin=19,func=2"),
    ] {
        let error = Channel::open(empty.root(), bcm, false, Patience::Wait).unwrap_err();
        check(error, &[line, "/boot/firmware/config.txt", "pwm-2chan", "reboot"]);
    }

    let tree = Tree::new().chip(0, "soc/3f20c000.pwm", BCM);
    // Exporting does nothing to a dead file, so the channel never comes.
    check(
        Channel::open(tree.root(), 18, false, Patience::Wait).unwrap_err(),
        &["cannot write", "pwmchip0/pwm0/period"],
    );
    assert_eq!(tree.file(0, "export"), "0");

    let (chip, _) = find(tree.root()).unwrap().unwrap();
    let files = Files { chip, number: 0 };
    let refused = |kind: io::ErrorKind| files.refused("write", files.chip.join("export"), 18, kind.into());
    check(refused(io::ErrorKind::ResourceBusy), &["pin 18", "pwmchip0/pwm0", "in use", "/sys/kernel/debug/pwm"]);
    check(refused(io::ErrorKind::PermissionDenied), &["pwmchip0/export", "usermod -aG gpio", "SUBSYSTEM==\"pwm\""]);
    check(
        refused(io::ErrorKind::ReadOnlyFilesystem),
        &["pwmchip0/export", "ReadWritePaths=", "sys/devices/platform/soc/3f20c000.pwm"],
    );
    check(refused(io::ErrorKind::InvalidInput), &["cannot write", "pwmchip0/export"]);
}
