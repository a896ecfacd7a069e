//! Both directions of HTTP: our own small listener and the one client. Owns every limit on bytes and time on the wire;
//! refuses to know what a request means.
//!
//! Inward, a connection carries one request and is then closed. [`request`] and [`body`] turn bytes into a request and
//! know no socket, `connection` feeds them from one under a deadline, `lobby` keeps those that have not spoken
//! yet, `table` knows all others and who has to give way, `server` owns the threads. Outward, [`client`] is the only way.

pub mod body;
pub mod client;
mod connection;
mod listener;
mod lobby;
pub mod request;
mod response;
mod server;
mod service;
mod socket;
mod table;

pub use client::{Answer, Client, Failure, Reach, check_url};
pub use listener::Listener;
pub use request::{Framing, Head, Refusal, Request};
pub use response::{More, Portions, Response, STREAM_WAIT_MAX};
pub use server::{Running, Server};
pub use service::{Admitted, Limits, Service};
pub use socket::Peer;

/// What nobody should read: where this is enabled, ureq writes whole URLs, at other levels too, and a Slack webhook's URL is
/// a secret.
pub fn may_show_secrets(record: &log::Metadata<'_>) -> bool {
    record.level() == log::Level::Trace && record.target().starts_with("ureq")
}
