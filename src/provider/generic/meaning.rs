//! What a request means: fields where the options say, else where they usually stand.

use super::*;

/// A request's fields. Only objects and arrays have any; everything else is text.
struct Request<'r> {
    headers: &'r Headers,
    json: Option<Json<'r>>,
}

impl<'r> Request<'r> {
    fn new(headers: &'r Headers, body: &'r [u8]) -> Request<'r> {
        let json = Json::read(body).ok().filter(|json| matches!(json, Json::Map(_) | Json::List(..)));
        Request { headers, json }
    }

    /// What stands at a place, as text; blank is nothing.
    fn at(&self, place: &Place) -> Option<String> {
        let text = match place {
            Place::Header(name) => self.headers.text(name).map(str::to_owned),
            Place::Pointer(pointer) => self.pointer(pointer),
        };
        text.filter(|text| !text.trim().is_empty())
    }

    /// The first of these JSON pointers that leads to something.
    fn first(&self, pointers: &[&str]) -> Option<String> {
        pointers.iter().find_map(|pointer| self.pointer(pointer).filter(|text| !text.trim().is_empty()))
    }

    fn pointer(&self, pointer: &str) -> Option<String> {
        self.json.as_ref()?.at(pointer).plain()
    }

    /// What a place says when the options name it, else the first of the usual ones.
    fn field(&self, place: &Option<Place>, usual: &[&str]) -> Option<String> {
        place.as_ref().and_then(|place| self.at(place)).or_else(|| self.first(usual))
    }

    /// `{/pointers}` in a text replaced by what they lead to.
    fn fill(&self, template: &str) -> String {
        let (mut text, mut rest) = (String::new(), template);
        while let Some((before, (pointer, after))) =
            rest.split_once('{').and_then(|(before, place)| Some((before, place.split_once('}')?)))
        {
            text.push_str(before);
            text.push_str(&self.pointer(pointer).unwrap_or_default());
            rest = after;
        }
        text + rest
    }

    /// Some fields of the payload, for those who give their events no title.
    fn summary(&self) -> Option<String> {
        const FIELDS_MAX: usize = 5;
        let json = self.json.as_ref()?;
        let payload = [&json["payload"], &json["data"]].into_iter().find(|value| value.is_object()).unwrap_or(json);
        let is_head = |key: &str| matches!(key, "id" | "type" | "event" | "timestamp");
        let fields = payload.fields().filter(|(key, _)| !is_head(key));
        let pairs: Vec<String> =
            fields.filter_map(|(key, value)| Some(format!("{key} {}", value.plain()?))).take(FIELDS_MAX).collect();
        (!pairs.is_empty()).then(|| pairs.join(", "))
    }
}

pub(super) fn normalise(context: &Context<'_>, event_type: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let request = Request::new(headers, body);
    let options = context.options;
    let kind = kind_of(event_type);
    let is_known = event_type != crate::provider::UNKNOWN_TYPE;
    // What is no JSON is text, and an event all the same.
    let text = request.json.is_none().then(|| String::from_utf8_lossy(body));
    let line = text.as_deref().and_then(|text| text.lines().find_map(draft::clean));
    let title = options.title.as_deref().map(|template| request.fill(template)).and_then(|title| draft::clean(&title));
    let title = title.or_else(|| request.first(TITLES)).or(line).or_else(|| match (request.summary(), is_known) {
        (Some(summary), true) if kind == "custom" => Some(format!("{event_type}: {summary}")),
        (Some(summary), _) => Some(summary),
        (None, true) => Some(event_type.to_owned()),
        (None, false) => None,
    });
    let severity = request.first(&["/severity", "/level", "/payload/severity"]);
    let draft = match severity.as_deref().and_then(alerts::severity_of) {
        Some(severity) if kind == "custom" => Draft::new(kind).severity(severity),
        _ => Draft::new(kind),
    };
    let link = request.field(&options.link, &["/url", "/link", "/payload/url", "/payload/link"]);
    let draft = draft
        .actor(request.field(&options.actor, ACTORS).as_deref())
        .repository(Some(request.field(&options.about, ABOUTS).as_deref().unwrap_or(context.source)))
        .title(Some(title.as_deref().unwrap_or("a request that says nothing")))
        .url([link.as_deref()])
        .subject(options.subject.as_ref().and_then(|place| request.at(place)))
        .text("type", Some(event_type).filter(|_| is_known))
        .text("amount", request.first(&["/payload/amount", "/amount"]).as_deref())
        .text("currency", request.first(&["/payload/currency", "/currency"]).as_deref())
        .text("status", request.first(&["/payload/status", "/status"]).as_deref())
        .text("text", text.as_deref());
    Normalised::Events(vec![draft.finish(context)])
}

/// Where they usually stand.
const TITLES: &[&str] = &[
    "/title",
    "/message",
    "/text",
    "/summary",
    "/payload/title",
    "/payload/message",
    "/payload/text",
    "/payload/summary",
    "/payload/description",
    "/payload/name",
];
const ACTORS: &[&str] =
    &["/actor", "/user", "/payload/actor", "/payload/user", "/payload/customer", "/payload/from", "/payload/email"];
const ABOUTS: &[&str] = &["/repository", "/project", "/payload/repository", "/payload/project"];

fn kind_of(event_type: &str) -> &'static str {
    match event_type {
        "created" => "created",
        "updated" => "updated",
        "deleted" => "deleted",
        "payment.received" => "payment_received",
        "payment.failed" => "payment_failed",
        "user.signup" => "user_signup",
        "order.placed" => "order_placed",
        "message.received" => "message_received",
        "status.changed" => "status_changed",
        _ => "custom",
    }
}

/// What is wrong with a title's template.
pub(super) fn check_template(template: &str) -> Result<(), String> {
    let mut rest = template;
    while let Some((_, place)) = rest.split_once('{') {
        match place.split_once('}') {
            Some((pointer, after)) if pointer.starts_with('/') => rest = after,
            Some((other, _)) => {
                return Err(format!("`title` has {{{other}}} in it, and a place is a JSON pointer: {{/a/b}}"));
            }
            None => return Err("`title` has a `{` without its `}`".to_owned()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Severity};
    use crate::provider::Provider;

    fn told(options: &Options, event_type: &str, body: &[u8]) -> Event {
        let context = Context { provider: Provider::Generic, source: "door", options };
        let headers: Headers = [("X-Who", b"ada".as_slice())].into_iter().collect();
        match normalise(&context, event_type, &headers, body) {
            Normalised::Events(mut events) if events.len() == 1 => events.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_json_is_told_as_text() {
        for (body, title) in [
            (&b"\n  The door is open  \r\nsince noon"[..], "The door is open"),
            (b"caf\xe9", "caf\u{fffd}"),
            (b"", "a request that says nothing"),
            (b"\0\n", "a request that says nothing"),
            (b"{\"half\":", "{\"half\":"),
            (b"42", "42"),
            (b"[]", "a request that says nothing"),
            (b"{\"door\":\"open\",\"since\":12}", "door open, since 12"),
        ] {
            let event = told(&Options::NONE, "unknown", body);
            assert_eq!((event.kind.as_str(), event.title.as_str()), ("custom", title));
            assert_eq!((event.repository.as_str(), event.severity), ("door", Severity::Info));
        }
        let text = told(&Options::NONE, "unknown", b"The door is open\nsince noon").extra["text"].to_string();
        assert_eq!(text, "The door is open since noon");
    }

    #[test]
    fn known_types_are_kinds_and_others_are_custom() {
        for (event_type, kind) in [
            ("created", "created"),
            ("payment.failed", "payment_failed"),
            ("status.changed", "status_changed"),
            ("payment_failed", "custom"),
            ("Created", "custom"),
        ] {
            let event = told(&Options::NONE, event_type, b"{\"payload\":{\"amount\":5}}");
            assert_eq!((event.kind.as_str(), event.extra["type"].to_string()), (kind, event_type.to_owned()));
        }
    }

    #[test]
    fn how_bad_it_is_may_stand_in_it() {
        let of = |event_type: &str, body: &str| told(&Options::NONE, event_type, body.as_bytes()).severity;
        assert_eq!(of("lamp", r#"{"severity":"critical"}"#), Severity::Failure);
        assert_eq!(of("unknown", r#"{"payload":{"severity":"Warn"}}"#), Severity::Warning);
        assert_eq!(of("lamp", r#"{"level":"purple"}"#), Severity::Info);
        // A kind that we know has a severity of its own.
        assert_eq!(of("created", r#"{"level":"critical"}"#), of("created", "{}"));
    }

    #[test]
    fn options_say_where_fields_stand() {
        let options = Options {
            title: Some("{/lamp/name} is {/lamp/on}{/none}".to_owned()),
            actor: Some(Place::parse("x-who")),
            about: Some(Place::parse("/lamp/room")),
            link: Some(Place::parse("/lamp/page")),
            subject: Some(Place::parse("/lamp/name")),
            ..Options::default()
        };
        let body =
            br#"{"title":"other","lamp":{"name":"Desk","on":true,"room":"Den","page":"https://lamp.example.com"}}"#;
        let event = told(&options, "lamp", body);
        let texts = [&event.title, &event.actor, &event.repository];
        assert_eq!(texts, ["Desk is true", "ada", "Den"]);
        assert_eq!(event.subject.as_deref(), Some("Desk"));
        assert_eq!(event.url.as_deref(), Some("https://lamp.example.com"));
        // A template that leads nowhere is no title.
        let empty = Options { title: Some("{/none}".to_owned()), ..Options::default() };
        assert_eq!(told(&empty, "lamp", body).title, "other");
    }

    #[test]
    fn a_request_calls_itself_as_the_options_say() {
        let terms = |options: Options| Terms { options, ..crate::provider::tests::terms(Provider::Generic, &["key"]) };
        let identity = |options: Options| {
            let headers: Headers = [("X-Event", b"lamp".as_slice()), ("X-Id", b"h7")].into_iter().collect();
            let body = br#"{"id":7,"type":"t","deep":{"id":"d7"}}"#.to_vec();
            let request = Unverified { target: "/".to_owned(), headers, body };
            let identity = identify(&terms(options), &request).expect("proven");
            (identity.event_type, identity.id)
        };
        let is = |event_type: &str, id: Option<&str>| (event_type.to_owned(), id.map(str::to_owned));
        assert_eq!(identity(Options::default()), is("t", Some("7")));
        let own_header = Options { header: Some("X-Mine".to_owned()), ..Options::default() };
        assert_eq!(identity(own_header.clone()), is("t", None));
        let (event, id) = (Some(Place::parse("X-Event")), Some(Place::parse("X-Id")));
        assert_eq!(identity(Options { event, id, ..own_header.clone() }), is("lamp", Some("h7")));
        let (event, id) = (Some(Place::parse("/none")), Some(Place::parse("/deep/id")));
        assert_eq!(identity(Options { event, id, ..own_header }), is("unknown", Some("d7")));
    }

    #[test]
    fn a_title_s_places_are_pointers() {
        assert!(check_template("plain {/a/b} and {/c}").is_ok());
        for wrong in ["{a}", "{}", "{/a", "{/a} {b}"] {
            assert!(check_template(wrong).is_err(), "{wrong}");
        }
    }
}
