//! Telegram's bots: `X-Telegram-Bot-Api-Secret-Token`, the token that was given to `setWebhook`, as it is; nothing proves
//! the body. A delivery is `update_id`, and its type the one other key of the body.
//!
//! Source of the rules: core.telegram.org/bots/api, "setWebhook" and "Update".

use crate::{headers::Headers, secret::Secret, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature,
};

const TOKEN: &str = "X-Telegram-Bot-Api-Secret-Token";
const UPDATE_ID: &str = "update_id";

pub(super) const RULES: Rules = Rules {
    name: "telegram",
    check_secret,
    admit: |_, headers| read::proof(headers, TOKEN).map(|_| ()),
    judge,
    identify,
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

fn check_secret(secret: &Secret) -> Result<(), &'static str> {
    let token = secret.expose();
    let is_good =
        token.len() <= 256 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match is_good {
        true => Ok(()),
        false => Err("Telegram takes 256 characters at most, letters, digits, _ and - only"),
    }
}

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let token = read::proof(&request.headers, TOKEN)?;
    signature::presented(&terms.secrets, token).ok_or(Rejection::SignatureWrong)
}

fn identify(_: &Terms, request: &Unverified) -> Result<Identity, Rejection> {
    let (mut kind, mut id) = (None, None);
    let read = json::outline(&request.body, &mut |path, value| match path {
        // A list has no keys, and with them no type.
        [json::ITEM] => {}
        [UPDATE_ID] => id = value.whole(),
        [key] if kind.is_none() => kind = Some((*key).to_owned()),
        _ => {}
    });
    Ok(match read {
        Ok(()) => Identity::of(kind.as_deref(), id.map(|id| id.to_string()).as_deref()),
        Err(_) => Identity::of(None, None),
    })
}

/// What a message without words may be; the rest are notes of the chat itself (a new title, a pinned message).
const MEDIA: &[(&str, &str)] = &[
    ("photo", "a photo"),
    ("animation", "an animation"),
    ("document", "a file"),
    ("audio", "a piece of music"),
    ("video", "a video"),
    ("video_note", "a video message"),
    ("voice", "a voice message"),
    ("sticker", "a sticker"),
    ("venue", "a place"),
    ("location", "a place"),
    ("contact", "a contact"),
    ("poll", "a poll"),
];

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let update = match Json::object(body) {
        Ok(update) => update,
        Err(why) => return Normalised::Undecodable(why),
    };
    let first_of = |names: [&str; 2]| names.map(|name| &update[name]).into_iter().find(|value| value.is_object());
    let told = if let Some(written) = first_of(["message", "channel_post"]) {
        message(written)
    } else if update["callback_query"].is_object() {
        Ok(pressed(&update["callback_query"]))
    } else if update["message_reaction"].is_object() {
        reacted(&update["message_reaction"])
    } else if first_of(["edited_message", "edited_channel_post"]).is_some() {
        Err("an edit; the message was told when it was written".to_owned())
    } else {
        Err(format!("{} is not an event we tell about", read::shown(event_type)))
    };
    match told {
        Ok(draft) => Normalised::Events(vec![draft.finish(context)]),
        Err(why) => Normalised::Skipped(why),
    }
}

fn message(message: &Json<'_>) -> Result<Draft, String> {
    let chat = &message["chat"];
    let text = message["text"].text().or(message["caption"].text()).filter(|text| !text.trim().is_empty());
    let joined: Vec<String> = message["new_chat_members"].items().iter().filter_map(name_of).collect();
    if !joined.is_empty() {
        let title = format!("{} joined", joined.join(", "));
        let draft = Draft::new("member_joined").actor(joined.first().map(String::as_str)).title(Some(&title));
        return Ok(in_thread(draft, message).list("member", joined.iter().map(String::as_str)));
    }
    let media = MEDIA.iter().find(|(key, _)| !matches!(message[*key], Json::Null)).map(|(_, name)| *name);
    let Some(title) = text.or(media) else {
        return Err("a note of the chat itself, not a message that somebody wrote".to_owned());
    };
    // `/lamp@our_bot on`: a command is a message that begins so.
    let command =
        text.and_then(|text| text.split_whitespace().next()).filter(|word| word.len() > 1 && word.starts_with('/'));
    let command = command.map(|word| word.split('@').next().unwrap_or(word));
    let draft = Draft::new("message")
        .actor(name_of(&message["from"]).as_deref())
        .actor(message["author_signature"].text())
        .actor(title_of(&message["sender_chat"]).as_deref())
        .actor(title_of(chat).as_deref())
        .title(Some(title))
        .text("text", text)
        .text("command", command);
    Ok(in_thread(draft, message))
}

/// A press on a button under a message.
fn pressed(query: &Json<'_>) -> Draft {
    let (message, data) = (&query["message"], query["data"].text());
    let title = data.map_or_else(|| "pressed a button".to_owned(), |data| format!("pressed {data}"));
    let draft = Draft::new("interaction")
        .actor(name_of(&query["from"]).as_deref())
        .title(Some(&title))
        .text("action", data)
        .text("text", message["text"].text());
    in_thread(draft, message)
}

fn reacted(reaction: &Json<'_>) -> Result<Draft, String> {
    let reactions = &reaction["new_reaction"];
    if reactions.count() <= reaction["old_reaction"].count() {
        return Err("a reaction that was changed or taken back".to_owned());
    }
    // The list is of all that this person has on the message; the last is the new one.
    let emoji = reactions.items().last().and_then(|reaction| reaction["emoji"].text());
    let draft = Draft::new("reaction_added")
        .actor(name_of(&reaction["user"]).as_deref())
        .actor(title_of(&reaction["actor_chat"]).as_deref())
        .title(Some(&format!("{} on a message", emoji.unwrap_or("a reaction"))))
        .text("reaction", emoji);
    let message = reaction["message_id"].whole();
    Ok(in_chat(draft, &reaction["chat"], message, message))
}

/// Where a message stands: its thread is a topic, or the message that is answered, else itself.
fn in_thread(draft: Draft, message: &Json<'_>) -> Draft {
    let own = message["message_id"].whole();
    let thread = message["message_thread_id"].whole().or(message["reply_to_message"]["message_id"].whole()).or(own);
    in_chat(draft, &message["chat"], own, thread)
}

fn in_chat(draft: Draft, chat: &Json<'_>, message: Option<i64>, thread: Option<i64>) -> Draft {
    let title = title_of(chat);
    draft
        .repository(title.as_deref().or(Some("telegram")))
        .url([message.and_then(|message| link_to(chat, message)).as_deref()])
        .subject(chat["id"].whole().zip(thread).map(|(id, thread)| format!("telegram {id} {thread}")))
        .text("channel", title.as_deref())
        .text("type", chat["type"].text())
}

/// A message's page: of a public chat by its name, of another channel or large group by its number, of others none.
fn link_to(chat: &Json<'_>, message: i64) -> Option<String> {
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if chat["type"].text() == Some("private") {
        return None;
    }
    match chat["username"].text().filter(is_name) {
        Some(name) => Some(format!("https://t.me/{name}/{message}")),
        // Such a chat's number stands behind -100.
        None => {
            let id = chat["id"].whole().filter(|id| *id < 0)?.to_string();
            id.strip_prefix("-100").filter(|id| !id.is_empty()).map(|id| format!("https://t.me/c/{id}/{message}"))
        }
    }
}

fn name_of(user: &Json<'_>) -> Option<String> {
    if let Some(name) = user["username"].text().filter(|name| !name.is_empty()) {
        return Some(name.to_owned());
    }
    let names = [user["first_name"].text(), user["last_name"].text()];
    Some(names.into_iter().flatten().collect::<Vec<_>>().join(" ")).filter(|name| !name.trim().is_empty())
}

fn title_of(chat: &Json<'_>) -> Option<String> {
    let names = [chat["title"].text(), chat["username"].text(), chat["first_name"].text()];
    let name = names.into_iter().flatten().find(|name| !name.trim().is_empty());
    name.map(str::to_owned).or_else(|| chat["id"].whole().map(|id| id.to_string()))
}

const SAMPLES: &[(&str, &str)] = &[
    ("message", "somebody writes to your bot or in its group"),
    ("reaction_added", "somebody reacts to a message"),
    ("member_joined", "somebody joins the group"),
    ("interaction", "somebody presses a button of yours"),
    ("edited_message", "somebody edits a message, which is not told"),
];

const FROM: &str = r#"{"id":$user,"is_bot":false,"first_name":"Ada","username":"ada_lights"}"#;

const MESSAGE: &str = r#"{"message_id":$message,"from":$from,
    "chat":{"id":-1000004815162,"title":"Desk lamps","type":"supergroup"},"date":1760000000,$written}"#;

const REACTION: &str = r#"{"chat":{"id":-1000004815162,"title":"Desk lamps","type":"supergroup"},
    "message_id":$message,"user":$from,"date":1760000000,
    "old_reaction":[],"new_reaction":[{"type":"emoji","emoji":"👍"}]}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let from = fill(FROM, &[("user", &(1 + seed.below("user", 1 << 32)))]);
    let text = seed.pick("text", &["Is the lamp on?", "/lamp on", "Who has the second sensor?"]);
    let written = match name {
        "member_joined" => format!(r#""new_chat_members":[{from}]"#),
        _ => format!(r#""text":"{text}""#),
    };
    let number = 1000 + seed.below("message", 1_000_000);
    let message = fill(MESSAGE, &[("from", &from), ("message", &number), ("written", &written)]);
    let (event_type, what) = match name {
        "message" | "member_joined" => ("message", message),
        "edited_message" => ("edited_message", message),
        "interaction" => {
            let (id, data) = (seed.word("query", 18), seed.pick("data", &["lamp_on", "lamp_off"]));
            ("callback_query", format!(r#"{{"id":"{id}","from":{from},"message":{message},"data":"{data}"}}"#))
        }
        "reaction_added" => ("message_reaction", fill(REACTION, &[("from", &from), ("message", &number)])),
        _ => return None,
    };
    let update = 100_000 + seed.below("update", 1 << 40);
    Some(Sample::json(event_type, format!(r#"{{"{UPDATE_ID}":{update},"{event_type}":{what}}}"#)))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    sample.set(TOKEN, signing.secret.expose());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{
        Options, Provider,
        tests::{own_terms, secret},
    };

    #[test]
    fn a_token_has_its_alphabet() {
        let check = |text: &str, is_good: bool| assert_eq!(check_secret(&secret(text)).is_ok(), is_good, "{text}");
        check("Ab0_-", true);
        check(&"a".repeat(256), true);
        check(&"a".repeat(257), false);
        check("with space", false);
        check("ü", false);
    }

    #[test]
    fn an_update_is_named_by_its_other_key() {
        let check = |body: &str, event_type: &str, id: Option<&str>| {
            let request = Unverified { target: String::new(), headers: Headers::new(), body: body.as_bytes().to_vec() };
            let identity = identify(&own_terms(Provider::Telegram), &request).expect("never refused");
            assert_eq!((identity.event_type.as_str(), identity.id.as_deref()), (event_type, id), "{body}");
        };
        check(r#"{"update_id":7,"my_chat_member":{}}"#, "my_chat_member", Some("7"));
        check(r#"{"message":{"text":"a"},"update_id":7}"#, "message", Some("7"));
        check(r#"{"update_id":"7"}"#, "unknown", None);
        check("[1]", "unknown", None);
        check(r#"{"update_id":7,"message":"#, "unknown", None);
        check(r#"{"update_id":7,"m\u0000":1}"#, "unknown", Some("7"));
    }

    #[test]
    fn each_becomes_what_a_reader_of_the_documentation_expects() {
        let context = Context { provider: Provider::Telegram, source: "desk", options: &Options::NONE };
        let check = |body: &str, expected: &str| {
            let told = match normalise(&context, "poll", &Headers::new(), body.as_bytes()) {
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
            r#"{"message":{"message_id":5,"from":{"first_name":"Ada","last_name":"L"},"chat":{"id":9,"type":"private","username":"ada"},
                "text":"/start"}}"#,
            "message Ada L ada: /start -",
        );
        check(
            r#"{"channel_post":{"message_id":5,"chat":{"id":-1001234,"title":"News"},"photo":[{}],"caption":" "}}"#,
            "message News News: a photo https://t.me/c/1234/5",
        );
        check(
            r#"{"message":{"message_id":5,"from":{"username":"ada"},"chat":{"id":-5,"title":"Desk","username":"desk"},
                "new_chat_members":[{"first_name":"Otto"}]}}"#,
            "member_joined Otto Desk: Otto joined https://t.me/desk/5",
        );
        check(
            r#"{"message":{"message_id":5,"chat":{"id":-5,"title":"Desk"},"new_chat_title":"Lamps"}}"#,
            "a note of the chat itself, not a message that somebody wrote",
        );
        check(
            r#"{"callback_query":{"from":{"username":"ada"},"data":"on","message":{"message_id":5,"chat":{"id":9}}}}"#,
            "interaction ada 9: pressed on -",
        );
        check(
            r#"{"message_reaction":{"chat":{"id":9},"message_id":5,"user":{"username":"ada"},"new_reaction":[{"emoji":"👍"}]}}"#,
            "reaction_added ada 9: 👍 on a message -",
        );
        check(
            r#"{"message_reaction":{"old_reaction":[{"emoji":"👍"}],"new_reaction":[]}}"#,
            "a reaction that was changed or taken back",
        );
        check(r#"{"edited_message":{"text":"a"}}"#, "an edit; the message was told when it was written");
        check(r#"{"poll":{}}"#, "poll is not an event we tell about");
        check("null", "the body is not a JSON object");
    }
}
