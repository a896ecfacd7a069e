//! Makes the sinks that the configuration names. Owns which kind is made of what; refuses to run them.

use crate::{
    bell::Bell,
    config::SinkKind,
    http::Client,
    sink::{
        Conversations, Sink,
        bell::BellSink,
        slack::{SlackBot, SlackWebhook},
    },
    store::{Store, StoreError},
};

/// What sinks are made of besides their settings.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) bell: Bell,
    pub(super) client: Client,
}

/// One thread's own.
pub(super) fn build(name: &str, kind: &SinkKind, parts: &Parts) -> Result<Box<dyn Sink>, StoreError> {
    let client = || parts.client.clone();
    Ok(match kind {
        SinkKind::Slack { webhook_url, interval } => {
            Box::new(SlackWebhook::new(webhook_url.clone(), *interval, client()))
        }
        SinkKind::SlackBot { token, channel, threads, api, interval } => {
            let conversations: Option<Box<dyn Conversations>> = match threads {
                true => Some(Box::new(parts.store.conversations(name)?)),
                false => None,
            };
            Box::new(SlackBot::new(token.clone(), channel.clone(), api, *interval, conversations, client()))
        }
        SinkKind::Bell => Box::new(BellSink::new(parts.bell.clone())),
    })
}
