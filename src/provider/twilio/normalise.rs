//! What Twilio's forms mean, and what they are about. Refuses to know how they are proven.

use crate::headers::Headers;

use super::super::{
    Context, Normalised,
    draft::Draft,
    json::Json,
    read::{self, Form},
};

/// What a form is about.
pub(super) enum About<'f> {
    Message { id: &'f str, status: &'f str },
    Call { id: &'f str, status: Option<&'f str> },
    Recording { id: &'f str, status: &'f str },
}

impl<'f> About<'f> {
    pub(super) fn of(form: &'f Form<'_>) -> Option<About<'f>> {
        if let (Some(id), Some(status)) = (form.get("RecordingSid"), form.get("RecordingStatus")) {
            return Some(About::Recording { id, status });
        }
        if let Some(id) = form.get("MessageSid").or(form.get("SmsSid")) {
            let status = form.get("MessageStatus").or(form.get("SmsStatus"));
            // A message that comes in need not say that it was received.
            return status.or(form.get("Body").map(|_| RECEIVED)).map(|status| About::Message { id, status });
        }
        form.get("CallSid").map(|id| About::Call { id, status: form.get("CallStatus") })
    }
}

/// The one status of a message that comes in.
pub(super) const RECEIVED: &str = "received";

pub(super) fn normalise(context: &Context<'_>, _: &str, headers: &Headers, body: &[u8]) -> Normalised {
    let skipped = |why: String| Normalised::Skipped(why);
    if !read::is_form(headers) {
        return match Json::read(body) {
            Ok(_) => skipped("JSON, as Event Streams and others send it, is not told".to_owned()),
            Err(_) if body.is_empty() => skipped("an empty body: nothing to tell".to_owned()),
            Err(why) => Normalised::Undecodable(format!("no form, and {why}")),
        };
    }
    let form = Form::of(body);
    let draft = match About::of(&form) {
        Some(About::Message { status: RECEIVED, .. }) => message(Draft::new("sms_received"), &form, form.get("To")),
        Some(About::Message { status: status @ ("failed" | "undelivered"), .. }) => {
            let why = form.get("ErrorMessage").map_or_else(String::new, |why| format!(", {why}"));
            let why = form.get("ErrorCode").map_or(why.clone(), |code| format!(": error {code}{why}"));
            let title = format!("SMS to {} {status}{why}", form.get("To").unwrap_or("somebody"));
            message(Draft::new("sms_failed"), &form, form.get("From")).title(Some(&title)).text("status", Some(status))
        }
        Some(About::Message { status, .. }) => {
            return skipped(format!("a message that is {}: told are those received or failed", read::shown(status)));
        }
        Some(About::Call { id, status: Some(status) }) => match status {
            "completed" => call(Draft::new("call_completed"), &form, id, status),
            "no-answer" | "busy" | "failed" | "canceled" => call(Draft::new("call_missed"), &form, id, status),
            _ => return skipped(format!("a call that is {}: told are those that ended", read::shown(status))),
        },
        Some(About::Call { status: None, .. }) => return skipped("a step of a call, without its status".to_owned()),
        Some(About::Recording { .. }) => return skipped("a recording of a call".to_owned()),
        None => return skipped("about neither a message nor a call".to_owned()),
    };
    Normalised::Events(vec![draft.finish(context)])
}

/// Our own number is what it is about; messages between the same two belong together.
fn message(draft: Draft, form: &Form<'_>, ours: Option<&str>) -> Draft {
    let (from, to) = (form.get("From"), form.get("To"));
    let media = form.get("NumMedia").filter(|count| *count != "0").map(|count| format!("{count} pictures or files"));
    let mut sides = [from.unwrap_or_default(), to.unwrap_or_default()];
    sides.sort_unstable();
    draft
        .actor(form.get("ProfileName").or(from))
        .repository(ours.or(Some("twilio")))
        .title(form.get("Body").or(media.as_deref()))
        .subject(Some(format!("twilio {} {}", sides[0], sides[1])))
        .text("from", from)
        .text("to", to)
        .text("text", form.get("Body"))
        .text("reason", form.get("ErrorMessage").or(form.get("ErrorCode")))
}

fn call(draft: Draft, form: &Form<'_>, id: &str, status: &str) -> Draft {
    let (from, to) = (form.get("From").or(form.get("Caller")), form.get("To").or(form.get("Called")));
    let is_outbound = form.get("Direction").is_some_and(|direction| direction.starts_with("outbound"));
    let seconds = form.get("CallDuration").and_then(|text| text.parse::<i64>().ok());
    let how = match seconds.filter(|_| status == "completed") {
        Some(seconds) => format!(", {seconds} s"),
        None if status == "completed" => String::new(),
        None => format!(": {status}"),
    };
    let title = format!("call from {} to {}{how}", from.unwrap_or("somebody"), to.unwrap_or("somebody"));
    draft
        .actor(form.get("CallerName").or(from))
        .repository(if is_outbound { from } else { to }.or(Some("twilio")))
        .title(Some(&title))
        .subject(Some(format!("twilio {id}")))
        .text("from", from)
        .text("to", to)
        .text("status", Some(status))
        .number("duration_s", seconds)
}
