//! tiny_http under the same attacks, for the table. Owns how long it may take; judges nothing.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::service::Service;

use crate::{
    catalogue::catalogue,
    crowd::{Crowd, Form},
    polite::Polite,
    report::{Cell, Report},
    siege::{ALL_REQUESTS, PATH, TOGETHER, ask_all, attack, crowds, forget_peak, told},
    tiny,
};

/// Longer than this nobody waits for its answers.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Runs every case against a process of its own: some end it, others leave it without a thread that could answer.
pub(crate) fn run(form: Form, report: &mut Report) -> io::Result<()> {
    let this_program = std::env::current_exe()?;
    let cases = catalogue(PATH, PATIENCE, form == Form::Long);
    let cells: Vec<io::Result<Cell>> = thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|case| {
                let this_program = &this_program;
                scope.spawn(move || {
                    let service = tiny::start(this_program)?;
                    let ended = ask_all(service.address, std::slice::from_ref(case))?;
                    let said = ended.first().map(told).unwrap_or_default();
                    Ok(afterwards(service, said))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked"))))
            .collect()
    });
    for (case, cell) in cases.iter().zip(cells) {
        report.theirs(&case.name, cell?);
    }

    let lasts = form.pick(Duration::from_millis(1500), Duration::from_secs(10));
    let shorter = |crowd: Crowd| Crowd { lasts: crowd.lasts.min(lasts), ..crowd };
    let crowds: Vec<Crowd> = crowds(form).into_iter().map(shorter).collect();
    report.theirs(ALL_REQUESTS, besieged(&this_program, |service| ask_all(service.address, &cases).map(|_| ()))?);
    for crowd in &crowds {
        let crowd = std::slice::from_ref(crowd);
        report.theirs(&crowd[0].name, besieged(&this_program, |service| attack(service.address, crowd).map(|_| ()))?);
    }
    let cell = besieged(&this_program, |service| attack(service.address, &crowds).map(|_| ()))?;
    report.theirs(TOGETHER, cell);
    Ok(())
}

/// A fresh process and a polite sender, while this happens.
fn besieged(this_program: &Path, attack: impl FnOnce(&Service) -> io::Result<()>) -> io::Result<Cell> {
    let service = tiny::start(this_program)?;
    let polite = Polite::start(service.address, PATH, "polite", PATIENCE)?;
    forget_peak(service.pid());
    let begun = Instant::now();
    attack(&service)?;
    let summary = polite.between(begun, Instant::now())?;
    polite.stop();
    Ok(Cell { polite: Some(summary), ..afterwards(service, String::new()) })
}

/// What is left of it.
fn afterwards(mut service: Service, said: String) -> Cell {
    let mut what = vec![said];
    let resident_peak_bytes = match service.reading() {
        // A zombie has no memory any more.
        Ok(reading) if reading.resident_bytes > 0 && service.ended().is_none() => Some(reading.resident_peak_bytes),
        _ => {
            what.push("the process ended".to_owned());
            None
        }
    };
    let panics = service.panics();
    // Its log ends with it.
    drop(service);
    let panics = panics().len();
    if panics > 0 {
        what.push(format!("{panics} of its threads panicked"));
    }
    what.retain(|words| !words.is_empty());
    Cell { what: what.join("; "), resident_peak_bytes, polite: None }
}
