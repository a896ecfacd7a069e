//! The button's line, by the kernel's character device, whatever board drives the others: only the kernel tells of
//! presses without being asked all the time.

pub(in crate::bell) use line::{Input, open, wait};

#[cfg(target_os = "linux")]
mod line {
    use std::{
        io,
        os::{fd::AsFd, unix::net::UnixStream},
        time::Duration,
    };

    use gpiocdev::{
        Request,
        line::{Bias, EdgeDetection, EdgeKind},
    };
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        io::Errno,
    };

    use crate::bell::{
        BUTTON, Button, Pull, Settings,
        board::{
            BoardError,
            chip::{CONSUMER, find, refused},
        },
    };

    /// A button's line.
    pub(in crate::bell) struct Input {
        request: Request,
    }

    /// Takes the button's line.
    pub(in crate::bell) fn open(settings: &Settings, button: Button) -> Result<Input, BoardError> {
        let Button { bcm, active_low, pull, debounce } = button;
        let header = find(settings.chip.as_deref())?;
        if bcm >= header.pins {
            return Err(BoardError::NoSuchPin { line: BUTTON.to_owned(), bcm });
        }
        let mut builder = Request::builder();
        builder
            .on_chip(header.chip.path())
            .with_consumer(CONSUMER)
            .with_line(bcm)
            .as_input()
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_debounce_period(debounce);
        if active_low {
            builder.as_active_low();
        }
        match pull {
            Pull::Up => builder.with_bias(Bias::PullUp),
            Pull::Down => builder.with_bias(Bias::PullDown),
            Pull::None => builder.with_bias(None),
        };
        match builder.request() {
            Ok(request) => Ok(Input { request }),
            Err(error) => Err(refused(&header, BUTTON, bcm, &error)),
        }
    }

    impl Input {
        /// Whether the button is down after the change that [`wait`] told of.
        pub(in crate::bell) fn read(&self) -> io::Result<bool> {
            let event = self.request.read_edge_event().map_err(io::Error::other)?;
            Ok(event.kind == EdgeKind::Rising)
        }
    }

    /// Waits for a change of the line, for the other side of `stop`, or for the time. Says whether the line changed.
    pub(in crate::bell) fn wait(
        input: Option<&Input>,
        stop: &UnixStream,
        at_most: Option<Duration>,
    ) -> io::Result<bool> {
        let timeout = at_most.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut polled = vec![PollFd::new(stop, PollFlags::IN)];
        polled.extend(input.map(|input| PollFd::from_borrowed_fd(input.request.as_fd(), PollFlags::IN)));
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => Ok(polled.get(1).is_some_and(|line| !line.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod line {
    use std::{io, os::unix::net::UnixStream, time::Duration};

    use crate::bell::{Button, Settings, board::BoardError};

    /// Other systems have no such line.
    pub(in crate::bell) struct Input {}

    pub(in crate::bell) fn open(_settings: &Settings, _button: Button) -> Result<Input, BoardError> {
        Err(BoardError::NoChip { label: None })
    }

    impl Input {
        pub(in crate::bell) fn read(&self) -> io::Result<bool> {
            Ok(false)
        }
    }

    pub(in crate::bell) fn wait(_: Option<&Input>, stop: &UnixStream, at_most: Option<Duration>) -> io::Result<bool> {
        use std::io::Read;
        stop.set_read_timeout(at_most)?;
        let mut stop = stop;
        match stop.read(&mut [0]) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(error),
            _ => Ok(false),
        }
    }
}
