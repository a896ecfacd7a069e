//! Each sink's destination, reached without sending it anything.

use std::time::Duration;

use super::{Check, Verdict};
use crate::{
    config::SinkKind,
    http::Client,
    sink::{
        Fault, Outcome, Probe,
        discord::Discord,
        email::Email,
        exec::Exec,
        forward::Forward,
        ntfy::Ntfy,
        slack::{SlackBot, SlackWebhook},
    },
    time::{SystemClock, Timestamp},
};

/// The finding, and what the destination's clock showed. The desk is looked at by itself.
pub(super) fn look(name: &str, kind: &SinkKind, client: &Client) -> Option<(Check, Option<Timestamp>)> {
    let (client, clock) = (client.clone(), std::sync::Arc::new(SystemClock));
    let probe = match kind {
        SinkKind::Slack { webhook_url, .. } => SlackWebhook::new(webhook_url.clone(), Duration::ZERO, client).probe(),
        SinkKind::SlackBot { token, channel, api, .. } => {
            SlackBot::new(token.clone(), channel.clone(), api, Duration::ZERO, None, client).probe()
        }
        SinkKind::Discord(settings) => Discord::new(settings.clone(), client).probe(),
        SinkKind::Ntfy(settings) => Ntfy::new(settings.clone(), client).probe(),
        SinkKind::Forward(settings) => Forward::new(settings.clone(), None, clock).probe(),
        SinkKind::Email(settings) => Email::new(settings.clone(), clock).probe().into(),
        SinkKind::Exec(settings) => Exec::new(settings.clone()).probe().into(),
        SinkKind::Bell => return None,
    };
    let Probe { outcome, date } = probe;
    Some((judge(&format!("sink {name}"), outcome), date))
}

fn judge(name: &str, outcome: Outcome) -> Check {
    const NETWORK: &str = "check this machine's network; what waits is tried again by itself";
    match outcome {
        Outcome::Done { receipt } => Check::ok(name, receipt.unwrap_or_else(|| "reached".to_owned())),
        Outcome::Skipped { note } => {
            Check::told(name, Verdict::Warn, &note, "`hookbell send github issue_opened` shows whether messages arrive")
        }
        // It is there.
        Outcome::Retry { reason, fault: Fault::Busy, .. } => Check::warn(name, reason, "look again in a while"),
        Outcome::Retry { reason, .. } | Outcome::Dead { reason } => {
            // No message was sent.
            let reason = reason.replace(" (the message may have arrived)", "");
            Check::told(name, Verdict::Fail, &reason, NETWORK)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        secret::Secret,
        sink::{discord, exec, forward, ntfy},
        threads::{STACK_BYTES, spawn},
    };

    const TOKEN: &str = "xoxb-1-SECRETSECRETSECRET";

    /// What is made of a destination that answers so: the check, and the request's first line.
    fn found(kind: impl FnOnce(String) -> SinkKind, status: &str, body: &str) -> (Check, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\nDate: Sat, 22 Nov 2025 10:00:00 GMT\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let serving = spawn("destination", STACK_BYTES, move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let (mut lines, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                lines.push(line);
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
            lines.remove(0).trim_end().to_owned()
        })
        .unwrap();
        let (check, date) = look("x", &kind(url), &Client::new()).unwrap();
        assert_eq!(date, Timestamp::parse("2025-11-22T10:00:00Z"), "{check:?}");
        (check, serving.join().unwrap())
    }

    fn slack(url: String) -> SinkKind {
        let webhook_url = Secret::new(format!("{url}/services/T000/B000/SECRETSECRETSECRET")).unwrap();
        SinkKind::Slack { webhook_url, interval: Duration::ZERO }
    }

    fn bot(url: String) -> SinkKind {
        SinkKind::SlackBot {
            token: Secret::new(TOKEN.to_owned()).unwrap(),
            channel: "#dev".to_owned(),
            threads: true,
            api: format!("{url}/api"),
            interval: Duration::ZERO,
        }
    }

    fn discord(url: String) -> SinkKind {
        let webhook_url = Secret::new(format!("{url}/api/webhooks/1/SECRETSECRETSECRET")).unwrap();
        SinkKind::Discord(discord::Settings { webhook_url, interval: Duration::ZERO })
    }

    fn ntfy(url: String) -> SinkKind {
        let token = Secret::new("tk_SECRETSECRETSECRET".to_owned());
        SinkKind::Ntfy(ntfy::Settings { url, topic: "desk".to_owned(), token, interval: Duration::ZERO })
    }

    fn forward(url: String) -> SinkKind {
        let secrets = vec![Secret::new("whsec_SECRETSECRETSECRET".to_owned()).unwrap()];
        SinkKind::Forward(forward::Settings {
            url: format!("{url}/in"),
            secrets,
            allow_private: true,
            include_body: false,
        })
    }

    #[test]
    fn destinations_are_alive_dead_or_strange() {
        use Verdict::{Fail, Ok, Warn};
        type Kind = fn(String) -> SinkKind;
        let table: &[(Kind, &str, &str, Verdict, &str)] = &[
            (slack, "400 X", "no_text", Ok, "the webhook is alive"),
            (slack, "400 X", "invalid_payload", Ok, "the webhook is alive"),
            (slack, "404 X", "no_service", Fail, "make a new one and set SLACK_WEBHOOK_URL"),
            (slack, "403 X", "action_prohibited", Fail, "ask for permission"),
            (slack, "404 X", "<html>SECRETSECRETSECRET", Fail, "is SLACK_WEBHOOK_URL the webhook's address?"),
            (slack, "400 X", "what is this?", Warn, "hookbell send"),
            (slack, "500 X", "", Fail, "tried again by itself"),
            (slack, "429 X", "", Warn, "slow down"),
            (bot, "200 X", r#"{"ok":true,"user":"hookbell","team":"ACME"}"#, Ok, "the token is good: hookbell in ACME"),
            (bot, "200 X", r#"{"ok":false,"error":"invalid_auth"}"#, Fail, "copy the bot token"),
            (bot, "200 X", r#"{"ok":false,"error":"token_revoked"}"#, Fail, "install the Slack app again"),
            (
                discord,
                "200 X",
                r#"{"id":"1","name":"desk","token":"SECRETSECRETSECRET"}"#,
                Ok,
                "the webhook is there: desk",
            ),
            (discord, "404 X", r#"{"message":"Unknown Webhook","code":10015}"#, Fail, "make a new one"),
            (ntfy, "200 X", r#"{"healthy":true}"#, Ok, "healthy"),
            (ntfy, "200 X", r#"{"healthy":false}"#, Fail, "not healthy"),
            (ntfy, "200 X", "a page", Fail, "does not answer like ntfy"),
            (forward, "405 X", "", Ok, "it answers 405 to a HEAD"),
            (forward, "200 X", "", Ok, "it answers 200"),
            (forward, "502 X", "", Warn, "it answers 502"),
        ];
        for (kind, status, body, result, says) in table {
            let (check, line) = found(kind, status, body);
            let text = format!("{}; {}", check.said, check.remedy.clone().unwrap_or_default());
            assert!(check.result == *result && text.contains(says), "{status} {body}: {check:?}");
            assert!(!text.contains("SECRET"), "{text}");
            let is_harmless =
                ["POST /services/", "POST /api/auth.test ", "GET /api/webhooks/", "GET /v1/health ", "HEAD /in "]
                    .iter()
                    .any(|harmless| line.starts_with(harmless));
            assert!(is_harmless, "{line}");
        }
    }

    #[test]
    fn who_is_not_there_fails_and_nothing_is_said_to_have_arrived() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for kind in [slack, bot, discord, ntfy, forward] {
            let (check, _) = look("x", &kind(format!("http://{free}")), &Client::new()).unwrap();
            let text = format!("{check:?}");
            assert!(check.result == Verdict::Fail && !text.contains("SECRET") && !text.contains("arrived"), "{text}");
            assert!(check.remedy.is_some());
        }
    }

    #[test]
    fn a_program_is_there_or_not() {
        let exec = |program: &str| {
            let settings = exec::Settings {
                command: vec![program.to_owned()],
                time_limit: Duration::from_secs(1),
                directory: "/".into(),
            };
            look("x", &SinkKind::Exec(settings), &Client::new()).unwrap().0
        };
        assert_eq!(exec("/bin/sh").result, Verdict::Ok);
        assert!(exec("/no/such/program").remedy.is_some_and(|remedy| remedy.contains("install it")));
        assert!(exec("/etc/passwd").remedy.is_some_and(|remedy| remedy.contains("chmod +x")));
        assert!(exec("/etc").said.contains("is no file"));
        assert!(look("x", &SinkKind::Bell, &Client::new()).is_none());
    }
}
