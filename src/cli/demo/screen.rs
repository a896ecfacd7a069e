//! What the demo shows. Owns the terminal while it runs: the story scrolls above, and the desk stands in the last lines and
//! changes in place. Where there is no terminal, every change is a line.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
};

use super::{
    super::{
        desk_screen::{self, DeskScreen, Ink},
        table::printable,
    },
    LOOKS_EVERY, Sight, UNWANTED,
};
use crate::{
    bell::{Bell, Edge, Latch, State},
    config::Settings,
};

/// Where there is no telling how wide and high a terminal is, it is this.
const USUAL_SIZE: (usize, usize) = (80, 24);

pub(super) struct Screen {
    bell: Bell,
    desk: DeskScreen,
    /// Told of each event that is over: see [`Teller`](super::Teller).
    settle: Sender<()>,
    heading: [String; 2],
    terminal: Option<Terminal>,
    ink: Ink,
    /// The event that was sent last.
    last: &'static str,
    is_answered: bool,
    latched: Vec<Latch>,
    plays: Option<String>,
}

impl Screen {
    pub(super) fn new(settings: &Settings, bell: Bell, settle: Sender<()>, heading: [String; 2]) -> Screen {
        let has = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        // It would print the sequences that move the cursor.
        let is_dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let terminal = (io::stdout().is_terminal() && !is_dumb).then(Terminal::default);
        Screen {
            desk: DeskScreen::new(&settings.bell),
            ink: if terminal.is_some() && !has("NO_COLOR") { Ink::Colour } else { Ink::Plain },
            bell,
            settle,
            heading,
            terminal,
            last: "",
            is_answered: true,
            latched: Vec::new(),
            plays: None,
        }
    }

    pub(super) fn run(mut self, seen: &Receiver<Sight>) -> io::Result<()> {
        for line in self.heading.clone() {
            self.print(vec![line])?;
        }
        loop {
            match seen.recv_timeout(LOOKS_EVERY) {
                Ok(Sight::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(sight) => {
                    self.show(sight)?;
                    self.look(false)?;
                }
                Err(RecvTimeoutError::Timeout) => self.look(true)?,
            }
        }
        match &mut self.terminal {
            Some(terminal) => terminal.draw(&["bye: everything is removed".to_owned()], &[]),
            None => Ok(()),
        }
    }

    fn show(&mut self, sight: Sight) -> io::Result<()> {
        match sight {
            Sight::Sent(name) => {
                // Those that come at once stand together.
                if name != self.last {
                    self.print(vec![String::new()])?;
                }
                (self.last, self.is_answered) = (name, false);
                self.tell("in", &format!("POST /webhooks/github  {name}"))
            }
            Sight::Answered { answer, took } => {
                self.is_answered = true;
                let kept = if answer.starts_with("200 ") { ", on disk" } else { "" };
                self.tell("kept", &format!("{} in {:.1} ms{kept}", printable(&answer), took.as_secs_f64() * 1e3))?;
                if UNWANTED.contains(&self.last) {
                    self.tell("skip", "no rule wants it: kept, and nobody is told")?;
                    // What ends a latch is over when the light is out.
                    if self.latched.is_empty() {
                        self.settled();
                    }
                }
                Ok(())
            }
            Sight::Slack(text) => {
                for (number, line) in text.lines().enumerate() {
                    self.tell(if number == 0 { "slack" } else { "" }, &printable(line))?;
                }
                self.settled();
                Ok(())
            }
            Sight::Edge(edge) => self.edge(&edge),
            Sight::End => Ok(()),
        }
    }

    fn edge(&mut self, edge: &Edge) -> io::Result<()> {
        self.desk.note(edge);
        match self.terminal {
            Some(_) => Ok(()),
            None => self.tell("desk", &DeskScreen::edge(edge)),
        }
    }

    /// Tells what the bell's state says and no edge does, and draws the desk. Edges that wait are newer than the state of
    /// the lines is old, so the lines are looked at only when none does.
    fn look(&mut self, is_idle: bool) -> io::Result<()> {
        let state = self.bell.state();
        if is_idle {
            self.desk.correct(&state);
        }
        self.tell_latches(&state)?;
        if self.terminal.is_some() {
            return self.print(Vec::new());
        }
        let plays = DeskScreen::plays(&state);
        if plays != self.plays {
            if let Some(plays) = &plays {
                self.tell("plays", plays)?;
            }
            self.plays = plays;
        }
        Ok(())
    }

    fn tell_latches(&mut self, state: &State) -> io::Result<()> {
        // The desk may be quicker than the answer, which comes first here.
        if state.latched == self.latched || !self.is_answered {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.latched, state.latched.clone());
        for latch in state.latched.iter().filter(|latch| !before.contains(latch)) {
            let place = self.desk.place(&latch.cue);
            let stays = format!("the {place} light stays on: {} {}", latch.cue, printable(&latch.subject));
            self.tell("lit", stays.trim_end())?;
        }
        for latch in before.iter().filter(|latch| !state.latched.contains(latch)) {
            let out = format!("{}: the {} light goes out", self.last.replace('_', " "), self.desk.place(&latch.cue));
            self.tell("out", &out)?;
            if UNWANTED.contains(&self.last) {
                self.settled();
            }
        }
        Ok(())
    }

    fn settled(&self) {
        // The teller may have ended already.
        let _ = self.settle.send(());
    }

    /// A line of the story.
    fn tell(&mut self, label: &str, text: &str) -> io::Result<()> {
        let texts = match &self.terminal {
            Some(_) => desk_screen::fold(text, size().0),
            None => vec![text.to_owned()],
        };
        let labels = [label].into_iter().chain(std::iter::repeat(""));
        let lines = labels.zip(texts).map(|(label, text)| desk_screen::label(label, self.ink) + &text);
        self.print(lines.collect())
    }

    fn print(&mut self, lines: Vec<String>) -> io::Result<()> {
        match &mut self.terminal {
            Some(terminal) => {
                let (width, height) = size();
                let mut desk = vec![String::new()];
                // A cursor that stands behind the last column may be in either line.
                desk.extend(self.desk.draw(&self.bell.state(), width.saturating_sub(1), self.ink));
                desk.truncate(height.saturating_sub(1).max(1));
                terminal.draw(&lines, &desk)
            }
            None => {
                let mut out = io::stdout().lock();
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                out.flush()
            }
        }
    }
}

/// Columns and rows.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    size.filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(USUAL_SIZE)
}

/// A terminal whose last lines are drawn anew each time.
#[derive(Default)]
struct Terminal {
    /// The last lines as they stand there, the cursor behind the last of them.
    drawn: Vec<String>,
}

impl Terminal {
    /// Lines that stay, and beneath them those that stand there until the next time. All of it is one write, so that
    /// nobody sees half of it.
    fn draw(&mut self, lines: &[String], last: &[String]) -> io::Result<()> {
        if lines.is_empty() && last == self.drawn {
            return Ok(());
        }
        let mut text = self.home();
        // Without any to stay, what is equal is not cleared first, and so it does not flicker.
        let (clear, ends) = if lines.is_empty() { ("", "\x1b[K") } else { ("\x1b[J", "") };
        text += clear;
        lines.iter().for_each(|line| text += &format!("{line}\n"));
        for (number, line) in last.iter().enumerate() {
            text += &format!("{}{line}{ends}", if number == 0 { "" } else { "\n" });
        }
        text += "\x1b[J";
        self.drawn = last.to_vec();
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// To the start of what is drawn. A terminal that has become narrower has wrapped it.
    fn home(&self) -> String {
        let (width, _) = size();
        let rows: usize = self.drawn.iter().map(|line| desk_screen::columns(line).div_ceil(width).max(1)).sum();
        match rows {
            0 | 1 => "\r".to_owned(),
            rows => format!("\r\x1b[{}A", rows - 1),
        }
    }
}
