//! What happens after the answer: routing and sending. Owns the loops; refuses to know HTTP and SQL.

mod backoff;
mod breaker;
pub mod control;
mod router;
mod sender;
mod upkeep;

pub use self::{router::Router, sender::Sender, upkeep::Upkeep};
