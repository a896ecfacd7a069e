//! What happens after the answer: routing and sending. Owns the loops; refuses to know HTTP and SQL.

mod backoff;
mod breaker;
pub mod control;
pub mod health;
mod lane;
mod router;
mod runs;
mod sender;
mod upkeep;
mod vitals;
pub mod watch;

pub use self::{
    lane::{Lane, Parts as LaneParts},
    router::Router,
    sender::{BATCH, Sender},
    upkeep::Upkeep,
    vitals::Pulse,
};
