//! hookbell under attack: the order of the cases, and what has to hold during and after them. Owns the process that is
//! attacked; refuses to know how a client talks.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use hookbell_bench::{
    service::Service,
    wire::{Ended, Swarm},
};

use crate::{
    catalogue::{Case, catalogue},
    crowd::{self, Crowd, Form, Tally},
    polite::Polite,
    report::{Cell, Judges, Report},
};

/// Where deliveries go.
pub(crate) const PATH: &str = "/webhooks/github";

/// As long as GitHub waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what an attack has left behind may take to go.
const AFTERMATH_MAX: Duration = Duration::from_secs(25);

/// More threads than at the start: those that wait for the next connection.
const THREADS_MORE_MAX: u64 = 10;

/// A server that is slow is so every time; a machine that is busy elsewhere is so now and then.
const TRIES: u32 = 3;

/// The row of all single requests together.
pub(crate) const ALL_REQUESTS: &str = "all of these requests at once";
/// The row of everything together.
pub(crate) const TOGETHER: &str = "all of these attacks at once";

/// A hookbell under attack, and the polite sender.
struct Siege {
    service: Service,
    home: tempfile::TempDir,
    executable: PathBuf,
    polite: Polite,
    name: &'static str,
    threads: u64,
    descriptors: usize,
}

/// Attacks one after the other, then all together, then servers that lack descriptors or threads.
pub(crate) fn run(executable: &Path, form: Form, report: &mut Report) -> io::Result<()> {
    let siege = Siege::begin(executable, "polite", |_| Ok(Command::new(executable)))?;
    let cases = catalogue(PATH, PATIENCE, form == Form::Long);
    siege.requests(&cases, report)?;
    let crowds = crowds(form);
    for crowd in &crowds {
        siege.crowds(&crowd.name, std::slice::from_ref(crowd), Judges::Everything, report)?;
    }
    let lasts = form.pick(Duration::from_secs(5), Duration::from_secs(60));
    let all: Vec<Crowd> = crowds.iter().map(|crowd| Crowd { lasts, ..crowd.clone() }).collect();
    siege.crowds(TOGETHER, &all, Judges::AllButLatency, report)?;
    siege.end(&cases, report)?;

    let lasts = form.pick(Duration::from_secs(3), Duration::from_secs(20));
    let few = [crowd::drips(PATH, 100, lasts), crowd::idle_flood(100, lasts)];
    let name = "only 64 descriptors, 200 clients";
    let siege = Siege::begin(executable, "descriptors", |_| Ok(Command::new(executable)))?;
    siege.limit(Resource::Nofile, 64)?;
    siege.crowds(name, &few, Judges::AllButLatency, report)?;
    siege.end(&[], report)?;

    let name = "only 20 threads, 200 clients";
    match Siege::begin(executable, "threads", |home| of_nobody(executable, home)) {
        Ok(siege) => {
            siege.crowds(name, &few, Judges::AllButLatency, report)?;
            siege.end(&[], report)
        }
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            report.ours(name, Cell::said(format!("not made here: {error}; unit tests do it")));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// All crowds, in the order of the table.
pub(crate) fn crowds(form: Form) -> Vec<Crowd> {
    let seconds = |short_ms, long| form.pick(Duration::from_millis(short_ms), Duration::from_secs(long));
    vec![
        crowd::drips(PATH, 500, seconds(3500, 30)),
        crowd::idle_flood(500, seconds(3000, 30)),
        crowd::byte_flood(500, seconds(3000, 30)),
        crowd::silent(form.pick(2000, 10_000), seconds(2000, 15)),
        crowd::resets(64, seconds(1500, 15)),
        crowd::forgeries(PATH, 32, seconds(2000, 30)),
        crowd::dear_forgeries(PATH, form.pick(8, 16), seconds(2000, 20)),
        crowd::large_bodies(PATH, form.pick(12, 40), seconds(3000, 30)),
        crowd::deaf(PATH, 100, seconds(1500, 15)),
    ]
}

/// A limit on threads counts those of a user, and binds everybody but root: so this is for a user who has no others.
fn of_nobody(executable: &Path, home: &Path) -> io::Result<Command> {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only root can start a process as another user"));
    }
    // Its own folders may be closed to others.
    let copy = home.join("hookbell");
    fs::copy(executable, &copy)?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o777))?;
    let mut command = Command::new("bash");
    // Set by the shell, because here it would bind this program too.
    command.args(["-c", "ulimit -u 20 && exec \"$0\" \"$@\""]).arg(copy);
    command.uid(NOBODY).gid(NOBODY);
    Ok(command)
}

impl Siege {
    fn begin(
        executable: &Path,
        name: &'static str,
        command: impl FnOnce(&Path) -> io::Result<Command>,
    ) -> io::Result<Siege> {
        let home = tempfile::tempdir()?;
        let service = Service::hookbell_by(command(home.path())?, home.path(), "run", "")?;
        let polite = Polite::start(service.address, PATH, name, PATIENCE)?;
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(500));
        // Its files are all open only once the first delivery is stored.
        polite.between(begun, Instant::now())?;
        let (threads, descriptors) = (service.reading()?.threads, descriptors(service.pid())?);
        Ok(Siege { service, home, executable: executable.to_owned(), polite, name, threads, descriptors })
    }

    /// Limits the process from now on.
    fn limit(&self, resource: Resource, current: u64) -> io::Result<()> {
        let pid = i32::try_from(self.service.pid()).ok().and_then(Pid::from_raw);
        let limit = Rlimit { current: Some(current), maximum: Some(current) };
        prlimit(pid, resource, limit)
            .map(|_| ())
            .map_err(|error| io::Error::other(format!("cannot limit {resource:?} of the process: {error}")))
    }

    /// Makes the requests of the catalogue, all at the same time.
    fn requests(&self, cases: &[Case], report: &mut Report) -> io::Result<()> {
        let watch = self.watch();
        let ended = ask_all(self.service.address, cases)?;
        for (case, ended) in cases.iter().zip(&ended) {
            if let Some(expected) = case.wrong(ended) {
                report.fault(&case.name, &format!("expected {expected}, and got {}", ended.said()));
            }
            report.ours(&case.name, Cell::said(told(ended)));
        }
        report.ours(ALL_REQUESTS, self.cell(watch, String::new())?);
        Ok(())
    }

    /// Lets these attack at the same time.
    fn crowds(&self, name: &str, crowds: &[Crowd], judges: Judges, report: &mut Report) -> io::Result<()> {
        for left in (0..TRIES).rev() {
            let watch = self.watch();
            let tallies = attack(self.service.address, crowds)?;
            let wrong =
                crowds.iter().zip(&tallies).filter(|_| crowds.len() == 1).find_map(|(crowd, tally)| crowd.wrong(tally));
            let what = if crowds.len() == 1 { tallies.iter().map(Tally::line).collect() } else { String::new() };
            let cell = self.cell(watch, what)?;
            if wrong.is_none() && cell.is_only_slow() && left > 0 && judges == Judges::Everything {
                continue;
            }
            if let Some(wrong) = wrong {
                report.fault(name, &wrong);
            }
            report.ours_by(judges, name, cell);
            break;
        }
        Ok(())
    }

    fn watch(&self) -> Instant {
        forget_peak(self.service.pid());
        Instant::now()
    }

    fn cell(&self, since: Instant, what: String) -> io::Result<Cell> {
        let polite = self.polite.between(since, Instant::now())?;
        let resident_peak_bytes = Some(self.service.reading()?.resident_peak_bytes);
        Ok(Cell { what, resident_peak_bytes, polite: Some(polite) })
    }

    /// Everything has to be as before, and all that was promised in the database.
    fn end(mut self, cases: &[Case], report: &mut Report) -> io::Result<()> {
        let case = format!("after the attacks ({})", self.name);
        let begun = Instant::now();
        let mut left = self.left()?;
        while left.is_some() && begun.elapsed() < AFTERMATH_MAX {
            thread::sleep(Duration::from_millis(50));
            left = self.left()?;
        }
        if let Some(left) = left {
            report.fault(&case, &left);
        }
        if let Some(ended) = self.service.ended() {
            report.fault(&case, &format!("expected a living process, and it ended: {ended}"));
        }
        let polite = self.polite.between(begun, Instant::now())?;
        let sent = self.polite.stop();
        let panics = self.service.panics();
        if let Err(error) = self.service.stop() {
            report.fault(&case, &format!("expected an orderly stop with exit code 0: {error}"));
        }
        let panics = panics();
        if let Some(panic) = panics.first() {
            report.fault(&case, &format!("expected no panic in the log, and got: {panic}"));
        }
        let rows = rows(&self.executable, self.home.path())?;
        let copies = |id: &str| rows.get(id).copied().unwrap_or(0);
        let missing: Vec<String> =
            (0..sent).map(|number| format!("{}-{number}", self.name)).filter(|id| copies(id) != 1).collect();
        if let Some(first) = missing.first() {
            let lost = missing.len();
            report.fault(
                &case,
                &format!("expected {sent} polite deliveries in the database, and {lost} are not: {first}"),
            );
        }
        for case in cases {
            let (wanted, found) = (u64::from(case.stored), copies(&case.id()));
            if wanted != found {
                report.fault(&case.name, &format!("expected {wanted} deliveries in the database, and found {found}"));
            }
        }
        let known = sent as u64 + cases.iter().filter(|case| case.stored).count() as u64;
        let all: u64 = rows.values().sum();
        if all != known {
            let is_known = |id: &&String| {
                id.starts_with(&format!("{}-", self.name)) || cases.iter().any(|case| case.stored && case.id() == **id)
            };
            let strange: Vec<_> = rows.keys().filter(|id| !is_known(id)).collect();
            let words = format!("expected {known} deliveries in the database, and found {all}; unknown: {strange:?}");
            report.fault(&case, &words);
        }
        let what = format!("{all} rows, orderly stop");
        report.ours(&case, Cell { what, resident_peak_bytes: None, polite: Some(polite) });
        Ok(())
    }

    /// What is still not as before.
    fn left(&self) -> io::Result<Option<String>> {
        let (threads, descriptors) = (self.service.reading()?.threads, descriptors(self.service.pid())?);
        let threads_max = self.threads + THREADS_MORE_MAX;
        // The polite sender goes on: a connection or two of its own may be open.
        let descriptors_max = self.descriptors + 2;
        Ok((threads > threads_max || descriptors > descriptors_max).then(|| {
            format!(
                "expected at most {threads_max} threads and {descriptors_max} descriptors, \
                 and there are {threads} and {descriptors}"
            )
        }))
    }
}

/// Sends all of these at the same time and returns what came, in their order.
pub(crate) fn ask_all(address: std::net::SocketAddr, cases: &[Case]) -> io::Result<Vec<Ended>> {
    let mut swarm = Swarm::new(address)?;
    for (tag, case) in cases.iter().enumerate() {
        swarm.begin(tag as u64, &case.script);
    }
    let mut all = Vec::new();
    while all.len() < cases.len() {
        all.extend(swarm.turn(Instant::now() + PATIENCE)?);
    }
    all.sort_by_key(|ended| ended.tag);
    Ok(all)
}

/// What one request was told, and when that took long.
pub(crate) fn told(ended: &Ended) -> String {
    let seconds = (ended.at - ended.begun).as_secs_f64();
    let said = ended.said();
    if seconds > 1.0 && !ended.statuses().is_empty() { format!("{said} after {seconds:.0} s") } else { said }
}

/// Lets all of these attack at the same time, each in a thread.
pub(crate) fn attack(address: std::net::SocketAddr, crowds: &[Crowd]) -> io::Result<Vec<Tally>> {
    thread::scope(|scope| {
        let threads: Vec<_> = crowds.iter().map(|crowd| scope.spawn(move || crowd.attack(address))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("an attacker panicked"))))
            .collect()
    })
}

/// Lets the kernel count the peak of resident memory anew.
pub(crate) fn forget_peak(pid: u32) {
    // Where that is not allowed the peak is the one since the start, which is judged more strictly.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// How many deliveries there are of each id.
fn rows(executable: &Path, home: &Path) -> io::Result<HashMap<String, u64>> {
    let output = Command::new(executable)
        .args(["sql", "SELECT delivery_id, count(*) FROM delivery GROUP BY delivery_id"])
        .current_dir(home)
        .env("HOOKBELL_CONFIG", home.join("hookbell.toml"))
        .env("GITHUB_WEBHOOK_SECRET", hookbell_bench::request::SECRET)
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("hookbell sql: {}", String::from_utf8_lossy(&output.stderr))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| line.rsplit_once('|'))
        .filter_map(|(id, count)| Some((id.to_owned(), count.parse().ok()?)))
        .collect())
}
