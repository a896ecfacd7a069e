//! Discord: `X-Signature-Ed25519` over the time in `X-Signature-Timestamp` and the body, with the application's public
//! key in hexadecimal digits. Both an interactions endpoint and a webhook events address follow it. A delivery is `id`
//! and `type`; an event has no id.
//!
//! Source of the rules: discord.com/developers/docs, "Interactions: Receiving and Responding" and "Webhook Events", and
//! the official library discord-interactions. Discord probes with wrong signatures and wants a 401 for them.

use crate::{headers::Headers, secret::Secret, time::Timestamp};

use super::{
    Context, Handshake, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature,
};

const SIGNATURE: &str = "X-Signature-Ed25519";
const TIME: &str = "X-Signature-Timestamp";

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

pub(super) const RULES: Rules = Rules {
    name: "discord",
    check_secret: |secret| match key_of(secret) {
        Some(_) => Ok(()),
        None => Err("it is not the application's public key: 64 hexadecimal digits"),
    },
    admit: |_, headers| proof_of(headers).map(|_| ()),
    judge,
    identify,
    handshake,
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

fn key_of(secret: &Secret) -> Option<Vec<u8>> {
    read::hex_any_case(secret.expose().as_bytes()).filter(|key| key.len() == KEY_BYTES)
}

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let (time, made) = proof_of(&request.headers)?;
    let keys: Vec<_> = terms.secrets.iter().map(key_of).collect();
    signature::ed25519_by(&keys, &[time.as_bytes(), &request.body], &[made]).ok_or(Rejection::SignatureWrong)
}

/// The time is held to digits and their number, because nothing separates it from the body. How old it is nobody looks
/// at: Discord documents no limit.
fn proof_of(headers: &Headers) -> Result<(&str, Vec<u8>), Rejection> {
    let made = read::hex_any_case(read::proof(headers, SIGNATURE)?).filter(|made| made.len() == SIGNATURE_BYTES);
    let time = read::proof_text(headers, TIME)?;
    read::seconds_before_body(TIME, time)?;
    Ok((time, made.ok_or(Rejection::malformed(SIGNATURE, "it is not 128 hexadecimal digits"))?))
}

/// Discord's own name for an interaction or a webhook event, by `type`, `event` and what `event.type` says. A webhook
/// event's envelope has types of its own: 0 is its ping, and its 1 is an event and no ping.
fn event_type<'j>(kind: &Json<'_>, event: &Json<'_>, happened: &'j Json<'_>) -> Option<&'j str> {
    if event.is_object() {
        return happened.text();
    }
    match kind.whole() {
        Some(0 | 1) => Some(PING),
        Some(2) => Some("APPLICATION_COMMAND"),
        Some(3) => Some("MESSAGE_COMPONENT"),
        Some(4) => Some("APPLICATION_COMMAND_AUTOCOMPLETE"),
        Some(5) => Some("MODAL_SUBMIT"),
        _ => None,
    }
}

const PING: &str = "PING";

fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let [id, kind, event, happened] = json::values(&request.body, ["/id", "/type", "/event", "/event/type"]);
    Ok(Identity::of(event_type(&kind, &event, &happened), id.text()))
}

/// Each of the two addresses has its ping, and its own answer to it.
fn handshake(request: &Unverified) -> Option<Handshake> {
    let [kind, event] = json::values(&request.body, ["/type", "/event"]);
    let answer = |status, body: &str| Handshake { status, content_type: "application/json", body: body.to_owned() };
    match kind.whole() {
        _ if event.is_object() => None,
        Some(0) => Some(answer(204, "")),
        Some(1) => Some(answer(200, r#"{"type":1}"#)),
        _ => None,
    }
}

fn normalise(context: &Context<'_>, stored_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let own_type = event_type(&body["type"], &body["event"], &body["event"]["type"]);
    let draft = match own_type.unwrap_or(stored_type) {
        "APPLICATION_COMMAND" => command(&body["data"]),
        "MESSAGE_COMPONENT" => used("pressed", &body["data"]),
        "MODAL_SUBMIT" => used("submitted", &body["data"]),
        PING => return Normalised::Skipped("a question whether we are there".to_owned()),
        other => return Normalised::Skipped(format!("{} is not an event we tell about", read::shown(other))),
    };
    Normalised::Events(vec![in_channel(draft, &body).text("type", own_type).finish(context)])
}

/// `/lamp on brightness:3`; commands on a user or a message have no slash.
fn command(data: &Json<'_>) -> Draft {
    let slash = if data["type"].whole().is_none_or(|kind| kind == 1) { "/" } else { "" };
    let name = data["name"].text().filter(|name| !name.trim().is_empty()).unwrap_or("command");
    let mut words = Vec::new();
    arguments(&data["options"], &mut words);
    let command = format!("{slash}{name}");
    let text = words.join(" ");
    Draft::new("command")
        .title(Some(format!("{command} {text}").trim_end()))
        .text("command", Some(&command))
        .text("text", Some(&text))
}

/// Discord nests commands two levels deep; what is read of a body ends long before the stack does.
fn arguments(options: &Json<'_>, words: &mut Vec<String>) {
    for option in options.items() {
        let name = option["name"].text().unwrap_or_default();
        words.push(option["value"].plain().map_or_else(|| name.to_owned(), |value| format!("{name}:{value}")));
        arguments(&option["options"], words);
    }
}

fn used(verb: &str, data: &Json<'_>) -> Draft {
    let id = data["custom_id"].text().filter(|id| !id.trim().is_empty());
    let chosen = data["values"].items().iter().filter_map(Json::text).collect::<Vec<_>>().join(", ");
    let title = format!("{verb} {} {chosen}", id.unwrap_or("something without a name"));
    Draft::new("interaction").title(Some(title.trim_end())).text("action", id).text("text", Some(&chosen))
}

fn in_channel(draft: Draft, body: &Json<'_>) -> Draft {
    let (name, channel, guild) = (body["channel"]["name"].text(), body["channel_id"].text(), body["guild_id"].text());
    let about = [name, channel, guild, body["application_id"].text(), Some("discord")];
    let message = body["message"]["id"].text();
    draft
        .actor(body["member"]["user"]["username"].text())
        .actor(body["user"]["username"].text())
        .repository(about.into_iter().flatten().find(|name| !name.trim().is_empty()))
        .url([link_to(guild, channel, message).as_deref()])
        .subject(message.or(channel).map(|id| format!("discord {id}")))
        .text("channel", name.or(channel))
}

fn link_to(guild: Option<&str>, channel: Option<&str>, message: Option<&str>) -> Option<String> {
    let is_id = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let channel = channel.filter(is_id)?;
    let guild = guild.filter(is_id).unwrap_or("@me");
    let message = message.filter(is_id).map_or_else(String::new, |message| format!("/{message}"));
    Some(format!("https://discord.com/channels/{guild}/{channel}{message}"))
}

const SAMPLES: &[(&str, &str)] = &[
    ("command", "somebody uses your slash command"),
    ("interaction", "somebody presses a button of yours"),
    ("autocomplete", "Discord asks for a menu's entries, which is not told"),
    ("ping", "what Discord asks when the interactions address is set"),
    ("webhook_events_ping", "what Discord asks when the webhook events address is set"),
];

const PING_BODY: &str = r#"{"application_id":"$application","id":"$id","token":"sample","type":$type,"version":1}"#;

const EVENTS_PING_BODY: &str = r#"{"version":1,"application_id":"$application","type":$type}"#;

const COMMAND_BODY: &str = r#"{"application_id":"$application","channel":{"id":"$channel","name":"desk"},
    "channel_id":"$channel","data":{"id":"$command","name":"lamp",
    "options":[{"name":"state","type":3,"value":"$state"}],"type":1},"guild_id":"$guild","id":"$id",
    "member":{"user":{"id":"$user","username":"ada.lights"}},"token":"sample","type":$type,"version":1}"#;

const COMPONENT_BODY: &str = r#"{"application_id":"$application","channel":{"id":"$channel","name":"desk"},
    "channel_id":"$channel","data":{"component_type":2,"custom_id":"lamp_on"},"guild_id":"$guild","id":"$id",
    "member":{"user":{"id":"$user","username":"ada.lights"}},"message":{"id":"$message"},
    "token":"sample","type":$type,"version":1}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let id = |name: &str| 1_200_000_000_000_000_000 + seed.below(name, 1 << 56);
    let (event_type, kind, template) = match name {
        "command" => ("APPLICATION_COMMAND", 2, COMMAND_BODY),
        "autocomplete" => ("APPLICATION_COMMAND_AUTOCOMPLETE", 4, COMMAND_BODY),
        "interaction" => ("MESSAGE_COMPONENT", 3, COMPONENT_BODY),
        "ping" => (PING, 1, PING_BODY),
        "webhook_events_ping" => (PING, 0, EVENTS_PING_BODY),
        _ => return None,
    };
    let body = fill(
        template,
        &[
            ("application", &id("application")),
            ("channel", &id("channel")),
            ("command", &id("command")),
            ("guild", &id("guild")),
            ("id", &id("id")),
            ("message", &id("message")),
            ("state", &seed.pick("state", &["on", "off"])),
            ("type", &kind),
            ("user", &id("user")),
        ],
    );
    Some(Sample::json(event_type, body))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let time = signing.now.seconds().to_string();
    let seed = read::hex_any_case(signing.secret.expose().as_bytes());
    let made = seed.and_then(|seed| signature::sign_ed25519(&seed, &[time.as_bytes(), &sample.body]));
    let (made, _) = made.ok_or("signing for discord needs a private key, an Ed25519 seed of 64 hexadecimal digits")?;
    sample.set(TIME, time);
    sample.set(SIGNATURE, read::to_hex(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Options, Provider, Verified,
        tests::{NOW, keys, own_terms, request, secret, with_header},
        verify,
    };

    #[test]
    fn a_key_is_32_bytes_of_either_case() {
        let public = keys(Provider::Discord).1;
        let check =
            |text: &str, is_key: bool| assert_eq!((RULES.check_secret)(&secret(text)).is_ok(), is_key, "{text}");
        check(public.expose(), true);
        check(&public.expose().to_uppercase(), true);
        check(&public.expose()[2..], false);
        check("key", false);
    }

    #[test]
    fn a_signature_has_either_case_and_a_wrong_one_is_401() {
        let terms = own_terms(Provider::Discord);
        let good = request(Provider::Discord, "ping");
        let upper = good.headers.text(SIGNATURE).expect("signed").to_uppercase();
        assert_eq!(judge(&terms, &with_header(&good, SIGNATURE, Some(upper.as_bytes())), NOW), Ok(0));
        let wrong = with_header(&good, SIGNATURE, Some("0".repeat(128).as_bytes()));
        assert_eq!(verify(&terms, wrong, NOW).map_err(|why| why.status()).err(), Some(401));
        let moved = with_header(&good, TIME, Some(b"1760000000{"));
        assert!(matches!(judge(&terms, &moved, NOW), Err(Rejection::SignatureMalformed { .. })));
        // Nor may a digit of the time become the body's first.
        let (time, digit) = good.headers.text(TIME).expect("signed").split_at(9);
        let shorter = with_header(&good, TIME, Some(time.as_bytes()));
        let moved = Unverified { body: [digit.as_bytes(), &good.body].concat(), ..shorter };
        assert!(matches!(judge(&terms, &moved, NOW), Err(Rejection::SignatureMalformed { .. })));
    }

    #[test]
    fn each_address_has_its_ping() {
        let check = |body: &str, expected: Option<(u16, &str)>| {
            let request = Unverified { target: String::new(), headers: Headers::new(), body: body.as_bytes().to_vec() };
            let answer = handshake(&request);
            assert_eq!(answer.as_ref().map(|answer| (answer.status, answer.body.as_str())), expected, "{body}");
        };
        check(r#"{"type":1}"#, Some((200, r#"{"type":1}"#)));
        check(r#"{"type":0}"#, Some((204, "")));
        check(r#"{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}"#, None);
        check(r#"{"type":2}"#, None);
        check(r#"{"type":"1"}"#, None);
        check("1", None);
        let verified = verify(&own_terms(Provider::Discord), request(Provider::Discord, "webhook_events_ping"), NOW);
        assert!(matches!(verified, Ok(Verified::Handshake(Handshake { status: 204, .. }))), "{verified:?}");
    }

    #[test]
    fn each_becomes_what_a_reader_of_the_documentation_expects() {
        let context = Context { provider: Provider::Discord, source: "desk", options: &Options::NONE };
        let check = |body: &str, expected: &str| {
            let told = match normalise(&context, "unknown", &Headers::new(), body.as_bytes()) {
                Normalised::Events(events) | Normalised::Partly { events, .. } => {
                    let event = &events[0];
                    let url = event.url.as_deref().unwrap_or("-");
                    format!("{} {} {}: {} {url}", event.kind, event.actor, event.repository, event.title)
                }
                Normalised::Skipped(why) | Normalised::Undecodable(why) => why,
            };
            assert_eq!(told, expected, "{body}");
        };
        check(
            r#"{"type":2,"user":{"username":"ada"},"channel_id":"5","data":{"name":"lamp","type":1,"options":[
                {"name":"set","options":[{"name":"on","value":true},{"name":"by","value":3},
                {"name":"at","value":"desk"}]}]}}"#,
            "command ada 5: /lamp set on:true by:3 at:desk https://discord.com/channels/@me/5",
        );
        check(r#"{"type":2,"data":{"name":"Report","type":3}}"#, "command someone discord: Report -");
        check(
            r#"{"type":3,"guild_id":"1","channel_id":"5","message":{"id":"9"},"member":{"user":{"username":"ada"}},
                "data":{"custom_id":"lamp","values":["on","off"]}}"#,
            "interaction ada 5: pressed lamp on, off https://discord.com/channels/1/5/9",
        );
        check(r#"{"type":5,"data":{"custom_id":"form"}}"#, "interaction someone discord: submitted form -");
        check(r#"{"type":4}"#, "APPLICATION_COMMAND_AUTOCOMPLETE is not an event we tell about");
        check(
            r#"{"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}"#,
            "ENTITLEMENT_CREATE is not an event we tell about",
        );
        check("[]", "the body is not a JSON object");
    }
}
