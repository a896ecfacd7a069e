//! What Slack's requests mean. Owns what stands where in its payloads; refuses to know how they are proven.

use crate::headers::Headers;

use super::{
    super::{
        Context, Normalised,
        draft::Draft,
        json::Json,
        read::{self, Form},
    },
    Body,
};

/// The name that we give to what Slack sends without one.
pub(super) const SLASH_COMMAND: &str = "slash_command";
pub(super) const URL_VERIFICATION: &str = "url_verification";

/// Where Slack does not say which channel or workspace.
const SOMEWHERE: &str = "slack";

/// The id of a user or a channel, which is all of it in most places.
fn id_of<'j>(thing: &'j Json<'_>) -> Option<&'j str> {
    thing.text().or(thing["id"].text()).filter(|id| !id.is_empty())
}

/// What people call it, else its id.
fn name_of<'j>(thing: &'j Json<'_>) -> Option<&'j str> {
    thing["name"].text().or(thing["username"].text()).filter(|name| !name.is_empty()).or(id_of(thing))
}

/// A draft, or why there is none.
type Told = Result<Draft, Normalised>;

pub(super) fn normalise(context: &Context<'_>, _: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let told = match Body::of(headers, body) {
        Body::Form(form) => command(&form),
        Body::Json(json) => Json::object(&json).map_err(Normalised::Undecodable).and_then(|body| tell(&body)),
    };
    told.map_or_else(|untold| untold, |draft| Normalised::Events(vec![draft.finish(context)]))
}

fn tell(body: &Json<'_>) -> Told {
    match body["type"].text().unwrap_or_default() {
        "event_callback" => event(body, &body["event"]),
        // The rest of the interactions only ask for a menu's entries, or tell that a form was left.
        kind @ ("block_actions"
        | "interactive_message"
        | "message_action"
        | "shortcut"
        | "view_submission"
        | "dialog_submission") => Ok(interaction(kind, body)),
        URL_VERIFICATION => Err(skipped("a question whether we are there")),
        other => Err(not_told(other)),
    }
}

fn event(body: &Json<'_>, event: &Json<'_>) -> Told {
    let (user, channel) = (name_of(&event["user"]), &event["channel"]);
    match event["type"].text().unwrap_or_default() {
        kind @ ("message" | "app_mention") => {
            if kind == "message" {
                is_of_somebody(event)?;
            }
            let files = event["files"].items().iter().filter_map(|file| file["name"].text());
            let files: Vec<&str> = files.filter(|name| !name.is_empty()).collect();
            let text = event["text"].text().map(plain).filter(|text| !text.trim().is_empty());
            let title = text.clone().unwrap_or_else(|| files.join(", "));
            if title.trim().is_empty() {
                return Err(skipped("a message without words or files"));
            }
            let kind = if kind == "message" { "message" } else { "app_mention" };
            Ok(in_channel(Draft::new(kind), body, channel, event["thread_ts"].text().or(event["ts"].text()))
                .actor(user)
                .title(Some(&title))
                .text("text", text.as_deref())
                .text("type", event["subtype"].text()))
        }
        "reaction_added" => {
            let (item, reaction) = (&event["item"], event["reaction"].text());
            let what = item["type"].text().unwrap_or("message");
            Ok(in_channel(Draft::new("reaction_added"), body, &item["channel"], item["ts"].text())
                .actor(user)
                .title(Some(&format!(":{}: on a {what}", reaction.unwrap_or("a reaction"))))
                .text("reaction", reaction)
                .text("to", event["item_user"].text()))
        }
        "channel_created" => Ok(in_channel(Draft::new("channel_created"), body, channel, None)
            .actor(channel["creator"].text())
            .title(Some(name_of(channel).unwrap_or("a new channel")))),
        kind @ ("member_joined_channel" | "team_join") => {
            let place = match kind {
                "team_join" => "the workspace",
                _ => name_of(channel).unwrap_or("a channel"),
            };
            Ok(in_channel(Draft::new("member_joined"), body, channel, None)
                .actor(user)
                .title(Some(&format!("{} joined {place}", user.unwrap_or("somebody"))))
                .text("member", user))
        }
        other => Err(not_told(other)),
    }
}

/// Most messages that Slack tells about are edits, joins and what apps say; they would only be noise, and an app that
/// hears itself would never end.
fn is_of_somebody(event: &Json<'_>) -> Result<(), Normalised> {
    if event["bot_id"].text().is_some() {
        return Err(skipped("a message that an app wrote"));
    }
    match event["subtype"].text() {
        None | Some("" | "file_share" | "thread_broadcast" | "me_message") => Ok(()),
        Some(other) => Err(skipped(&format!("message.{} is not a message that somebody wrote", read::shown(other)))),
    }
}

fn interaction(kind: &str, body: &Json<'_>) -> Draft {
    let (action, view, container, message) =
        (body.at("/actions/0"), &body["view"], &body["container"], &body["message"]);
    let chosen = &action["selected_option"];
    let name = action["action_id"].text().or(action["name"].text());
    let name = name.or(body["callback_id"].text()).or(view["callback_id"].text());
    let is_button = action["type"].text().is_none_or(|kind| kind == "button");
    let (verb, label) = match kind {
        "view_submission" | "dialog_submission" => ("submitted", view["title"]["text"].text()),
        "message_action" | "shortcut" => ("used the shortcut", None),
        _ if is_button => ("pressed", action["text"]["text"].text()),
        _ => ("chose", chosen["text"]["text"].text()),
    };
    let says_something = |text: &&str| !text.trim().is_empty();
    let title = match label.filter(says_something).or(name.filter(says_something)) {
        Some(label) => format!("{verb} {label}"),
        None => format!("{verb} something without a name"),
    };
    let is_named = name_of(&body["channel"]).is_some();
    let channel = if is_named { &body["channel"] } else { &container["channel_id"] };
    let ts = body["message_ts"].text().or(container["message_ts"].text()).or(message["ts"].text());
    let value = action["value"].text().or(chosen["value"].text());
    let about = message["text"].text().map(plain);
    in_channel(Draft::new("interaction"), body, channel, ts)
        .actor(name_of(&body["user"]))
        .title(Some(&title))
        .text("type", Some(kind))
        .text("action", name)
        .text("text", value.or(about.as_deref()))
}

/// A slash command. Its `response_url` and `trigger_id` are keys to answer with, so no event has them.
fn command(form: &Form<'_>) -> Told {
    let Some(command) = form.get("command") else {
        let why = "the body is a form with neither a command nor a payload";
        return Err(Normalised::Undecodable(why.to_owned()));
    };
    let text = form.get("text");
    let channel = form.get("channel_name").or(form.get("channel_id"));
    let team = form.get("team_domain").or(form.get("team_id"));
    Ok(Draft::new("command")
        .actor(form.get("user_name").or(form.get("user_id")))
        .repository(channel.or(team).or(Some(SOMEWHERE)))
        .title(Some(&text.map_or_else(|| command.to_owned(), |text| format!("{command} {text}"))))
        .url([channel_link(form.get("team_id"), form.get("channel_id")).as_deref()])
        .text("command", Some(command))
        .text("text", text)
        .text("channel", channel))
}

/// Where it happened: the channel, the link to it, and the thread that it belongs to.
fn in_channel(draft: Draft, body: &Json<'_>, channel: &Json<'_>, ts: Option<&str>) -> Draft {
    let (name, id) = (name_of(channel), id_of(channel));
    let team_id = body["team_id"].text().or(body["team"]["id"].text());
    let domain = body["team"]["domain"].text();
    let link = permalink(domain, id, ts).or_else(|| channel_link(team_id, id));
    draft
        .repository(name.or(domain).or(team_id.filter(|id| !id.is_empty())).or(Some(SOMEWHERE)))
        .url([link.as_deref()])
        .subject(id.zip(ts).map(|(id, ts)| format!("slack {id} {ts}")))
        .text("channel", name)
}

/// A message's own page, where the workspace's domain is known.
fn permalink(domain: Option<&str>, channel: Option<&str>, ts: Option<&str>) -> Option<String> {
    let (domain, channel, ts) = (domain?, channel?, ts?);
    let is_domain = !domain.is_empty() && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let digits = ts.replace('.', "");
    (is_domain && is_id(channel) && is_id(&digits))
        .then(|| format!("https://{domain}.slack.com/archives/{channel}/p{digits}"))
}

/// The link that opens a channel wherever the reader is signed in (docs.slack.dev, "Deep linking").
fn channel_link(team: Option<&str>, channel: Option<&str>) -> Option<String> {
    let (team, channel) = (team?, channel?);
    (is_id(team) && is_id(channel)).then(|| format!("https://slack.com/app_redirect?team={team}&channel={channel}"))
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Undoes the three escapes of Slack's text; the last one last, so that `&amp;lt;` stays `&lt;`.
fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn skipped(why: &str) -> Normalised {
    Normalised::Skipped(why.to_owned())
}

fn not_told(event_type: &str) -> Normalised {
    skipped(&format!("{} is not an event we tell about", read::shown(event_type)))
}
