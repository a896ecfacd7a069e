//! Slack, by incoming webhook or by bot token. Owns the way of a parcel there: say it, post it, judge the answer;
//! refuses to know how HTTP is spoken, when to try again, and what a rule wanted.
//!
//! In reading order: [`wording`] says one event and [`digest`] many, `mrkdwn` makes foreign text harmless, [`message`]
//! gives it Slack's shape, [`thread`] knows what a thread's first message shows, [`answer`] judges what came back;
//! [`webhook`] and [`bot`] put them together.

pub mod answer;
pub mod bot;
pub mod digest;
pub mod message;
pub(super) mod mrkdwn;
pub mod thread;
pub mod webhook;
pub mod wording;

pub use self::{bot::SlackBot, webhook::SlackWebhook};

const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Messages that may go out at once, after a rest. Slack lets "short bursts" pass and does not say how short.
const BURST: u32 = 5;

/// A receipt for each of `count` events that one message told.
fn receipt_of(receipt: String, count: usize) -> String {
    if count > 1 { format!("{receipt} in a digest of {count}") } else { receipt }
}
