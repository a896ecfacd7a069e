//! Connections that have not said anything yet. Owns their order, their number and their deadline; refuses to know what
//! they will ask.
//!
//! To be connected costs a client nothing, so here it costs nothing but a descriptor: no thread and no place among
//! those that are served. Who comes when all places here are taken pushes out who has been silent longest. So a flood of
//! silent connections, whatever its rate, harms only those that need longer for their first byte than the flood for
//! [`PLACES`] connections.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::socket::{Peer, Stream, Word};

/// Silent connections at once.
pub(super) const PLACES: usize = 256;

/// One of them.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) accepted: Instant,
}

/// All of them, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    guests: VecDeque<Guest>,
}

/// Who had to leave a full lobby.
#[derive(Debug)]
pub(super) enum Leaver {
    /// It has not said a word.
    Silent(Guest),
    /// It has begun to speak meanwhile, and is to be served.
    Spoken(Guest),
}

impl Lobby {
    /// Whether a newcomer would need somebody else's place.
    pub(super) fn is_full(&self) -> bool {
        self.guests.len() >= PLACES
    }

    /// Takes a newcomer in.
    pub(super) fn enter(&mut self, guest: Guest) {
        self.guests.push_back(guest);
    }

    /// All, in their order.
    pub(super) fn guests(&self) -> impl Iterator<Item = &Guest> {
        self.guests.iter()
    }

    /// When the first of them has been silent for this long.
    pub(super) fn next_deadline(&self, deadline: Duration) -> Option<Instant> {
        self.guests.front().map(|oldest| oldest.accepted + deadline)
    }

    /// Takes the first of those out who were reported `ready` (by their position) and have really spoken. Those that are
    /// gone are forgotten.
    pub(super) fn spoken(&mut self, ready: &[bool]) -> Option<Guest> {
        if !ready.contains(&true) {
            return None;
        }
        let mut spoken = None;
        let guests = std::mem::take(&mut self.guests);
        for (position, guest) in guests.into_iter().enumerate() {
            let is_ready = spoken.is_none() && ready.get(position).is_some_and(|ready| *ready);
            match if is_ready { guest.stream.first_word() } else { Word::None } {
                Word::None => self.guests.push_back(guest),
                Word::Some => spoken = Some(guest),
                Word::Never => {}
            }
        }
        spoken
    }

    /// Takes the one out who has been here longest. Those that are gone are forgotten.
    pub(super) fn oldest(&mut self) -> Option<Leaver> {
        loop {
            let guest = self.guests.pop_front()?;
            match guest.stream.first_word() {
                Word::None => return Some(Leaver::Silent(guest)),
                Word::Some => return Some(Leaver::Spoken(guest)),
                Word::Never => {}
            }
        }
    }

    /// Takes the first out whose time is over.
    pub(super) fn expired(&mut self, deadline: Duration, now: Instant) -> Option<Leaver> {
        self.next_deadline(deadline).filter(|due| *due <= now).and_then(|_| self.oldest())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream};

    use super::*;

    fn guest(lobby: &mut Lobby, accepted: Instant) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        lobby.enter(Guest { stream: Stream::Unix(ours), peer: Peer::Unix, accepted });
        theirs
    }

    #[test]
    fn who_speaks_first_among_those_that_are_ready_is_served() {
        let mut lobby = Lobby::default();
        let now = Instant::now();
        let silent = guest(&mut lobby, now);
        drop(guest(&mut lobby, now));
        let mut speaking = [guest(&mut lobby, now), guest(&mut lobby, now)];
        for client in &mut speaking {
            client.write_all(b"P").unwrap();
        }
        assert!(lobby.spoken(&[false; 4]).is_none());
        assert!(lobby.spoken(&[true; 4]).is_some(), "the first that spoke");
        assert_eq!(lobby.guests().count(), 2, "the one that is gone is forgotten");
        assert!(lobby.spoken(&[true; 2]).is_some());
        assert!(lobby.spoken(&[true; 1]).is_none(), "the other is still silent");
        drop(silent);
    }

    #[test]
    fn the_oldest_leaves_and_is_known_to_have_spoken() {
        let mut lobby = Lobby::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut clients: Vec<_> = (0..3).map(|at| guest(&mut lobby, now + second * at)).collect();
        clients[1].write_all(b"P").unwrap();
        assert!(lobby.expired(second * 5, now + second * 4).is_none());
        assert_eq!(lobby.next_deadline(second * 5), Some(now + second * 5));
        assert!(matches!(lobby.expired(second * 5, now + second * 5), Some(Leaver::Silent(_))));
        assert!(matches!(lobby.oldest(), Some(Leaver::Spoken(_))));
        drop(clients);
        assert!(lobby.oldest().is_none());
    }
}
