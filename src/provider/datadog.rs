//! Datadog's webhooks: it signs nothing; the URL carries basic auth (then the secret is `user:password`), or a custom
//! header a token: `Authorization`, else `X-Hookbell-Token`, else the one that `header` names. The payload is the user's own
//! template or a form of it, so fields are known by their usual names, however those are spelled.
//!
//! Source of the rules: docs.datadoghq.com/integrations/webhooks.

use std::collections::BTreeMap;

use crate::{
    event::Severity,
    headers::{Headers, Single},
};

use super::{
    Context, Identity, Normalised, Terms,
    credentials::{self, AUTHORIZATION},
    draft::Draft,
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
};

/// For a custom header that needs no scheme.
const TOKEN: &str = "X-Hookbell-Token";

pub(super) const RULES: Rules = Rules {
    name: "datadog",
    options: &["header"],
    check_options: |options| credentials::check_header("header", options.header.as_deref()),
    admit: |terms, headers| credentials::of(headers, header(terms, headers)).map(|_| ()),
    judge: |terms, request, _| credentials::presented(terms, &request.headers, header(terms, &request.headers)),
    identify: |_, request| {
        let own = ["eventtype", "alerttransition", "transition", "id", "eventid", "alertid", "monitorid"];
        let fields = Fields::of(&request.headers, &request.body, |name| own.contains(&name)).unwrap_or_default();
        let event_type = fields.first(&["eventtype", "alerttransition", "transition"]);
        // Some templates give the monitor's id by that name, which says nothing about which of its alerts this is.
        let id = fields.first(&["id", "eventid"]).filter(|id| fields.first(&["alertid", "monitorid"]) != Some(id));
        Ok(Identity::of(event_type, id))
    },
    normalise,
    samples: SAMPLES,
    build,
    sign: |signing, sample| {
        credentials::present(signing, sample, signing.options.header.as_deref().unwrap_or(AUTHORIZATION));
        Ok(())
    },
    ..Rules::COMMON
};

fn header<'a>(terms: &'a Terms, headers: &Headers) -> &'a str {
    match (&terms.options.header, headers.single(AUTHORIZATION)) {
        (Some(header), _) => header,
        (None, Single::Missing) => TOKEN,
        (None, _) => AUTHORIZATION,
    }
}

/// The template's texts by the letters and digits of their names: `alert_transition` and `alertTransition` are one.
#[derive(Debug, Default)]
struct Fields(BTreeMap<String, String>);

/// Most texts that are kept. Datadog has some sixty variables.
const FIELDS_MAX: usize = 1000;

impl Fields {
    /// Those that are wanted; the door wants few.
    fn of(headers: &Headers, body: &[u8], is_wanted: impl Fn(&str) -> bool) -> Result<Fields, String> {
        let mut fields = BTreeMap::new();
        let mut add = |name: &str, value: &Json<'_>| {
            let name = letters(name);
            if !is_wanted(&name) || fields.len() >= FIELDS_MAX {
                return;
            }
            match value {
                Json::Text(text) if !text.trim().is_empty() => fields.insert(name, text.to_string()),
                Json::Number(number) => fields.insert(name, number.to_string()),
                _ => None,
            };
        };
        if read::is_form(headers) {
            form_urlencoded::parse(body).for_each(|(name, value)| add(&name, &Json::Text(value)));
        } else {
            json::opens(body, b'{', "object")?;
            // `org: { name }` is read as `orgname`; what stands in a list has no name.
            json::outline(body, &mut |path, value| {
                if !path.contains(&json::ITEM) {
                    add(&path.concat(), value);
                }
            })?;
        }
        Ok(Fields(fields))
    }

    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name)).map(String::as_str)
    }
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What a notification says about its alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Firing(Severity),
    Resolved,
}

impl State {
    /// By `$ALERT_TRANSITION`.
    fn of(transition: &str) -> Option<State> {
        match letters(transition).as_str() {
            "triggered" | "retriggered" | "renotify" | "alert" => Some(State::Firing(Severity::Failure)),
            "warn" | "rewarn" | "warning" | "nodata" | "renodata" => Some(State::Firing(Severity::Warning)),
            "recovered" | "recovery" | "resolved" => Some(State::Resolved),
            text if text.ends_with("recovered") => Some(State::Resolved),
            _ => None,
        }
    }

    /// By `$ALERT_TYPE`.
    fn of_type(alert_type: &str) -> Option<State> {
        match letters(alert_type).as_str() {
            "error" => Some(State::Firing(Severity::Failure)),
            "warning" => Some(State::Firing(Severity::Warning)),
            "success" => Some(State::Resolved),
            _ => None,
        }
    }
}

/// `[P1] [Triggered on {host:lamp}] Too hot` without the state, and the state.
fn title_and_state(title: &str) -> (String, Option<State>) {
    let (mut kept, mut state, mut rest) = (String::new(), None, title.trim());
    while let Some((tag, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        match State::of(tag.split(" on ").next().unwrap_or_default()) {
            Some(found) if state.is_none() => state = Some(found),
            _ => kept.push_str(&format!("[{tag}] ")),
        }
        rest = after.trim_start();
    }
    ((kept + rest).trim().to_owned(), state)
}

fn normalise(context: &Context<'_>, _: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let fields = match Fields::of(headers, body, |_| true) {
        Ok(fields) => fields,
        Err(why) => return Normalised::Undecodable(why),
    };
    let text = fields.first(&["body", "eventmsg", "textonlymsg", "message", "text", "alertstatus"]);
    let (title, titled) = title_and_state(fields.first(&["title", "eventtitle", "alerttitle"]).unwrap_or_default());
    let title = if title.is_empty() { text.unwrap_or_default().to_owned() } else { title };
    let state = fields.first(&["alerttransition", "transition"]).and_then(State::of);
    let state = state.or(titled).or_else(|| fields.first(&["alerttype"]).and_then(State::of_type));
    let draft = match state {
        Some(State::Firing(severity)) => Draft::new("alert_firing").severity(severity),
        Some(State::Resolved) => Draft::new("alert_resolved"),
        None if title.trim().is_empty() => {
            let why = "nothing in it that we know: give the payload `title` and `alert_transition`";
            return Normalised::Skipped(why.to_owned());
        }
        None => Draft::new("custom"),
    };
    let key = fields.first(&["aggregkey", "alertcyclekey", "alertid", "monitorid"]).unwrap_or(&title);
    let tags = fields.first(&["tags"]).unwrap_or_default();
    let draft = draft
        .actor(Some(fields.first(&["username", "user"]).unwrap_or("Datadog")))
        .repository(Some(fields.first(&["orgname", "org"]).unwrap_or("datadog")))
        .title(Some(&title))
        .url([fields.first(&["link", "url", "eventlink", "alerturl"])])
        .subject((!key.trim().is_empty()).then(|| format!("alert {key}")))
        .text("alert_severity", fields.first(&["alertpriority", "priority", "alerttype"]))
        .text("status", fields.first(&["alerttransition", "transition"]))
        .text("host", fields.first(&["hostname", "host"]))
        .text("type", fields.first(&["eventtype"]))
        .text("text", text)
        .list("labels", tags.split(','));
    Normalised::Events(vec![draft.finish(context)])
}

const SAMPLES: &[(&str, &str)] = &[("alert_firing", "a monitor is triggered"), ("alert_resolved", "it recovers")];

const BODY: &str = r#"{"body":"%%% The limit was passed. %%%","event_type":"query_alert_monitor",
    "title":"[$transition on {host:$host}] $what","date":"1767322800000","org":{"id":"7","name":"Acme Lights"},
    "id":"$id","alert_transition":"$transition","alert_type":"$type","aggreg_key":"$key","hostname":"$host",
    "priority":"normal","tags":"env:desk,team:lights","link":"https://app.datadoghq.com/event/event?id=7"}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let (transition, kind) = match name {
        "alert_firing" => ("Triggered", "error"),
        "alert_resolved" => ("Recovered", "success"),
        _ => return None,
    };
    let body = fill(
        BODY,
        &[
            ("host", &format!("desk-{}", seed.below("host", 1000))),
            ("id", &(7_000_000_000 + seed.below("id", 1_000_000_000))),
            ("key", &seed.word("key", 32).to_ascii_lowercase()),
            ("transition", &transition),
            ("type", &kind),
            ("what", &seed.pick("what", &["The desk lamp is too hot", "No word from the sensor"])),
        ],
    );
    Some(Sample::json("query_alert_monitor", body))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::{
        Options, Provider, Unverified, admit,
        tests::{NOW, delivery, request, terms, with_header},
        verify,
    };

    fn normalised(content_type: &str, body: &str) -> Normalised {
        let context = Context { provider: Provider::Datadog, source: "desk", options: &Options::NONE };
        let headers: Headers = [("Content-Type", content_type.as_bytes())].into_iter().collect();
        normalise(&context, "unknown", &headers, body.as_bytes())
    }

    #[test]
    fn a_state_is_read_wherever_it_stands() {
        let firing = |severity| ("alert_firing", severity);
        let resolved = ("alert_resolved", Severity::Success);
        for (payload, expected) in [
            (json!({ "alert_transition": "Triggered" }), firing(Severity::Failure)),
            (json!({ "alertTransition": "Re-Triggered" }), firing(Severity::Failure)),
            (json!({ "alert_transition": "No Data" }), firing(Severity::Warning)),
            (json!({ "alert_transition": "Recovered", "title": "[Triggered] x" }), resolved),
            (json!({ "title": "[Recovered] Lamp" }), resolved),
            (json!({ "title": "[P1] [Warn on {host:a}] Lamp" }), firing(Severity::Warning)),
            (json!({ "title": "Lamp", "alert_type": "error" }), firing(Severity::Failure)),
            (json!({ "title": "Lamp", "alert_type": "warning" }), firing(Severity::Warning)),
            (json!({ "title": "Lamp", "alertType": "success" }), resolved),
            (json!({ "title": "Lamp", "alert_type": "info" }), ("custom", Severity::Info)),
            (json!({ "title": "[Lamps] A deployment" }), ("custom", Severity::Info)),
        ] {
            let Normalised::Events(events) = normalised("", &payload.to_string()) else { panic!("{payload}") };
            assert_eq!((events[0].kind.as_str(), events[0].severity), expected, "{payload}");
        }
        assert_eq!(title_and_state("[P1] [Triggered on {host:a}] Lamp").0, "[P1] Lamp");
        assert!(matches!(normalised("", "{}"), Normalised::Skipped(_)));
    }

    #[test]
    fn a_template_may_be_a_form() {
        let form = "alert_transition=Triggered&title=%5BTriggered%5D+Too+hot&aggreg_key=k&tags=a,b";
        let Normalised::Events(events) = normalised("application/x-www-form-urlencoded", form) else { panic!() };
        assert_eq!((events[0].title.as_str(), events[0].subject.as_deref()), ("Too hot", Some("alert k")));
        assert!(matches!(normalised("application/json", form), Normalised::Undecodable(_)));
    }

    #[test]
    fn a_monitor_s_id_is_no_delivery_s() {
        let terms = terms(Provider::Datadog, &["key"]);
        let id = |body: Value| {
            let good = request(Provider::Datadog, "alert_firing");
            let request = Unverified { body: body.to_string().into_bytes(), ..good };
            delivery(verify(&terms, request, NOW).expect("proven")).id().map(str::to_owned)
        };
        assert_eq!(id(json!({ "id": "5", "alert_id": 7 })).as_deref(), Some("5"));
        assert_eq!(id(json!({ "id": "7", "alert_id": 7 })), None);
    }

    #[test]
    fn a_token_stands_where_the_user_put_it() {
        let terms = terms(Provider::Datadog, &["key"]);
        let bare = with_header(&request(Provider::Datadog, "alert_firing"), AUTHORIZATION, None);
        let judged = |request: &Unverified| (RULES.judge)(&terms, request, NOW).is_ok();
        assert!(!judged(&bare));
        let token = with_header(&bare, TOKEN, Some(b"key"));
        assert!(judged(&token));
        // One that is there decides.
        assert!(!judged(&with_header(&token, AUTHORIZATION, Some(b"Bearer other"))));
        let mut mine = terms.clone();
        mine.options.header = Some("X-Mine".to_owned());
        assert!((RULES.judge)(&mine, &token, NOW).is_err());
        let own = with_header(&bare, "X-Mine", Some(b"key"));
        assert!((RULES.judge)(&mine, &own, NOW).is_ok());
        // Before the body is read, too.
        assert!(admit(&mine, &own.headers).is_ok() && admit(&mine, &token.headers).is_err());
        assert!(admit(&terms, &token.headers).is_ok() && admit(&terms, &bare.headers).is_err());
    }
}
