//! `bell test`: walks through everything that is wired and asks what came of it. Owns the questions and the advice.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    Failure,
    bell::{OwnDesk, ask},
    print_line,
};
use crate::{
    bell::{BUZZER, Bell, STATUS, Taken},
    config::Settings,
    threads::Wake,
    work::control::Request,
};

/// Somebody who wants to press will have pressed by then.
const PRESS_WITHIN: Duration = Duration::from_secs(15);
/// A part is shown for less than this, even when something else has to end before it.
const PLAYS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// One part is tried so often, and then it is called broken.
const REPEATS_MAX: u32 = 20;

/// The desk, ours or that of the running service.
enum Desk {
    Service(PathBuf),
    Own(OwnDesk),
}

/// A wire, as the state tells of it.
struct Wire {
    name: String,
    error: Option<String>,
}

/// What somebody says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Again,
    Quit,
}

pub(super) fn test(settings: Settings, no_ask: bool) -> Result<(), Failure> {
    let desk = match ask(&settings.store.path, &Request::Status)? {
        Some(_) => Desk::Service(settings.store.path.clone()),
        None => Desk::Own(OwnDesk::open(settings.bell.clone())?),
    };
    let is_heard = io::stdin().is_terminal();
    if no_ask || !is_heard {
        if !no_ask {
            print_line("standard input is no terminal, so nobody is asked")?;
        }
        return desk.play_all();
    }
    let walked = walk(&desk, &mut io::stdin().lock());
    match desk {
        Desk::Service(_) => walked,
        Desk::Own(own) => {
            let finished = own.finish(&Taken::Queued);
            walked.and(finished)
        }
    }
}

fn walk(desk: &Desk, input: &mut impl BufRead) -> Result<(), Failure> {
    let (wires, has_button) = desk.parts()?;
    if wires.is_empty() && !has_button {
        return Err(Failure::Failed(
            "nothing is wired: name pins in [bell], `hookbell bell wiring` shows how".to_owned(),
        ));
    }
    print_line("Each part in turn. Answer y (yes), n (no), r (repeat) or q (quit).")?;
    let mut missed: Vec<String> = Vec::new();
    for wire in wires {
        if let Some(error) = &wire.error {
            print_line(&format!("{}: {error}", wire.name))?;
            missed.push(wire.name);
            continue;
        }
        match question(desk, &wire.name, input)? {
            Answer::Yes => {}
            Answer::Quit => return Err(Failure::Failed("not all was tried".to_owned())),
            Answer::No | Answer::Again => {
                print_line(&format!("  {}", advice(&wire.name)))?;
                missed.push(wire.name);
            }
        }
    }
    if has_button && !desk.is_pressed()? {
        print_line(
            "  no press came: the button goes from its pin to ground; one to 3.3 V wants `pull = \"down\"`. \
             `hookbell bell wiring` shows the pin",
        )?;
        missed.push("button".to_owned());
    }
    match missed.is_empty() {
        true => print_line("everything works"),
        false => Err(Failure::Failed(format!("did not work: {}", missed.join(", ")))),
    }
}

fn question(desk: &Desk, name: &str, input: &mut impl BufRead) -> Result<Answer, Failure> {
    let asked = match name {
        BUZZER => "did the buzzer sound".to_owned(),
        STATUS => "did the status LED light up".to_owned(),
        name => format!("did {name} light up, and nothing else"),
    };
    for _ in 0..REPEATS_MAX {
        desk.play(name)?;
        match read_answer(&format!("{name}: {asked}? [Y/n/r/q] "), input)? {
            Answer::Again => {}
            answer => return Ok(answer),
        }
    }
    Ok(Answer::No)
}

fn read_answer(prompt: &str, input: &mut impl BufRead) -> Result<Answer, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot ask: {error}"));
    loop {
        let mut out = io::stdout().lock();
        write!(out, "{prompt}").and_then(|()| out.flush()).map_err(failed)?;
        let mut line = String::new();
        if input.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(Answer::Quit);
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "" | "y" | "yes" => return Ok(Answer::Yes),
            "n" | "no" => return Ok(Answer::No),
            "r" | "repeat" => return Ok(Answer::Again),
            "q" | "quit" => return Ok(Answer::Quit),
            _ => {}
        }
    }
}

/// What is wrong most often.
fn advice(name: &str) -> &'static str {
    match name {
        BUZZER => {
            "a buzzer that clicks at best is a passive one (type = \"passive\", on pin 12, 13, 18 or 19); one that sounds \
             all the time wants active_low = true; `hookbell bell wiring` shows the pin"
        }
        _ => {
            "an LED that is lit when it should not be wants active_low = true; one that never is may be the wrong way \
             round, its long leg towards the pin; `hookbell bell wiring` shows the pin"
        }
    }
}

impl Desk {
    fn play_all(self) -> Result<(), Failure> {
        match self {
            Desk::Service(path) => {
                ask(&path, &Request::Test)?;
                let state = ask(&path, &Request::Status)?.unwrap_or_default()["bell"].take();
                let parts = state["lines"].as_array().into_iter().flatten().chain([&state["button"]]);
                match parts.filter_map(|part| part["error"].as_str()).next() {
                    Some(error) => Err(Failure::Failed(error.to_owned())),
                    None => print_line("done by the running service"),
                }
            }
            Desk::Own(own) => {
                let taken = own.bell.test();
                own.finish(&taken)
            }
        }
    }

    /// Every wire, and whether there is a button.
    fn parts(&self) -> Result<(Vec<Wire>, bool), Failure> {
        let state = self.state()?;
        let lines = state["lines"].as_array().into_iter().flatten();
        let wires = lines.map(|line| Wire {
            name: line["name"].as_str().unwrap_or_default().to_owned(),
            error: line["error"].as_str().map(str::to_owned),
        });
        Ok((wires.collect(), !state["button"].is_null()))
    }

    /// The bell's state as JSON, by either way.
    fn state(&self) -> Result<Value, Failure> {
        match self {
            Desk::Service(path) => Ok(ask(path, &Request::Status)?.unwrap_or_default()["bell"].take()),
            Desk::Own(own) => serde_json::to_value(own.bell.state())
                .map_err(|error| Failure::Failed(format!("cannot tell the state: {error}"))),
        }
    }

    fn play(&self, name: &str) -> Result<(), Failure> {
        match self {
            Desk::Service(path) => {
                ask(path, &Request::Try { line: name.to_owned() })?;
                // The next one would wait for this one, and be answered before it is seen.
                let (until, rest) = (Instant::now() + PLAYS_WITHIN, Wake::new());
                while !self.state()?["playing"].is_null() && Instant::now() < until {
                    rest.wait(LOOK_EVERY);
                }
                Ok(())
            }
            Desk::Own(own) => match try_own(&own.bell, name) {
                Taken::Skipped(note) => Err(Failure::Failed(note)),
                Taken::Queued | Taken::Merged => {
                    own.wait_until_played();
                    Ok(())
                }
            },
        }
    }

    /// Whether somebody presses the button in time.
    fn is_pressed(&self) -> Result<bool, Failure> {
        let presses = |state: &Value| state["button"]["presses"].as_u64();
        let before = self.state()?;
        if let Some(error) = before["button"]["error"].as_str() {
            print_line(&format!("button: {error}"))?;
            return Ok(false);
        }
        print_line(&format!("button: press it, within {} s", PRESS_WITHIN.as_secs()))?;
        let (until, rest) = (Instant::now() + PRESS_WITHIN, Wake::new());
        while Instant::now() < until {
            if presses(&self.state()?) > presses(&before) {
                return Ok(true);
            }
            rest.wait(LOOK_EVERY);
        }
        Ok(false)
    }
}

fn try_own(bell: &Bell, name: &str) -> Taken {
    bell.try_line(name).unwrap_or_else(|| Taken::Skipped(format!("nothing on the desk is called {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bell::{Led, Pin, Settings};

    #[test]
    fn what_somebody_did_not_see_is_named() {
        let leds = [("red", 17), ("green", 27)].map(|(name, bcm)| (name.to_owned(), Led::Plain(Pin::plain(bcm))));
        let own = || Desk::Own(OwnDesk::open(Settings { leds: leds.clone().into(), ..Settings::default() }).unwrap());
        let told = |answers: &str| match walk(&own(), &mut answers.as_bytes()) {
            Ok(()) => "all is well".to_owned(),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(told("r\nwhat?\ny\nn\n"), "did not work: red");
        assert_eq!(told("y\nq\n"), "not all was tried");
        assert_eq!(told("\n\n"), "all is well");
        assert_eq!(told(""), "not all was tried", "nobody answers");
    }
}
