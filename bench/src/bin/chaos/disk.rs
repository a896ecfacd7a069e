//! What happens to a disk: full, read-only, ill, slow, and without power. Mostly on a disk that does all of this on demand
//! (`hookbell_bench::faulty`), and on a small ext4 where the kernel's own behaviour is the point.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    faulty::{self, Disk, Errno, Failed, Fault, Lost, Says},
    finding::Finding,
    scene::{Scenario, Scene, Setting},
    stage::PATIENCE,
};
use tempfile::TempDir;

/// In the order of the table.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[
    ("full disk", full),
    ("full by own growth", grown),
    ("full without saying so", secretly_full),
    ("read-only disk", read_only),
    ("aborted ext4", aborted),
    ("writes fail", writes_fail),
    ("syncs fail", syncs_fail),
    ("reads fail", reads_fail),
    ("forgotten syncs", forgotten),
    ("slow disk", slow),
    ("power cut", power_cut),
    ("lying disk", lying),
];

/// How much longer a fault lasts than until it is seen.
const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

/// A disk that is ill, in folders of its own. Declared before the scene that lives on it, so that it outlives it.
pub(crate) struct Ill {
    disk: Option<Disk>,
    folder: TempDir,
    point: TempDir,
}

impl Ill {
    /// A healthy one; or why there can be none on this machine.
    pub(crate) fn new(setting: &Setting) -> io::Result<Result<Ill, String>> {
        if let Err(why) = faulty::allowed() {
            return Ok(Err(why));
        }
        let folder = tempfile::Builder::new().prefix("chaos-disk-").tempdir_in(&setting.data)?;
        let point = tempfile::Builder::new().prefix("chaos-mount-").tempdir_in(&setting.data)?;
        let disk = Some(Disk::mount(folder.path(), point.path())?);
        Ok(Ok(Ill { disk, folder, point }))
    }

    pub(crate) fn scene(&self, setting: &Setting, fault: &str) -> io::Result<Scene> {
        Scene::begin(setting, fault, |plan, _| self.point.path().clone_into(&mut plan.home))
    }

    pub(crate) fn disk(&self) -> io::Result<&Disk> {
        self.disk.as_ref().ok_or_else(|| io::Error::other("the disk could not be mounted again"))
    }

    /// The power goes and comes back: whoever ran is gone, and starts again on what is left.
    fn cut(&mut self, scene: &Scene, seed: Option<u64>) -> io::Result<Lost> {
        scene.stage.hold(true);
        let lost = self.disk()?.power_cut(seed)?;
        scene.stage.kill(None)?;
        self.disk = None;
        self.disk = Some(Disk::mount(self.folder.path(), self.point.path())?);
        scene.stage.hold(false);
        scene.stage.wait_until_ready(PATIENCE)?;
        Ok(lost)
    }

    /// Judges what the disk has become, by a plain copy: a process that serves a disk should not map files of it.
    fn conclude(&mut self, scene: Scene, did: &str) -> io::Result<Finding> {
        scene.conclude_after(did, |_| {
            if let Some(disk) = self.disk.take() {
                disk.unmount()?;
            }
            for entry in fs::read_dir(self.folder.path())? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), self.point.path().join(entry.file_name()))?;
                }
            }
            Ok(())
        })
    }
}

/// Does `harm` to a disk until something is refused by it and for a while after that, heals it, and judges. Everything has
/// to be answered, and no restart should be needed.
fn ill(setting: &Setting, fault: &str, did: &str, harm: impl FnOnce(&Disk) -> io::Result<()>) -> io::Result<Finding> {
    let mut ill = match Ill::new(setting)? {
        Ok(ill) => ill,
        Err(why) => return Ok(Finding::skipped(fault, why)),
    };
    let scene = ill.scene(setting, fault)?;
    harm(ill.disk()?)?;
    wait_until_seen(&scene)?;
    thread::sleep(setting.pick(SHORT, LONG));
    ill.disk()?.heal();
    scene.recover()?;
    let failed = ill.disk()?.seen().failed;
    let mut finding = ill.conclude(scene, did)?;
    finding.expect(failed > 0, || "the disk has not done what it was told to".to_owned());
    expect_answers(&mut finding);
    Ok(finding)
}

/// Until the door says that it cannot keep something, and the status LED blinks.
fn wait_until_seen(scene: &Scene) -> io::Result<()> {
    let from = scene.from;
    scene.stage.wait_until("a refusal", PATIENCE, || {
        Ok(scene.sender.sent().iter().rev().any(|sent| sent.over >= from && sent.status != Some(200)))
    })?;
    scene.stage.wait_until("the status LED", PATIENCE, || {
        Ok(scene.edges().iter().filter(|edge| edge.line == "status" && edge.level == 1).count() > 1)
    })
}

/// Whoever sends is told 503 and nothing else, within his patience, and nobody had to start anything again.
pub(crate) fn expect_answers(finding: &mut Finding) {
    let others: Vec<_> = finding.refused.iter().filter(|(status, _)| *status != "503").collect();
    let words = format!("expected 503 to all that is refused, and there was {others:?}");
    finding.expect(others.is_empty(), || words);
    let restarts = finding.restarts;
    finding.expect(restarts == 0, || format!("expected that it goes on by itself, and it was restarted {restarts} ×"));
}

/// A small file system of the kernel's own, in a file.
struct Small {
    folder: TempDir,
    point: TempDir,
}

impl Small {
    const MIB: u64 = 32;

    fn new(setting: &Setting) -> io::Result<Result<Small, String>> {
        let folder = tempfile::Builder::new().prefix("chaos-small-").tempdir_in(&setting.data)?;
        let point = tempfile::Builder::new().prefix("chaos-mount-").tempdir_in(&setting.data)?;
        File::create(folder.path().join("image"))?.set_len(Small::MIB << 20)?;
        let image = folder.path().join("image");
        // Nothing is reserved for root, who we are.
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image).output();
        if let Err(why) = well("mkfs.ext4", made) {
            return Ok(Err(why));
        }
        let small = Small { folder, point };
        Ok(small.mount().map(|()| small))
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.folder.path().join("image");
        well(
            "mount",
            Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(self.point.path()).output(),
        )
    }

    fn unmount(&self) -> Result<(), String> {
        well("umount", Command::new("umount").arg(self.point.path()).output())
    }

    fn scene(&self, setting: &Setting, fault: &str) -> io::Result<Scene> {
        Scene::begin(setting, fault, |plan, _| plan.home = self.point.path().join("home"))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Not mounted any more is as good; what is busy goes when it is not.
        let _ = Command::new("umount").args(["--quiet", "--lazy"]).arg(self.point.path()).output();
    }
}

fn well(what: &str, output: io::Result<std::process::Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

fn full(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "full disk";
    let small = match Small::new(setting)? {
        Ok(small) => small,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = small.scene(setting, FAULT)?;
    let ballast = small.point.path().join("ballast");
    fill(&ballast)?;
    wait_until_seen(&scene)?;
    thread::sleep(setting.pick(SHORT, LONG));
    fs::remove_file(&ballast)?;
    scene.recover()?;
    let mut finding = scene.conclude("ext4, filled by others, then freed")?;
    expect_answers(&mut finding);
    Ok(finding)
}

/// Takes all that is free.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    // The last bit goes in smaller pieces.
    for piece in [1 << 20, 4096] {
        let bytes = vec![0x5a; piece];
        for _ in 0..Small::MIB << 8 {
            match file.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    // What was taken has to be taken on the disk, too.
    match file.sync_all() {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

fn grown(setting: &Setting) -> io::Result<Finding> {
    ill(setting, "full by own growth", "256 KiB were left, then more", |disk| {
        disk.holds(disk.taken_bytes() + (256 << 10));
        Ok(())
    })
}

fn secretly_full(setting: &Setting) -> io::Result<Finding> {
    ill(setting, "full without saying so", "ENOSPC, and room by statvfs", |disk| {
        disk.full(Says::Free);
        Ok(())
    })
}

fn read_only(setting: &Setting) -> io::Result<Finding> {
    ill(setting, "read-only disk", "EROFS for all that writes", |disk| {
        disk.read_only();
        Ok(())
    })
}

fn writes_fail(setting: &Setting) -> io::Result<Finding> {
    ill(setting, "writes fail", "EIO", |disk| {
        disk.fail_writes(Fault::each(Errno::EIO));
        Ok(())
    })
}

fn syncs_fail(setting: &Setting) -> io::Result<Finding> {
    ill(setting, "syncs fail", "EIO to every second one", |disk| {
        disk.fail_syncs(Fault::each(Errno::EIO).every(2), Failed::IsForgotten);
        Ok(())
    })
}

/// What the program has in its own memory it does not read again; who starts reads, and must not take a disk that does not
/// answer for a file that is damaged.
fn reads_fail(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "reads fail";
    let mut ill = match Ill::new(setting)? {
        Ok(ill) => ill,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = ill.scene(setting, FAULT)?;
    ill.disk()?.fail_reads(Fault::each(Errno::EIO).only(".db"))?;
    thread::sleep(setting.pick(Duration::from_secs(1), Duration::from_secs(10)));
    scene.stage.kill(None)?;
    let failed = ill.disk()?.seen().failed;
    scene.stage.wait_until("a start that reads nothing", PATIENCE, || Ok(scene.stage.restarts() > 2))?;
    let refused = ill.disk()?.seen().failed - failed;
    ill.disk()?.heal();
    scene.recover()?;
    let names: Vec<_> =
        fs::read_dir(ill.point.path())?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let mut finding = ill.conclude(scene, "EIO from the database file, also at the start")?;
    finding.expect(refused > 0, || "expected that a start reads the file".to_owned());
    let is_aside = names.iter().any(|name| name.to_string_lossy().contains("damaged"));
    finding.expect(!is_aside, || format!("expected that nothing is set aside, and there is {names:?}"));
    Ok(finding)
}

/// As Linux does it: what a failed sync should have written counts as written. Everything that is answered 200 after that
/// must not stand behind such a hole when the power goes.
fn forgotten(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "forgotten syncs";
    let mut ill = match Ill::new(setting)? {
        Ok(ill) => ill,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = ill.scene(setting, FAULT)?;
    let rounds = setting.pick(3, 20);
    for round in 0..rounds {
        ill.disk()?.fail_syncs(Fault::each(Errno::EIO), Failed::IsForgotten);
        thread::sleep(Duration::from_millis(200 + setting.choose(round, 400)));
        ill.disk()?.heal();
        scene.recover()?;
        ill.cut(&scene, None)?;
    }
    let mut finding = ill.conclude(scene, &format!("{rounds} × EIO once and forgotten, then no power"))?;
    finding.expect(u64::from(finding.restarts) >= rounds, || "expected a restart after each cut".to_owned());
    Ok(finding)
}

fn slow(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "slow disk";
    let mut ill = match Ill::new(setting)? {
        Ok(ill) => ill,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = ill.scene(setting, FAULT)?;
    ill.disk()?.sync_takes(Duration::from_secs(2));
    thread::sleep(setting.pick(Duration::from_secs(7), Duration::from_secs(60)));
    ill.disk()?.heal();
    scene.recover()?;
    let slowest = scene
        .sender
        .sent()
        .iter()
        .filter(|sent| sent.scheduled >= scene.from)
        .map(|sent| sent.over - sent.scheduled)
        .max();
    let slowest_s = slowest.unwrap_or_default().as_secs_f64();
    let mut finding = ill.conclude(scene, &format!("each sync 2 s; the slowest answer {slowest_s:.1} s"))?;
    expect_answers(&mut finding);
    Ok(finding)
}

/// What the kernel does when it does not trust its own disk any more: no write goes through until it is mounted anew.
fn aborted(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "aborted ext4";
    let small = match Small::new(setting)? {
        Ok(small) => small,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = small.scene(setting, FAULT)?;
    let abort = Command::new("mount").args(["-o", "remount,abort"]).arg(small.point.path()).output();
    if let Err(why) = well("remount,abort", abort) {
        return Ok(Finding::skipped(FAULT, why));
    }
    wait_until_seen(&scene)?;
    thread::sleep(setting.pick(SHORT, LONG));
    scene.stage.hold(true);
    let restarts = scene.stage.restarts();
    scene.stage.kill(None)?;
    small.unmount().and_then(|()| small.mount()).map_err(io::Error::other)?;
    scene.stage.hold(false);
    scene.stage.wait_until_ready(PATIENCE)?;
    scene.recover()?;
    let mut finding = scene.conclude("remount,abort; mounted anew")?;
    finding.expect(restarts == 0, || format!("expected that it waits, and it was restarted {restarts} ×"));
    Ok(finding)
}

fn power_cut(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "power cut";
    let mut ill = match Ill::new(setting)? {
        Ok(ill) => ill,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = ill.scene(setting, FAULT)?;
    let cuts = setting.pick(5, 60);
    let mut pages = 0;
    for cut in 0..cuts {
        // Not at a moment that anything else chooses.
        thread::sleep(Duration::from_millis(100 + setting.choose(cut, 600)));
        // The first keeps nothing.
        let seed = cut.checked_sub(1).map(|cut| setting.seed.wrapping_add(cut));
        pages += ill.cut(&scene, seed)?.pages;
        scene.recover()?;
    }
    let mut finding = ill.conclude(scene, &format!("{cuts} × with {pages} pages unsynced, lost or torn"))?;
    finding.expect(u64::from(finding.restarts) >= cuts, || "expected a restart after each cut".to_owned());
    Ok(finding)
}

/// No fault of the program's: a cut that takes nothing proves nothing. On a disk that says to have kept what it has not, a
/// promise is lost, and that has to be noticed here.
fn lying(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "lying disk";
    let mut ill = match Ill::new(setting)? {
        Ok(ill) => ill,
        Err(why) => return Ok(Finding::skipped(FAULT, why)),
    };
    let scene = ill.scene(setting, FAULT)?;
    ill.disk()?.lie();
    let begun = Instant::now();
    if !scene.sender.wait_for_200s(25, begun, PATIENCE)? {
        return Err(io::Error::other("nothing is answered on a disk that only lies"));
    }
    ill.cut(&scene, None)?;
    let mut finding = ill.conclude(scene, "proves the cut: must lose")?;
    let lost = std::mem::take(&mut finding.lost);
    finding.expect(!lost.is_empty(), || "expected that a cut of a disk that lies loses what was promised".to_owned());
    finding.told = format!("the harness noticed {} lost", lost.len());
    Ok(finding)
}
