//! `[sinks]` and `[retry]`: where events go.

use std::time::Duration;

use super::{
    Around,
    ends::{Ends, ends, fetched},
    kinds,
};
use crate::config::{
    Order, Retry, Sink, SinkKind, address,
    problem::{Fault, Report},
    raw::{Node, Section},
    secret::{self, Origin},
    value::{self, DAY, SECOND},
};
use crate::secret::Secret;

/// `interval` when the file says nothing: Slack takes one message a second and channel (docs.slack.dev, "Rate limits").
const INTERVAL: Duration = SECOND;

/// `api` when the file says nothing.
const SLACK_API: &str = "https://slack.com/api";

/// Slack's own names end at 80 characters.
const CHANNEL_BYTES_MAX: usize = 321;

/// `backlog_digest_at` when the file says nothing: nobody reads the twenty-first of as many messages.
const BACKLOG_DIGEST_AT: usize = 20;
const BACKLOG_MAX: u32 = 1_000_000;

/// `[retry]` when the file says nothing.
pub(super) const RETRY: Retry = Retry {
    first: Duration::from_secs(5),
    factor: 3.0,
    cap: Duration::from_secs(60 * 60),
    jitter: 0.2,
    give_up_after: Duration::from_secs(3 * 24 * 60 * 60),
};

/// Threads of one sink: the destinations that take more at once are not on a desk.
const CONCURRENCY_MAX: u32 = 16;

const KINDS: &[(&str, Kind)] = &[
    ("slack", Kind::Slack),
    ("discord", Kind::Discord),
    ("ntfy", Kind::Ntfy),
    ("email", Kind::Email),
    ("forward", Kind::Forward),
    ("exec", Kind::Exec),
    ("bell", Kind::Bell),
];

#[derive(Clone, Copy)]
enum Kind {
    Slack,
    Discord,
    Ntfy,
    Email,
    Forward,
    Exec,
    Bell,
}

/// `[sinks]`; without it Slack by the environment, and the bell.
pub(super) fn sinks(section: Section<'_>, retry: Retry, around: &Around<'_>, report: &mut Report) -> Ends<Sink> {
    if section.is_present() && section.names().is_empty() {
        let fault = Fault::new("no sink: everything is stored and goes nowhere");
        report.warn(&section.place, fault.hint("add [sinks.slack]"));
    }
    ends(section, &["slack", "bell"], report, |name, section, report| sink(name, section, retry, around, report))
}

fn sink(
    name: &str,
    mut section: Section<'_>,
    retry_of_all: Retry,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Sink> {
    let kind = match section.get("kind") {
        None => {
            // As with sources: the name may say it.
            let kind = KINDS.iter().find(|(kind, _)| *kind == name).map(|(_, kind)| *kind);
            if kind.is_none() {
                let what = format!("`{name}` does not say what it is");
                let names: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
                report.error(
                    &section.place,
                    Fault::new(what).hint(format!("add kind = \"…\", one of: {}", names.join(", "))),
                );
            }
            kind
        }
        Some(_) => section.read("kind", report, |node| value::choice(node, KINDS)),
    };
    let retry = retry(section.section("retry", report), retry_of_all, report);
    // Whether or not the sink can be used in the end, the key is known.
    let backlog_digest_at = match kind {
        Some(Kind::Slack | Kind::Discord | Kind::Ntfy | Kind::Email) => {
            let at = section.read("backlog_digest_at", report, |node| value::whole(node, 0..=BACKLOG_MAX));
            // Zero is never.
            Some(at.map_or(BACKLOG_DIGEST_AT, |at| at as usize)).filter(|at| *at > 0)
        }
        _ => None,
    };
    let (order, concurrency) = match kind {
        Some(Kind::Forward | Kind::Exec) => turns(&mut section, report),
        _ => (Order::Subject, 1),
    };
    let kind = match kind {
        Some(Kind::Slack) => slack(&mut section, around, report),
        Some(Kind::Discord) => kinds::discord(&mut section, around, report),
        Some(Kind::Ntfy) => kinds::ntfy(&mut section, around, report),
        Some(Kind::Email) => kinds::email(&mut section, around, report),
        Some(Kind::Forward) => kinds::forward(&mut section, around, report),
        Some(Kind::Exec) => kinds::exec(&mut section, around, report),
        Some(Kind::Bell) => Some(SinkKind::Bell),
        // What else it says cannot be judged without knowing what it is.
        None => return None,
    };
    section.finish(report);
    let kind = kind?;
    // What the desk shows is never tried again, so nothing can pass anything.
    let order = if matches!(kind, SinkKind::Bell) { Order::None } else { order };
    Some(Sink { kind, retry, order, concurrency, backlog_digest_at })
}

/// `order` and `concurrency`: what waits for what.
fn turns(section: &mut Section<'_>, report: &mut Report) -> (Order, usize) {
    let choices = [("subject", Order::Subject), ("all", Order::All), ("none", Order::None)];
    let order = section.read("order", report, |node| value::choice(node, &choices)).unwrap_or_default();
    let concurrency = section.read("concurrency", report, |node| value::whole(node, 1..=CONCURRENCY_MAX)).unwrap_or(1);
    if order == Order::All && concurrency > 1 {
        let fault = Fault::new(format!("{concurrency} at once cannot keep the order of all"));
        report.error(&section.place_of("concurrency"), fault.hint("leave it out, or set order = \"subject\""));
    }
    (order, concurrency as usize)
}

/// An incoming webhook, or the bot as soon as one of its keys is there.
fn slack(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let webhook_url = section.get("webhook_url");
    let bot: Vec<Node<'_>> =
        ["token", "channel", "threads", "api"].into_iter().filter_map(|key| section.get(key)).collect();
    let interval = section.read("interval", report, |node| value::duration(node, Duration::ZERO..=DAY));
    let interval = interval.unwrap_or(INTERVAL);
    match (webhook_url, bot.first()) {
        (Some(_), Some(first)) => {
            let fault = match section.get("token") {
                Some(_) => Fault::new("`webhook_url` and `token` are two ways of reaching Slack")
                    .hint("keep one of them and remove the other"),
                None => Fault::new("an incoming webhook posts to the channel that it was made for, without threads")
                    .hint("remove `channel`, `threads` and `api`, or use `token` in place of `webhook_url`"),
            };
            report.error(&first.place, fault);
            None
        }
        (None, Some(_)) => slack_bot(section, interval, around, report),
        (webhook_url, None) => {
            let url = secret(section, webhook_url, "webhook_url", "SLACK_WEBHOOK_URL", around, report)?;
            match address::check_url(url.expose()) {
                Ok(()) => Some(SinkKind::Slack { webhook_url: url, interval }),
                Err(fault) => {
                    report.error(&section.place_of("webhook_url"), fault);
                    None
                }
            }
        }
    }
}

fn slack_bot(
    section: &mut Section<'_>,
    interval: Duration,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<SinkKind> {
    let channel = section.read("channel", report, channel);
    if section.get("channel").is_none() {
        let fault = Fault::new("`channel` is missing: a bot has no channel of its own");
        report.error(&section.place, fault.hint("add channel = \"#name\", and invite the bot there"));
    }
    let threads = section.read("threads", report, Node::flag).unwrap_or(true);
    let api = section.read("api", report, |node| {
        let url = node.text()?.trim_end_matches('/');
        address::check_url(url).map(|()| url.to_owned())
    });
    let api = api.unwrap_or_else(|| SLACK_API.to_owned());
    let token = section.get("token");
    let token = secret(section, token, "token", "SLACK_BOT_TOKEN", around, report)?;
    if let Err(fault) = check_token(token.expose()) {
        report.error(&section.place_of("token"), fault);
        return None;
    }
    Some(SinkKind::SlackBot { token, channel: channel?, threads, api, interval })
}

/// The secret that a sink cannot do without. A desk without Slack is a desk all the same: the bell works.
fn secret(
    section: &Section<'_>,
    node: Option<Node<'_>>,
    key: &str,
    variable: &str,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Secret> {
    let origin = match node {
        Some(node) => secret::origin(&node, &around.beside, report)?,
        None => Origin::Variable(variable.to_owned()),
    };
    fetched(section, key, (&origin, Some("Slack notification")), around, report)
}

/// A channel of Slack's: `#name`, or an id.
pub(super) fn channel(node: &Node<'_>) -> Result<String, Fault> {
    let channel = node.text()?;
    let is_id = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        plain && text.len() >= 3 && text.starts_with(['C', 'G', 'D', 'U'])
    };
    let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    let is_channel = channel.strip_prefix('#').map_or_else(|| is_id(channel), is_name);
    if is_channel && channel.len() <= CHANNEL_BYTES_MAX {
        return Ok(channel.to_owned());
    }
    let fault = Fault::new(format!("`{channel}` is not a channel"));
    Err(fault.hint("write \"#name\", or the id that Slack shows under the channel's details, such as \"C0123ABCD\""))
}

/// Says what is wrong with a token, without showing it.
fn check_token(token: &str) -> Result<(), Fault> {
    // With token rotation a token begins with xoxe. and goes on like the others.
    let known = ["xoxb-", "xoxp-", "xoxe.xoxb-", "xoxe.xoxp-"];
    let what = match token {
        _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => "the token has characters that no token has",
        _ if known.iter().any(|begin| token.starts_with(begin)) => return Ok(()),
        _ if token.starts_with("https://") => "this is a URL; `webhook_url` takes that of an incoming webhook",
        _ if token.starts_with("xapp-") => "this is an app-level token, which cannot post",
        _ => "this is not the token of a bot",
    };
    let hint =
        "copy the Bot User OAuth Token, which begins with xoxb-, from OAuth & Permissions in the Slack app's settings";
    Err(Fault::new(what).hint(hint))
}

/// `[retry]` and `[sinks.NAME.retry]`: what the section says, laid over `base`.
pub(super) fn retry(mut section: Section<'_>, base: Retry, report: &mut Report) -> Retry {
    let wait = |node: &Node<'_>| value::duration(node, Duration::from_millis(1)..=DAY);
    let retry = Retry {
        first: section.read("first", report, wait).unwrap_or(base.first),
        factor: section.read("factor", report, |node| value::number(node, 1.0..=100.0)).unwrap_or(base.factor),
        cap: section.read("cap", report, wait).unwrap_or(base.cap),
        jitter: section.read("jitter", report, |node| value::number(node, 0.0..=1.0)).unwrap_or(base.jitter),
        give_up_after: section
            .read("give_up_after", report, |node| value::duration(node, SECOND..=366 * DAY))
            .unwrap_or(base.give_up_after),
    };
    if section.is_present() && retry.cap < retry.first {
        let [cap, first] = [retry.cap, retry.first].map(value::show_duration);
        let what = format!("the longest wait ({cap}) is shorter than the first ({first})");
        report.error(&section.place_of("cap"), Fault::new(what).hint("set both"));
    }
    section.finish(report);
    retry
}
