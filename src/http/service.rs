//! The contract between a listener and what is behind it: what may be asked, what has to be answered, what is granted.

use std::time::Duration;

use super::{Head, Peer, Refusal, Request, Response};
use crate::config;

/// Enough for two read buffers, a parsed head, a proof, the few values that identify a body and its compression, with the
/// appetite of the build that is tested. There may be hundreds of these threads.
const DOOR_STACK_BYTES: usize = 256 * 1024;

/// What is behind a listener. A trait, because the set is open: the door, the panel and `hookbell catch` each have
/// their own, and so do tests.
pub trait Service: Send + Sync + 'static {
    /// What `admit` finds out and `handle` needs.
    type Admitted: Send;

    /// Judges a request by its head alone, before its body is read.
    ///
    /// # Errors
    /// The answer of a request that is not let in.
    fn admit(&self, head: &Head, peer: &Peer) -> Result<Admitted<Self::Admitted>, Response>;

    /// Answers a complete request.
    fn handle(&self, request: Request<Self::Admitted>) -> Response;

    /// Learns of a request that the listener itself refused, for the log. Its head is known unless that is what was refused, and
    /// `admit` may have seen it.
    fn refused(&self, _head: Option<&Head>, peer: &Peer, refusal: &Refusal) {
        log::debug!("refused a request from {peer}: {} {}", refusal.status, refusal.reason);
    }
}

/// A request that is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted<T> {
    /// Travels with the request.
    pub value: T,
    /// A limit for this body, when it is lower than the server's.
    pub body_bytes_max: Option<usize>,
}

impl<T> Admitted<T> {
    /// Let in, under the server's limits.
    pub fn new(value: T) -> Admitted<T> {
        Admitted { value, body_bytes_max: None }
    }
}

/// What a server grants. The deadlines are totals from accept, not pauses between bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest head.
    pub head_bytes_max: usize,
    /// Largest body.
    pub body_bytes_max: usize,
    /// From accept to the end of the head.
    pub head_deadline: Duration,
    /// From accept to the end of the body.
    pub request_deadline: Duration,
    /// Connections at once, of those that have begun to speak. The silent are counted apart: they cost a descriptor each,
    /// and there may be 256 of them.
    pub connections_max: usize,
    /// Bytes of all bodies at once, from their arrival until their handlers have returned.
    pub bodies_in_flight_bytes_max: usize,
    /// Of each thread; only what is touched becomes memory.
    pub stack_bytes: usize,
}

impl Default for Limits {
    /// The defaults of `[door]`.
    fn default() -> Limits {
        Limits {
            head_bytes_max: 32 * 1024,
            body_bytes_max: 25 * 1024 * 1024,
            head_deadline: Duration::from_secs(5),
            request_deadline: Duration::from_secs(20),
            connections_max: 256,
            bodies_in_flight_bytes_max: 32 * 1024 * 1024,
            stack_bytes: DOOR_STACK_BYTES,
        }
    }
}

impl From<&config::Door> for Limits {
    fn from(door: &config::Door) -> Limits {
        Limits {
            head_bytes_max: door.head_bytes_max,
            body_bytes_max: door.body_bytes_max,
            head_deadline: door.head_deadline,
            request_deadline: door.request_deadline,
            connections_max: door.connections_max,
            bodies_in_flight_bytes_max: door.bodies_in_flight_bytes_max,
            stack_bytes: DOOR_STACK_BYTES,
        }
    }
}
