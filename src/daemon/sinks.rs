//! Makes the sinks that the configuration names. Owns which kind is made of what; refuses to run them.

use std::sync::Arc;

use crate::{
    bell::Bell,
    config::SinkKind,
    http::Client,
    sink::{
        Conversations, Originals, Sink,
        bell::BellSink,
        discord::Discord,
        email::Email,
        exec::Exec,
        forward::Forward,
        ntfy::Ntfy,
        slack::{SlackBot, SlackWebhook},
    },
    store::{Store, StoreError},
    time::Clock,
};

/// What sinks are made of besides their settings.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) bell: Bell,
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
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
        SinkKind::Discord(settings) => Box::new(Discord::new(settings.clone(), client())),
        SinkKind::Ntfy(settings) => Box::new(Ntfy::new(settings.clone(), client())),
        SinkKind::Email(settings) => Box::new(Email::new(settings.clone(), parts.clock.clone())),
        SinkKind::Forward(settings) => {
            let originals: Option<Box<dyn Originals>> = match settings.include_body {
                true => Some(Box::new(parts.store.reader()?)),
                false => None,
            };
            Box::new(Forward::new(settings.clone(), originals, parts.clock.clone()))
        }
        SinkKind::Exec(settings) => Box::new(Exec::new(settings.clone())),
        SinkKind::Bell => Box::new(BellSink::new(parts.bell.clone())),
    })
}
