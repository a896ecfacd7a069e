//! `[sinks]` and `[retry]`: where events go.

use std::time::Duration;

use super::{
    Around,
    ends::{Ends, ends},
};
use crate::config::{
    Order, Retry, Secrets, Sink, SinkKind, address,
    problem::{Fault, Report},
    raw::{Node, Section},
    secret::{self, Found, Origin},
    value::{self, DAY, SECOND},
};

/// `interval` when the file says nothing: Slack takes one message a second and channel (docs.slack.dev, "Rate limits").
const INTERVAL: Duration = SECOND;

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

const KINDS: &[(&str, Kind)] = &[("slack", Kind::Slack), ("bell", Kind::Bell), ("forward", Kind::Forward)];

#[derive(Clone, Copy)]
enum Kind {
    Slack,
    Bell,
    Forward,
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
                report.error(&section.place, Fault::new(what).hint("add kind = \"slack\" or kind = \"bell\""));
            }
            kind
        }
        Some(_) => section.read("kind", report, |node| value::choice(node, KINDS)),
    };
    let retry = retry(section.section("retry", report), retry_of_all, report);
    // Whether or not the sink can be used in the end, the key is known.
    let backlog_digest_at = match kind {
        Some(Kind::Slack) => {
            let at = section.read("backlog_digest_at", report, |node| value::whole(node, 0..=BACKLOG_MAX));
            // Zero is never.
            Some(at.map_or(BACKLOG_DIGEST_AT, |at| at as usize)).filter(|at| *at > 0)
        }
        _ => None,
    };
    let kind = match kind {
        Some(Kind::Slack) => slack(&mut section, around, report),
        Some(Kind::Bell) => Some(SinkKind::Bell),
        Some(Kind::Forward) => {
            // Its keys are known and moot.
            let _ = (section.get("url"), section.get("secret"));
            let fault = Fault::new("sinks of kind `forward` are not available in this version");
            report.error(&section.place_of("kind"), fault.hint("leave it out; available: slack, bell"));
            None
        }
        // What else it says cannot be judged without knowing what it is.
        None => return None,
    };
    section.finish(report);
    let kind = kind?;
    // What the desk shows is never tried again, so nothing can pass anything.
    let order = if matches!(kind, SinkKind::Bell) { Order::None } else { Order::Subject };
    Some(Sink { kind, retry, order, concurrency: 1, backlog_digest_at })
}

fn slack(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let webhook_url = section.get("webhook_url");
    let bot: Vec<Node<'_>> = ["token", "channel", "threads"].into_iter().filter_map(|key| section.get(key)).collect();
    if let Some(first) = bot.first() {
        let fault = match (&webhook_url, section.get("token")) {
            (Some(_), Some(_)) => Fault::new("`webhook_url` and `token` are two ways of reaching Slack")
                .hint("keep `webhook_url` and remove `token`"),
            _ => Fault::new("posting to Slack by bot token is not available in this version")
                .hint("use `webhook_url`, an incoming webhook, and remove `token`, `channel` and `threads`"),
        };
        report.error(&first.place, fault);
        return None;
    }

    let interval = section.read("interval", report, |node| value::duration(node, Duration::ZERO..=DAY));
    let origin = match webhook_url {
        Some(node) => secret::origin(&node, &around.beside, report)?,
        None => Origin::Variable("SLACK_WEBHOOK_URL".to_owned()),
    };
    let place = section.place_of("webhook_url");
    if around.secrets == Secrets::Unneeded {
        return None;
    }
    match secret::fetch(&origin, around.environment) {
        Ok(Found::Value(url)) => match address::check_url(url.expose()) {
            Ok(()) => {
                if let Some(fault) = secret::exposure(&origin) {
                    report.warn(&place, fault);
                }
                return Some(SinkKind::Slack { webhook_url: url, interval: interval.unwrap_or(INTERVAL) });
            }
            Err(fault) => report.error(&place, fault),
        },
        // A desk without Slack is a desk all the same: the bell works.
        Ok(Found::Unset { variable, .. }) => {
            report.warn(&place, Fault::new(format!("{variable} is not set. Skipping Slack notification.")));
        }
        Err(fault) => report.error(&place, fault),
    }
    None
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
