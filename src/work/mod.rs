//! What happens after the answer: routing and sending. Owns the loops; refuses to know HTTP and SQL.

mod backoff;
mod breaker;
pub mod control;
mod lane;
mod router;
mod runs;
mod sender;
mod upkeep;
mod vitals;

pub use self::{
    lane::{Lane, Parts as LaneParts},
    router::Router,
    sender::{BATCH, Sender},
    upkeep::Upkeep,
    vitals::Pulse,
};
