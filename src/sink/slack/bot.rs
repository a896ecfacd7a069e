//! Slack by bot token: the web API's `chat.postMessage`, `chat.update`, `reactions.add` and `reactions.remove`, a thread for
//! each subject. Owns the order of these steps and hides the token; refuses to know what a thread's first line says
//! (`thread`) and where conversations are kept.
//!
//! Each step is kept before the next: what was told is kept at once, by a synced commit, and what the first message
//! shows when it shows it. A second try thus begins where the first one ended; only what was told when the power went before
//! it was kept is told again, and its reference shows that. What was told is soon done, even if the first message cannot
//! show it just now: the next event brings that up to date. Only a rate limit is waited for.

use std::{
    collections::BTreeMap,
    slice,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::{
    BURST, CONTENT_TYPE,
    answer::{self, AtFault, Posted, Refusal, Reply},
    message::Message,
    receipt_of,
    thread::Thread,
};
use crate::{
    allowance::{Allowance, Rate},
    http::{Answer, Client},
    secret::Secret,
    sink::{
        Bundle, Conversation, Conversations, Fault, Outcome, Parcel, Probe, Sink,
        answers::{harmless, without},
    },
    time::Timestamp,
};

/// A conversation that nothing has joined for so long is over: nobody looks that far up.
const UNTOUCHED_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// References that a conversation remembers, the latest: as many as one message tells, because what was told together may
/// come back one by one.
const TOLD_MAX: usize = 500;

/// So often it is tried to change the first message, before that is left to the next event.
const UPDATE_TRIES: u32 = 3;

/// Channels whose rates are remembered. Rules name a few.
const CHANNELS_MAX: usize = 256;

/// Of a bot's or a workspace's name.
const NAME_CHARS_MAX: usize = 60;

const POST: &str = "chat.postMessage";
const UPDATE: &str = "chat.update";

/// A Slack app's bot as a sink.
pub struct SlackBot {
    token: Secret,
    channel: String,
    api: String,
    client: Client,
    rate: Rate,
    /// By the channel that a rule chose; empty is the sink's own.
    allowances: BTreeMap<String, Allowance>,
    /// Without these every parcel is a message of its own.
    conversations: Option<Box<dyn Conversations>>,
    /// What was told and could not be kept.
    unkept: Option<Conversation>,
}

/// What is to be told: parcels of one channel, with conversations of one subject.
#[derive(Clone, Copy)]
struct Matter<'p> {
    parcels: &'p [Parcel],
    source: &'p str,
    subject: &'p str,
    /// The channel that a rule chose; empty for the sink's own.
    asked: &'p str,
    /// What the conversation was told before, as [`Conversation::last`].
    told: &'p str,
}

/// A message that Slack took.
struct Said {
    posted: Posted,
    /// That it was taken in another form.
    note: String,
}

impl SlackBot {
    /// Posts to `channel` by the web API at `api`, to each channel a few at once and then one each `interval`; with
    /// `conversations` into a thread for each subject.
    pub fn new(
        token: Secret,
        channel: String,
        api: &str,
        interval: Duration,
        conversations: Option<Box<dyn Conversations>>,
        client: Client,
    ) -> SlackBot {
        SlackBot {
            token,
            channel,
            api: api.trim_end_matches('/').to_owned(),
            client,
            rate: Rate { every: interval, burst: BURST },
            allowances: BTreeMap::new(),
            conversations,
            unkept: None,
        }
    }

    fn tell(&mut self, parcels: &[Parcel]) -> Result<Outcome, Outcome> {
        let Some(first) = parcels.first() else { return Ok(done("nothing to tell".to_owned(), 0)) };
        let asked = first.channel.as_deref().unwrap_or_default();
        match &first.subject {
            // What happens on a branch that no pull request has goes on for ever: in a thread nobody would see it.
            Some(subject) if self.conversations.is_some() && first.event.on_branch().as_ref() != Some(subject) => {
                self.keep_rest()?;
                self.tell_in_thread(Matter { parcels, source: &first.event.source, subject, asked, told: "" })
            }
            _ => {
                let said = self.say(POST, &[("channel", self.meant(asked))], &Message::of(parcels));
                Ok(done(said.map_err(|refusal| refusal.outcome(asked))?.receipt(), parcels.len()))
            }
        }
    }

    fn tell_in_thread(&mut self, matter: Matter<'_>) -> Result<Outcome, Outcome> {
        let Matter { parcels, source, subject, asked, .. } = matter;
        let Some(mut known) = self.find(source, subject, asked)? else { return self.begin(matter, Thread::default()) };
        let mut thread = Thread::read(&known.state);
        // A bundle may have grown since it was told, or come back in parts.
        let told = known.last.clone();
        let matter = Matter { told: &told, ..matter };
        let rest: Vec<Parcel> = parcels.iter().filter(|parcel| !is_among(&told, parcel)).cloned().collect();
        let rest = rest.as_slice();
        let mut receipt = joined(&known, &thread);
        let mut alone = None;
        if let Some(next) = rest.first() {
            let is_elsewhere = !thread.meant.is_empty() && thread.meant != self.meant(asked);
            let is_old = next.received.since(known.touched) > UNTOUCHED_MAX;
            let matter_left = Matter { parcels: rest, ..matter };
            if thread.ends_before(subject, next) {
                return self.begin(matter_left, Thread::default());
            }
            if is_elsewhere || is_old {
                return self.begin(matter_left, thread);
            }
            thread.fold(rest);
            let place = [("channel", known.channel.as_str()), ("thread_ts", &known.ts)];
            let message = Message::in_thread(rest);
            let said = match self.say(POST, &place, &message) {
                Ok(said) => said,
                // The channel may have been made anew under its name; if it is at fault itself, the next call says so.
                Err(gone) if matches!(gone.at_fault, AtFault::Gone | AtFault::Channel) => {
                    return self.begin(matter_left, thread);
                }
                Err(refusal) => return Err(refusal.outcome(asked)),
            };
            thread.joined.clone_from(&said.posted.ts);
            receipt = joined(&known, &thread) + &said.note;
            touch(&mut known, rest);
            self.keep(&mut known, &thread)?;
            alone = said.posted.is_alone.then_some((said.posted, message));
        }

        let before = thread.clone();
        let is_behind = thread.shown != thread.state.line(subject).unwrap_or_default();
        // Without the opening the message could only be made anew by losing it.
        if (is_behind || alone.is_some()) && !thread.opening.is_empty() {
            match (self.update(matter, &known, &mut thread)?, alone) {
                (Updated::Yes, _) => {}
                (Updated::No(why), _) => receipt.push_str(&format!("; its first message stays as it is: {why}")),
                // What was told now stands in the channel, and is the first message from now on.
                (Updated::Gone, Some((posted, message))) => {
                    receipt = format!("{}/{}", posted.channel, posted.ts);
                    known.ts.clone_from(&posted.ts);
                    open(&mut thread, &message);
                    self.keep(&mut known, &thread)?;
                    self.update(matter, &known, &mut thread)?;
                }
                (Updated::Gone, None) => {
                    let parcels = if rest.is_empty() { parcels } else { rest };
                    return self.begin(Matter { parcels, ..matter }, thread);
                }
            }
        }
        if let Some(why) = self.react(&known, &mut thread)? {
            receipt.push_str(&format!("; its reaction stays as it is: {why}"));
        }
        if thread != before {
            self.keep(&mut known, &thread)?;
        }
        Ok(done(receipt, parcels.len()))
    }

    /// Begins a conversation, or begins it again with what is known: its first message is gone, too old, or elsewhere.
    fn begin(&mut self, matter: Matter<'_>, mut thread: Thread) -> Result<Outcome, Outcome> {
        let Matter { parcels, source, subject, asked, told } = matter;
        thread.fold(parcels);
        open(&mut thread, &Message::in_thread(parcels));
        // It is said by the message itself.
        thread.reacted = thread.state.reaction().unwrap_or_default().to_owned();
        self.meant(asked).clone_into(&mut thread.meant);
        let (line, message) = parent(subject, &thread);
        let said = self.say(POST, &[("channel", self.meant(asked))], &message);
        let said = said.map_err(|refusal| refusal.outcome(asked))?;
        let Posted { channel, ts, .. } = &said.posted;
        // Whoever does not say where the message is cannot be answered to.
        if !channel.is_empty() && !ts.is_empty() {
            thread.shown = line;
            thread.joined.clone_from(ts);
            let mut conversation = Conversation {
                source: source.to_owned(),
                subject: subject.to_owned(),
                asked: asked.to_owned(),
                channel: channel.clone(),
                ts: ts.clone(),
                last: told.to_owned(),
                state: String::new(),
                touched: Timestamp::from_ms(0),
            };
            touch(&mut conversation, parcels);
            self.keep(&mut conversation, &thread)?;
        }
        Ok(done(said.receipt(), parcels.len()))
    }

    /// Lets the first message say how things stand.
    fn update(&self, matter: Matter<'_>, known: &Conversation, thread: &mut Thread) -> Result<Updated, Outcome> {
        let (line, message) = parent(matter.subject, thread);
        let place = [("channel", known.channel.as_str()), ("ts", &known.ts)];
        let refusal = match self.say(UPDATE, &place, &message) {
            Ok(_) => {
                thread.shown = line;
                return Ok(Updated::Yes);
            }
            Err(refusal) => refusal,
        };
        match refusal.at_fault {
            AtFault::Gone => Ok(Updated::Gone),
            AtFault::Now | AtFault::Token
                if refusal.is_rate_limit() || matter.parcels.iter().all(|parcel| parcel.tried < UPDATE_TRIES) =>
            {
                Err(refusal.outcome(matter.asked))
            }
            // Since it does not show its line, the next event tries again.
            AtFault::Now | AtFault::Token => Ok(Updated::No(refusal.why().to_owned())),
            // The event was told; a first message that cannot be changed (`cant_update_message`,
            // `edit_window_closed`) is no reason to tell it again. The next line is tried again.
            AtFault::Channel | AtFault::Form | AtFault::Other => {
                thread.shown = line;
                Ok(Updated::No(refusal.why().to_owned()))
            }
        }
    }

    /// Says by a reaction how it ended, once, and takes back what it said before; or why that cannot be.
    fn react(&self, known: &Conversation, thread: &mut Thread) -> Result<Option<String>, Outcome> {
        let wanted = thread.state.reaction().unwrap_or_default();
        if wanted == thread.reacted {
            return Ok(None);
        }
        let mut why = None;
        for (method, name, is_so) in
            [("reactions.remove", thread.reacted.as_str(), "no_reaction"), ("reactions.add", wanted, "already_reacted")]
        {
            if name.is_empty() {
                continue;
            }
            let place = [("channel", known.channel.as_str()), ("timestamp", &known.ts), ("name", name)];
            match self.call(method, &at(&place, Value::Null)) {
                Reply::Refused(refusal) if refusal.is_rate_limit() => return Err(refusal.outcome("")),
                // The next event tries again: this one was told.
                Reply::Refused(refusal) if refusal.at_fault == AtFault::Now => {
                    return Ok(Some(refusal.why().to_owned()));
                }
                // Without the scope reactions:write all else is as it should be.
                Reply::Refused(refusal) if refusal.code != is_so => why = Some(refusal.why().to_owned()),
                Reply::Refused(_) | Reply::Done(_) => {}
            }
        }
        wanted.clone_into(&mut thread.reacted);
        Ok(why)
    }

    /// Posts or changes a message, in the form that Slack takes.
    fn say(&self, method: &str, place: &[(&str, &str)], message: &Message) -> Result<Said, Refusal> {
        let arguments = |mut form: Value| {
            // Not an argument of `chat.update`.
            if let (UPDATE, Some(form)) = (method, form.as_object_mut()) {
                form.remove("unfurl_links");
            }
            at(place, form)
        };
        let (reply, note) = match self.call(method, &arguments(message.blocks())) {
            // A plain message is better than none, and its receipt tells that the blocks need a look.
            Reply::Refused(Refusal { code, at_fault: AtFault::Form, .. }) => {
                (self.call(method, &arguments(message.plain())), format!(" (as plain text after {code})"))
            }
            reply => (reply, String::new()),
        };
        match reply {
            Reply::Done(posted) => Ok(Said { posted, note }),
            Reply::Refused(refusal) => Err(refusal),
        }
    }

    /// Whether the token is good, and whose it is. Whether the bot may post in its channel only posting tells.
    pub fn probe(&self) -> Probe {
        let answer = match self.ask("auth.test", &Value::Object(Map::new())) {
            Ok(answer) => answer,
            Err(refusal) => return refusal.outcome("").into(),
        };
        let outcome = match answer::reply(answer.status, &answer.body, answer.retry_after) {
            Reply::Done(_) => {
                let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let name = |key: &str| harmless(said[key].as_str().unwrap_or("(unnamed)"), NAME_CHARS_MAX);
                return Probe::done(format!("the token is good: {} in {}", name("user"), name("team")), answer.date);
            }
            Reply::Refused(refusal) => refusal.outcome(""),
        };
        Probe { outcome, date: answer.date }
    }

    fn call(&self, method: &str, arguments: &Value) -> Reply {
        match self.ask(method, arguments) {
            Ok(Answer { status, body, retry_after, .. }) => answer::reply(status, &body, retry_after),
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// Asks once. Neither a failure nor a body that leaves here contains the token.
    fn ask(&self, method: &str, arguments: &Value) -> Result<Answer, Refusal> {
        let token = self.token.expose();
        let bearer = format!("Bearer {token}");
        // Its last part is the secret one.
        let secret = token.rsplit('-').next().unwrap_or_default();
        let without_token = |text: &str| without(&without(text, token), secret);
        let url = format!("{}/{method}", self.api);
        let headers = [("Authorization", bearer.as_str())];
        match self.client.post(&url, CONTENT_TYPE, &headers, arguments.to_string().as_bytes()) {
            Ok(answer) => Ok(Answer { body: without_token(&answer.body), ..answer }),
            Err(failure) => {
                // What comes again then carries the same reference.
                let doubt = if failure.may_have_arrived() { " (the message may have arrived)" } else { "" };
                Err(Refusal::unanswered(&without_token(&format!("{failure}{doubt}"))))
            }
        }
    }

    /// The channel as it is named in the configuration.
    fn meant<'a>(&'a self, asked: &'a str) -> &'a str {
        if asked.is_empty() { &self.channel } else { asked }
    }

    fn find(&self, source: &str, subject: &str, asked: &str) -> Result<Option<Conversation>, Outcome> {
        let found = self.conversations.iter().map(|all| all.find(source, subject, asked)).next();
        found.unwrap_or(Ok(None)).map_err(ours)
    }

    fn keep(&mut self, conversation: &mut Conversation, thread: &Thread) -> Result<(), Outcome> {
        conversation.state = thread.write();
        self.unkept = Some(conversation.clone());
        self.keep_rest()
    }

    /// Keeps what could not be kept before, so that it is not told again.
    fn keep_rest(&mut self) -> Result<(), Outcome> {
        if let (Some(conversation), Some(all)) = (&self.unkept, &self.conversations) {
            all.keep(conversation).map_err(ours)?;
        }
        self.unkept = None;
        Ok(())
    }
}

/// What became of the first message.
enum Updated {
    Yes,
    /// It cannot be changed, or not for now.
    No(String),
    Gone,
}

impl Sink for SlackBot {
    fn take_turn(&mut self, parcel: &Parcel, now: Instant) -> Result<(), Duration> {
        let channel = parcel.channel.as_deref().unwrap_or_default();
        if self.allowances.len() >= CHANNELS_MAX && !self.allowances.contains_key(channel) {
            // Who has rested is as good as unknown. Slack's own limit stands behind this one.
            self.allowances.retain(|_, allowance| allowance.even_at().is_some_and(|even_at| even_at > now));
            if self.allowances.len() >= CHANNELS_MAX {
                self.allowances.pop_first();
            }
        }
        self.allowances.entry(channel.to_owned()).or_default().take(self.rate, now)
    }

    /// At most eight posts.
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.deliver_bundle(Bundle { parcels: slice::from_ref(parcel) })
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        match self.tell(bundle.parcels) {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }
}

impl Said {
    fn receipt(&self) -> String {
        format!("{}/{}{}", self.posted.channel, self.posted.ts, self.note)
    }
}

/// The receipt of what joined last; what began the conversation is in no thread.
fn joined(known: &Conversation, thread: &Thread) -> String {
    let Conversation { channel, ts, .. } = known;
    match thread.joined.as_str() {
        joined if joined.is_empty() || joined == ts => format!("{channel}/{ts}"),
        joined => format!("{channel}/{joined} in thread of {ts}"),
    }
}

/// Notes that these have joined.
fn touch(conversation: &mut Conversation, parcels: &[Parcel]) {
    let Conversation { last, touched, .. } = conversation;
    let new = parcels.iter().filter(|parcel| !is_among(last, parcel)).map(|parcel| parcel.reference.as_str());
    let told: Vec<&str> = last.split_ascii_whitespace().chain(new).collect();
    let told = told[told.len().saturating_sub(TOLD_MAX)..].join(" ");
    *last = told;
    // By when they came: what is told late is no younger for it.
    *touched = parcels.iter().map(|parcel| parcel.received).fold(*touched, Timestamp::max);
}

/// Whether this is among what was told, as [`Conversation::last`] has it.
fn is_among(told: &str, parcel: &Parcel) -> bool {
    told.split_ascii_whitespace().any(|reference| reference == parcel.reference)
}

/// From now on this is what the first message says below its line, and it does not show that line yet.
fn open(thread: &mut Thread, message: &Message) {
    message.body().clone_into(&mut thread.opening);
    message.footer().clone_into(&mut thread.footer);
    thread.shown = String::new();
}

/// The first line, and the first message with it.
fn parent(subject: &str, thread: &Thread) -> (String, Message) {
    let line = thread.state.line(subject);
    (line.clone().unwrap_or_default(), Message::parent(line, &thread.opening, &thread.footer))
}

/// A call's arguments: the place and what goes there.
fn at(place: &[(&str, &str)], what: Value) -> Value {
    let mut arguments = match what {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    arguments.extend(place.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
    Value::Object(arguments)
}

fn done(receipt: String, count: usize) -> Outcome {
    Outcome::Done { receipt: Some(receipt_of(receipt, count)) }
}

/// Slack is well; it is we who cannot go on.
fn ours(why: String) -> Outcome {
    Outcome::Retry { reason: why, pause: None, fault: Fault::Busy }
}

#[cfg(test)]
mod tests;
