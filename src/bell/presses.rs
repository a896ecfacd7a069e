//! The thread that listens to the button. Owns waiting for it and for the end; refuses to know what a gesture does: that
//! is [`Bell::press`]'s.

use std::{io, os::unix::net::UnixStream, time::Duration};

use super::{
    Bell, Button,
    board::{self, input::Input},
    button::Finger,
    player::RETRY_EVERY,
};

/// Listens to the button. [`Presses::run`] is the thread; [`Bell::stop`] ends it.
pub struct Presses {
    bell: Bell,
    button: Button,
    /// Readable, or at its end, when the thread shall end.
    stop: UnixStream,
    finger: Finger,
}

impl Presses {
    /// For the button that the settings name. `None` where none is wired, or where pins are simulated:
    /// [`Bell::press`] takes its place there.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new(bell: &Bell) -> io::Result<Option<Presses>> {
        let settings = bell.settings();
        let Some(button) = settings.button.filter(|_| board::has_inputs(settings)) else { return Ok(None) };
        let (stop, stopper) = UnixStream::pair()?;
        bell.shared().end_with(stopper);
        Ok(Some(Presses { bell: bell.clone(), button, stop, finger: Finger::default() }))
    }

    /// Works until the bell is stopped. A button that is not to be had is tried again every 30 s.
    pub fn run(mut self) {
        let mut complained = None;
        while !self.bell.shared().is_ended() {
            let error = match board::input::open(self.bell.settings(), self.button) {
                Ok(input) => {
                    self.bell.shared().note_button(None);
                    log::info!("bell: listens to the button pin={}", self.button.bcm);
                    match self.listen(&input) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error.to_string(),
            };
            if complained.as_ref() != Some(&error) {
                log::warn!("bell: {error}; trying again every {} s", RETRY_EVERY.as_secs());
            }
            self.bell.shared().note_button(Some(error.clone()));
            complained = Some(error);
            if let Err(error) = board::input::wait(None, &self.stop, Some(RETRY_EVERY)) {
                log::error!("bell: cannot wait for the button: {error}");
                return;
            }
        }
    }

    /// Returns when it shall end.
    fn listen(&mut self, input: &Input) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot listen to the button (pin {}): {error}", self.button.bcm);
        loop {
            let now = self.bell.shared().now();
            // A little later than due, so that it is due when it is looked at.
            let left = self.finger.due().map(|due| due.saturating_sub(now) + Duration::from_millis(1));
            let is_ready = board::input::wait(Some(input), &self.stop, left).map_err(failed)?;
            if self.bell.shared().is_ended() {
                return Ok(());
            }
            let gesture = match is_ready {
                true => {
                    let is_down = input.read().map_err(failed)?;
                    if is_down {
                        self.bell.shared().note_press();
                    }
                    self.finger.moved(self.bell.shared().now(), is_down)
                }
                false => self.finger.passed(self.bell.shared().now()),
            };
            if let Some(gesture) = gesture {
                log::info!("bell: button gesture={gesture:?}");
                self.bell.press(gesture);
            }
        }
    }
}
