//! What each kind of sink says of itself, besides Slack and the bell: a function for each reads its keys. Owns their
//! defaults and complaints; what all sinks have in common stands in `sinks`.
//!
//! Each is `None` where the sink cannot be used; then there is a complaint, or its secret is not to be had.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Around, ends::fetched};
use crate::{
    config::{
        SinkKind, address,
        environment::Variable,
        problem::{Fault, Report},
        raw::{Node, Section},
        secret::{self, Origin},
        value::{self, DAY, SECOND},
    },
    http::{self, Reach},
    provider::check_signing_secret,
    sink::{discord, email, exec, forward, ntfy},
};

/// Discord's `interval` when the file says nothing: a channel takes thirty messages a minute from webhooks.
const DISCORD_INTERVAL: Duration = Duration::from_secs(2);
/// ntfy's: what a visitor of ntfy.sh is granted.
const NTFY_INTERVAL: Duration = Duration::from_secs(5);
const NTFY_URL: &str = "https://ntfy.sh";
const TOPIC_CHARS_MAX: usize = 64;

const TIME_LIMIT: Duration = Duration::from_secs(30);
const TIME_LIMIT_MAX: Duration = Duration::from_secs(10 * 60);

const SUBMISSIONS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;
/// Of a mail server on this machine.
const SMTP_PORT: u16 = 25;
const RECIPIENTS_MAX: usize = 50;

/// What the file calls the sink.
fn name_of<'s>(section: &'s Section<'_>) -> &'s str {
    section.place.key.rsplit('.').next().unwrap_or_default()
}

/// A key that has no default.
fn required<'a, T>(
    section: &mut Section<'a>,
    key: &'static str,
    hint: &str,
    report: &mut Report,
    read: impl FnOnce(&Node<'a>) -> Result<T, Fault>,
) -> Option<T> {
    if section.get(key).is_none() {
        report.error(&section.place, Fault::new(format!("`{key}` is missing")).hint(hint));
        return None;
    }
    section.read(key, report, read)
}

fn interval(section: &mut Section<'_>, report: &mut Report, default: Duration) -> Duration {
    let read = section.read("interval", report, |node| value::duration(node, Duration::ZERO..=DAY));
    read.unwrap_or(default)
}

pub(super) fn forward(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let allow_private = section.read("allow_private", report, Node::flag).unwrap_or_default();
    let include_body = section.read("include_body", report, Node::flag).unwrap_or_default();
    let reach = if allow_private { Reach::Private } else { Reach::Public };
    let url = required(section, "url", "write url = \"https://example.com/hook\"", report, |node| {
        let url = node.text()?;
        http::check_url(url, reach).map_err(|cause| {
            let fault = Fault::new(cause);
            match reach == Reach::Public && http::check_url(url, Reach::Private).is_ok() {
                true => fault.hint("for a receiver on this machine or in the local network set allow_private = true"),
                false => fault,
            }
        })?;
        Ok(url.to_owned())
    });
    let Some(node) = section.get("secret") else {
        let hint = "write secret = { file = \"forward.secret\" }; `hookbell secret` prints a new one";
        report.error(&section.place, Fault::new("`secret` is missing").hint(hint));
        return None;
    };
    let origins = secret::origins(&node, &around.beside, report);
    let mut secrets = Vec::new();
    for origin in &origins {
        let secret = fetched(section, "secret", (origin.as_ref()?, Some(name_of(section))), around, report)?;
        if let Err(flaw) = check_signing_secret(&secret) {
            report.error(&node.place, Fault::new(flaw).hint("`hookbell secret` prints one that will do"));
            return None;
        }
        secrets.push(secret);
    }
    if secrets.is_empty() {
        return None;
    }
    Some(SinkKind::Forward(forward::Settings { url: url?, secrets, allow_private, include_body }))
}

pub(super) fn exec(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let range = SECOND..=TIME_LIMIT_MAX;
    let time_limit = section.read("time_limit", report, |node| value::duration(node, range)).unwrap_or(TIME_LIMIT);
    let hint = "write command = [\"/usr/local/bin/notify\", \"--flag\"]";
    let command = required(section, "command", hint, report, |node| {
        let words: Vec<String> =
            node.list()?.iter().map(|word| word.text().map(str::to_owned)).collect::<Result<_, _>>()?;
        let Some(program) = words.first() else { return Err(Fault::new("the list is empty").hint(hint)) };
        if !Path::new(program).is_absolute() {
            let fault = Fault::new(format!("`{program}` is not an absolute path"));
            return Err(fault.hint("there is no shell to look for it: write where it is, /usr/local/bin/notify"));
        }
        Ok(words)
    })?;
    // It may come later, and what is owed to it waits; the door must not.
    if let Some(fault) = command.first().and_then(|program| unusable(program)) {
        report.warn(&section.place_of("command"), fault);
    }
    let directory = match around.environment.get("STATE_DIRECTORY") {
        Variable::Set(_) => around.data.clone(),
        _ => PathBuf::from("/"),
    };
    Some(SinkKind::Exec(exec::Settings { command, time_limit, directory }))
}

/// Why a program cannot be started, as far as can be seen.
fn unusable(program: &str) -> Option<Fault> {
    match fs::metadata(program) {
        Err(error) => Some(Fault::new(format!("cannot start {program}: {error}")).hint("install it")),
        Ok(found) if !found.is_file() => Some(Fault::new(format!("{program} is not a program"))),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Some(Fault::new(format!("{program} is not executable")).hint(format!("chmod +x {program}")))
        }
        Ok(_) => None,
    }
}

pub(super) fn discord(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let interval = interval(section, report, DISCORD_INTERVAL);
    let origin = match section.get("webhook_url") {
        Some(node) => secret::origin(&node, &around.beside, report)?,
        None => Origin::Variable("DISCORD_WEBHOOK_URL".to_owned()),
    };
    let webhook_url = fetched(section, "webhook_url", (&origin, Some(name_of(section))), around, report)?;
    match address::check_url(webhook_url.expose()) {
        Ok(()) => Some(SinkKind::Discord(discord::Settings { webhook_url, interval })),
        Err(fault) => {
            report.error(&section.place_of("webhook_url"), fault);
            None
        }
    }
}

pub(super) fn ntfy(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let interval = interval(section, report, NTFY_INTERVAL);
    let url = section.read("url", report, |node| {
        let url = node.text()?.trim_end_matches('/');
        address::check_url(url)?;
        match url.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?'])) {
            true => Err(Fault::new("the server alone goes here").hint("write the topic as topic = \"…\"")),
            false => Ok(url.to_owned()),
        }
    });
    let has_url = section.get("url").is_none() || url.is_some();
    let topic = required(section, "topic", "write topic = \"…\", a name that nobody guesses", report, |node| {
        let topic = node.text()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match !topic.is_empty() && topic.len() <= TOPIC_CHARS_MAX && topic.chars().all(is_plain) {
            true => Ok(topic.to_owned()),
            false => Err(Fault::new(format!("`{topic}` is not a topic"))
                .hint(format!("use up to {TOPIC_CHARS_MAX} of a-z, A-Z, 0-9, `-` and `_`"))),
        }
    });
    let token = match section.get("token") {
        Some(node) => {
            let origin = secret::origin(&node, &around.beside, report)?;
            Some(fetched(section, "token", (&origin, Some(name_of(section))), around, report)?)
        }
        None => None,
    };
    let url = url.unwrap_or_else(|| NTFY_URL.to_owned());
    has_url.then_some(SinkKind::Ntfy(ntfy::Settings { url, topic: topic?, token, interval }))
}

pub(super) fn email(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<SinkKind> {
    let server = required(section, "smtp", SMTP_HINT, report, |node| mail_server(node.text()?));
    let mailbox = |node: &Node<'_>| {
        let text = node.text()?;
        email::check_mailbox(text).map(|()| text.to_owned()).map_err(Fault::new)
    };
    let from = required(section, "from", "write from = \"bell@example.com\"", report, mailbox);
    let to = required(section, "to", "write to = [\"you@example.com\"]", report, Node::list).and_then(|nodes| {
        if nodes.is_empty() || nodes.len() > RECIPIENTS_MAX {
            let what = format!("{} recipients; there must be 1 to {RECIPIENTS_MAX}", nodes.len());
            report.error(&section.place_of("to"), Fault::new(what));
            return None;
        }
        let mut to = Vec::new();
        for node in &nodes {
            match mailbox(node) {
                Ok(address) => to.push(address),
                Err(fault) => report.error(&node.place, fault),
            }
        }
        (to.len() == nodes.len()).then_some(to)
    });
    let user = section.read("user", report, |node| node.text().map(str::to_owned));
    let login = match (user, section.get("password")) {
        (Some(user), Some(node)) => {
            let origin = secret::origin(&node, &around.beside, report)?;
            Some((user, fetched(section, "password", (&origin, Some(name_of(section))), around, report)?))
        }
        (None, None) => None,
        (user, _) => {
            let (known, missing) = if user.is_some() { ("user", "password") } else { ("password", "user") };
            let what = format!("`{known}` without `{missing}`");
            report.error(&section.place_of(known), Fault::new(what).hint(format!("add {missing}, or leave both out")));
            return None;
        }
    };
    let ((security, host, port), from, to) = (server?, from?, to?);
    Some(SinkKind::Email(email::Settings { host, port, security, login, from, to }))
}

const SMTP_HINT: &str = "write smtp = \"smtps://mail.example.com\", or \"smtp://mail.example.com:587\" for STARTTLS";

/// `smtps://host`, `smtp://host:587`.
fn mail_server(text: &str) -> Result<(email::Security, String, u16), Fault> {
    let fault = || Fault::new(format!("`{text}` is not a mail server")).hint(SMTP_HINT);
    let (scheme, rest) = text.split_once("://").ok_or_else(fault)?;
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return Err(Fault::new("a user does not stand in the address").hint("write user = \"…\" and password = { … }"));
    }
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(fault)?)),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/?#".contains(c)) {
        return Err(fault());
    }
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (security, usual) = match scheme {
        "smtps" => (email::Security::Tls, SUBMISSIONS_PORT),
        "smtp" if is_loopback => (email::Security::Loopback, SMTP_PORT),
        "smtp" => (email::Security::StartTls, SUBMISSION_PORT),
        _ => return Err(fault()),
    };
    let port = port.map_or(Ok(usual), |port| port.parse().map_err(|_| fault()))?;
    Ok((security, host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use email::Security::{Loopback, StartTls, Tls};

    #[test]
    fn a_mail_server_is_told_as_an_address() {
        for (text, security, host, port) in [
            ("smtps://mail.example.com", Tls, "mail.example.com", 465),
            ("smtps://mail.example.com:8465/", Tls, "mail.example.com", 8465),
            ("smtp://mail.example.com", StartTls, "mail.example.com", 587),
            ("smtp://10.0.0.1:25", StartTls, "10.0.0.1", 25),
            ("smtp://localhost", Loopback, "localhost", 25),
            ("smtp://127.0.0.1:1025", Loopback, "127.0.0.1", 1025),
            ("smtp://[::1]:1025", Loopback, "::1", 1025),
            ("smtps://localhost", Tls, "localhost", 465),
        ] {
            assert_eq!(mail_server(text), Ok((security, host.to_owned(), port)), "{text}");
        }
        for bad in ["", "mail.example.com", "smtp://", "http://x", "smtp://x:port", "smtp://x/y", "smtp://u@x"] {
            assert!(mail_server(bad).is_err(), "{bad}");
        }
    }
}
