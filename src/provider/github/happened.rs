//! What happened in a repository, as GitHub's list of events tells it, made into the webhook delivery that it stands for: one
//! normaliser reads both. Owns what is filled in where the list says less; refuses to ask for more.
//!
//! Since 7 October 2025 an entry has less in it than a delivery: a pull request has no title, no link, no author and no
//! `merged`, and a push has no commits (github.blog, "Upcoming changes to GitHub Events API payloads"). What follows from the
//! rest is filled in, and nothing else is. Source of the names: docs.github.com, "GitHub event types".

use serde_json::{Map, Value, json};

use super::{DELIVERY, EVENT};
use crate::{headers::Headers, time::Timestamp};

/// An entry of the list as a request.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The header fields that a webhook would have, but for the signature.
    pub headers: Headers,
    /// The payload that a webhook would have.
    pub body: Vec<u8>,
    /// What the delivery calls itself.
    pub delivery: String,
    /// When it happened, by GitHub's clock.
    pub at: Timestamp,
}

/// GitHub's id of an entry.
pub fn id(entry: &Value) -> Option<&str> {
    entry["id"].as_str().filter(|id| !id.is_empty() && id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Makes an entry of the list a webhook's request.
///
/// # Errors
/// What it lacks.
pub fn as_webhook(entry: &Value) -> Result<Happened, String> {
    let id = id(entry).ok_or("it has no id")?;
    let at = entry["created_at"].as_str().and_then(Timestamp::parse).ok_or("it does not say when it happened")?;
    let kind = entry["type"].as_str().unwrap_or_default();
    let event = event(kind).ok_or_else(|| format!("{kind:.80?} is no name of an event"))?;
    // Ids are counted apart for those that change a branch and for the rest, so that one number can be two entries.
    let delivery = format!("event-{id}-{event}");
    let mut body = match &entry["payload"] {
        Value::Object(payload) => payload.clone(),
        _ => return Err("it has no payload".to_owned()),
    };
    surround(&mut body, entry);
    complete(&event, &mut body);
    let mut headers = Headers::new();
    headers.push("Content-Type", b"application/json");
    headers.push(EVENT, event.as_bytes());
    headers.push(DELIVERY, delivery.as_bytes());
    Ok(Happened { headers, body: Value::Object(body).to_string().into_bytes(), delivery, at })
}

/// What webhooks call it: `PullRequestEvent` is `pull_request`. A star is one of the two for which the list has a name of
/// its own.
fn event(kind: &str) -> Option<String> {
    match kind {
        "WatchEvent" => return Some("star".to_owned()),
        "" => return None,
        _ => {}
    }
    let name = kind.strip_suffix("Event").filter(|name| !name.is_empty()).unwrap_or(kind);
    if name.len() > 80 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    Some(snake)
}

/// Who, where and for whom: what stands around the payload here and in it there.
fn surround(body: &mut Map<String, Value>, entry: &Value) {
    let name = entry["repo"]["name"].as_str().unwrap_or_default();
    let mut repository = json!({ "full_name": name });
    if let Some(site) = site(entry["repo"]["url"].as_str().unwrap_or_default()).filter(|_| !name.is_empty()) {
        repository["html_url"] = format!("{site}/{name}").into();
    }
    fill(body, "repository", repository);
    fill(body, "sender", json!({ "login": entry["actor"]["login"] }));
    if let Some(login) = entry["org"]["login"].as_str() {
        fill(body, "organization", json!({ "login": login }));
    }
}

/// Where people look at what an address of the interface is about: of `https://api.github.com/repos/acme/api`, and of a
/// server of one's own `https://code.example.com/api/v3/repos/acme/api`.
fn site(url: &str) -> Option<String> {
    let (base, _) = url.split_once("/repos/")?;
    let (scheme, rest) = base.split_once("://")?;
    let host = rest.strip_suffix("/api/v3").unwrap_or_else(|| rest.strip_prefix("api.").unwrap_or(rest));
    (!host.is_empty()).then(|| format!("{scheme}://{host}"))
}

/// Fills in what a delivery of that event has, where it follows from the rest.
fn complete(event: &str, body: &mut Map<String, Value>) {
    let page = body["repository"]["html_url"].as_str().unwrap_or_default().to_owned();
    let actor = body["sender"]["login"].clone();
    let action = body.get("action").and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = body.get("number").cloned();
    let mut act = |now: &str| {
        body.insert("action".to_owned(), now.into());
    };
    match (event, action.as_str()) {
        ("star", "started") => act("created"),
        ("pull_request", "merged") => act("closed"),
        ("pull_request_review", "created") => act("submitted"),
        ("pull_request_review", "updated") => act("edited"),
        _ => {}
    }
    if let Some(pull) = object(body, "pull_request") {
        numbered(pull, number.as_ref(), "pull request", &page, "pull");
        for side in ["head", "base"] {
            named(pull.get_mut(side).and_then(|side| side.get_mut("repo")));
        }
        match (event, action.as_str()) {
            ("pull_request", "merged") => {
                pull.insert("merged".to_owned(), true.into());
                fill(pull, "merged_by", json!({ "login": actor }));
            }
            ("pull_request", "opened") => fill(pull, "user", json!({ "login": actor })),
            _ => {}
        }
    }
    if let Some(issue) = object(body, "issue") {
        numbered(issue, None, "issue", &page, "issues");
        if (event, action.as_str()) == ("issues", "opened") {
            fill(issue, "user", json!({ "login": actor }));
        }
    }
    if let Some(discussion) = object(body, "discussion") {
        numbered(discussion, None, "discussion", &page, "discussions");
    }
    match event {
        "pull_request_review" => {
            if let Some(review) = object(body, "review") {
                fill(review, "user", json!({ "login": actor }));
            }
        }
        "fork" => named(body.get_mut("forkee")),
        "push" => push(body, &page, &actor),
        _ => {}
    }
}

/// The bones of a push. Its commits are not to be had, so there is no list of them; a server that still lists them has what a
/// delivery calls the head's.
fn push(body: &mut Map<String, Value>, page: &str, actor: &Value) {
    let sha = |body: &Map<String, Value>, key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_none = |sha: &str| !sha.is_empty() && sha.bytes().all(|byte| byte == b'0');
    fill(body, "pusher", json!({ "name": actor }));
    let (before, after) = (sha(body, "before").unwrap_or_default(), sha(body, "head").unwrap_or_default());
    if after.is_empty() {
        return;
    }
    fill(body, "after", after.as_str().into());
    fill(body, "created", is_none(&before).into());
    fill(body, "deleted", is_none(&after).into());
    let message = body.get("commits").and_then(Value::as_array).and_then(|commits| commits.last()?.get("message"));
    let head = json!({ "id": after, "message": message });
    fill(body, "head_commit", head);
    let is_plain = |sha: &str| !sha.is_empty() && sha.bytes().all(|byte| byte.is_ascii_hexdigit()) && !is_none(sha);
    if !page.is_empty() && is_plain(&before) && is_plain(&after) {
        fill(body, "compare", format!("{page}/compare/{before}...{after}").into());
    }
}

/// Number, link and a title where there is none: `pull request #5`.
fn numbered(about: &mut Map<String, Value>, number: Option<&Value>, what: &str, page: &str, folder: &str) {
    if let Some(number) = number {
        fill(about, "number", number.clone());
    }
    let Some(number) = about.get("number").and_then(Value::as_i64) else { return };
    fill(about, "title", format!("{what} #{number}").into());
    if !page.is_empty() {
        fill(about, "html_url", format!("{page}/{folder}/{number}").into());
    }
}

/// A repository's full name by its address, without which a fork could not be told from what it was forked from; and its page.
fn named(repository: Option<&mut Value>) {
    let Some(Value::Object(repository)) = repository else { return };
    let url = repository.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some((_, name)) = url.split_once("/repos/") {
        fill(repository, "full_name", name.into());
        if let Some(site) = site(&url) {
            fill(repository, "html_url", format!("{site}/{name}").into());
        }
    }
}

/// Where it is absent.
fn fill(object: &mut Map<String, Value>, key: &str, value: Value) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.to_owned(), value);
    }
}

fn object<'v>(body: &'v mut Map<String, Value>, key: &str) -> Option<&'v mut Map<String, Value>> {
    body.get_mut(key).and_then(Value::as_object_mut)
}

/// When that happened which a webhook's delivery tells, where its payload says so: what it took to get here is known then.
pub fn happened_at(event: &str, body: &[u8]) -> Option<Timestamp> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let at = match (event, body["action"].as_str().unwrap_or_default()) {
        ("push", _) => return body["repository"]["pushed_at"].as_i64()?.checked_mul(1000).map(Timestamp::from_ms),
        ("star", "created") => &body["starred_at"],
        ("fork", _) => &body["forkee"]["created_at"],
        ("issues", "opened") => &body["issue"]["created_at"],
        ("issues", "closed") => &body["issue"]["closed_at"],
        ("pull_request", "opened") => &body["pull_request"]["created_at"],
        ("pull_request", "closed") => &body["pull_request"]["closed_at"],
        ("issue_comment" | "pull_request_review_comment" | "commit_comment", "created") => {
            &body["comment"]["created_at"]
        }
        ("pull_request_review", "submitted") => &body["review"]["submitted_at"],
        ("discussion", "created") => &body["discussion"]["created_at"],
        ("release", "published") => &body["release"]["published_at"],
        ("workflow_run", "completed") => &body["workflow_run"]["updated_at"],
        _ => return None,
    };
    at.as_str().and_then(Timestamp::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::Event,
        provider::{Context, Normalised, Options, Provider},
    };

    fn entry(kind: &str, payload: Value) -> Value {
        json!({
            "id": "6047215355", "type": kind, "public": true, "created_at": "2026-01-25T10:35:09Z", "payload": payload,
            "actor": { "id": 1, "login": "ada", "display_login": "ada" },
            "repo": { "id": 2, "name": "acme/api", "url": "https://api.github.com/repos/acme/api" },
            "org": { "id": 3, "login": "acme" },
        })
    }

    fn made(kind: &str, payload: Value) -> (String, Value, Normalised) {
        let made = as_webhook(&entry(kind, payload)).unwrap();
        let event = made.headers.text("X-GitHub-Event").unwrap().to_owned();
        let context = Context { provider: Provider::GitHub, source: "github", options: &Options::NONE };
        let normalised = crate::provider::normalise(&context, &event, &made.headers, &made.body);
        (event, serde_json::from_slice(&made.body).unwrap(), normalised)
    }

    fn told(kind: &str, payload: Value) -> Event {
        match made(kind, payload).2 {
            Normalised::Events(mut events) if events.len() == 1 => events.remove(0),
            other => panic!("{kind}: {other:?}"),
        }
    }

    /// A pull request as the list has it since October 2025.
    fn pull(from: &str) -> Value {
        let of = |name: &str| json!({ "id": 4, "name": "api", "url": format!("https://api.github.com/repos/{name}") });
        json!({
            "id": 3_208_154_824_i64, "number": 3, "url": "https://api.github.com/repos/acme/api/pulls/3",
            "head": { "ref": "main", "sha": "b18c", "repo": of(from) },
            "base": { "ref": "main", "sha": "9a46", "repo": of("acme/api") },
        })
    }

    #[test]
    fn an_entry_is_called_as_a_webhook_calls_it() {
        for (kind, expected) in [
            ("PushEvent", "push"),
            ("PullRequestEvent", "pull_request"),
            ("PullRequestReviewEvent", "pull_request_review"),
            ("PullRequestReviewCommentEvent", "pull_request_review_comment"),
            ("PullRequestReviewThreadEvent", "pull_request_review_thread"),
            ("IssuesEvent", "issues"),
            ("IssueCommentEvent", "issue_comment"),
            ("CommitCommentEvent", "commit_comment"),
            ("WatchEvent", "star"),
            ("ForkEvent", "fork"),
            ("ReleaseEvent", "release"),
            ("CreateEvent", "create"),
            ("DeleteEvent", "delete"),
            ("MemberEvent", "member"),
            ("PublicEvent", "public"),
            ("DiscussionEvent", "discussion"),
            ("GollumEvent", "gollum"),
            ("SponsorshipEvent", "sponsorship"),
            ("Event", "event"),
        ] {
            let (event, body, _) = made(kind, json!({}));
            assert_eq!(event, expected, "{kind}");
            assert_eq!(body["repository"]["full_name"], "acme/api", "{kind}");
            assert_eq!(body["repository"]["html_url"], "https://github.com/acme/api", "{kind}");
            assert_eq!((&body["sender"]["login"], &body["organization"]["login"]), (&json!("ada"), &json!("acme")));
        }
    }

    #[test]
    fn an_entry_is_one_delivery() {
        let made = as_webhook(&entry("PushEvent", json!({ "push_id": 30_093_697_897_i64 }))).unwrap();
        assert_eq!(made.headers.text("X-GitHub-Delivery"), Some("event-6047215355-push"));
        assert_eq!(made.delivery, "event-6047215355-push");
        assert_eq!(made.at.to_string(), "2026-01-25T10:35:09.000Z");
        let body: Value = serde_json::from_slice(&made.body).unwrap();
        assert_eq!(body["push_id"], 30_093_697_897_i64);
    }

    #[test]
    fn what_is_no_entry_is_not_made_one() {
        let broken = |key: &str, value: Value| {
            let mut entry = entry("PushEvent", json!({}));
            entry[key] = value;
            as_webhook(&entry).unwrap_err()
        };
        assert_eq!(broken("id", Value::Null), "it has no id");
        assert_eq!(broken("id", json!("6047 \n")), "it has no id");
        assert_eq!(broken("created_at", json!("yesterday")), "it does not say when it happened");
        assert_eq!(broken("payload", json!([])), "it has no payload");
        assert!(broken("type", json!("a b\r\n")).contains("no name of an event"));
        assert!(broken("type", Value::Null).contains("no name of an event"));
        for odd in [Value::Null, json!([]), json!("x"), json!(5)] {
            assert!(as_webhook(&odd).is_err(), "{odd}");
        }
        // Whatever the payload has in it, nothing breaks.
        for odd in [json!(null), json!([]), json!("x"), json!(5), json!({ "number": "x", "repo": 5, "head": [] })] {
            for kind in [
                "PullRequestEvent",
                "IssuesEvent",
                "DiscussionEvent",
                "ForkEvent",
                "PullRequestReviewEvent",
                "PushEvent",
            ] {
                made(
                    kind,
                    json!({
                        "pull_request": odd, "issue": odd, "discussion": odd, "forkee": odd, "review": odd, "commits": odd,
                        "head": odd, "before": odd, "action": odd, "repository": odd, "sender": odd,
                    }),
                );
            }
        }
    }

    #[test]
    fn a_pull_request_of_which_only_the_number_is_known() {
        let event = |action: &str| {
            told("PullRequestEvent", json!({ "action": action, "number": 3, "pull_request": pull("acme/api") }))
        };
        let merged = event("merged");
        assert_eq!((merged.kind.as_str(), merged.title.as_str()), ("pr_merged", "pull request #3"));
        assert_eq!(merged.url.as_deref(), Some("https://github.com/acme/api/pull/3"));
        assert_eq!((merged.actor.as_str(), merged.subject.as_deref()), ("ada", Some("acme/api#3")));
        assert_eq!(merged.extra["head_branch"].to_string(), "main");
        let opened = event("opened");
        assert_eq!((opened.kind.as_str(), opened.extra["author"].to_string()), ("pr_opened", "ada".to_owned()));
        let closed = event("closed");
        assert_eq!(
            (closed.kind.as_str(), closed.extra.get("author")),
            ("pr_closed", None),
            "who closes need not have opened"
        );
        assert_eq!(event("reopened").kind, "pr_reopened");
        let forked =
            told("PullRequestEvent", json!({ "action": "opened", "number": 3, "pull_request": pull("eve/api") }));
        assert_eq!(forked.extra["head_branch"].to_string(), "eve:main");
    }

    #[test]
    fn what_an_entry_says_stays() {
        let mut whole = pull("acme/api");
        whole["title"] = json!("Add a lamp");
        whole["html_url"] = json!("https://code.example.com/acme/api/pull/3");
        whole["merged"] = json!(true);
        whole["merged_by"] = json!({ "login": "otto" });
        let event = told("PullRequestEvent", json!({ "action": "closed", "number": 3, "pull_request": whole }));
        assert_eq!(
            (event.kind.as_str(), event.title.as_str(), event.actor.as_str()),
            ("pr_merged", "Add a lamp", "otto")
        );
        assert_eq!(event.url.as_deref(), Some("https://code.example.com/acme/api/pull/3"));
    }

    #[test]
    fn reviews_and_comments() {
        let review = |state: &str, body: Value| {
            json!({ "action": "created", "pull_request": pull("acme/api"),
            "review": { "id": 7, "state": state, "body": body, "user": { "login": "otto" } } })
        };
        let approved = told("PullRequestReviewEvent", review("approved", Value::Null));
        assert_eq!((approved.kind.as_str(), approved.title.as_str()), ("pr_approved", "pull request #3"));
        assert_eq!(approved.url.as_deref(), Some("https://github.com/acme/api/pull/3"));
        assert_eq!(approved.extra["reviewer"].to_string(), "otto");
        assert_eq!(told("PullRequestReviewEvent", review("commented", json!("hm"))).kind, "pr_commented");
        assert!(matches!(made("PullRequestReviewEvent", review("commented", Value::Null)).2, Normalised::Skipped(_)));
        let mut dismissed = review("approved", Value::Null);
        dismissed["action"] = json!("dismissed");
        assert!(matches!(made("PullRequestReviewEvent", dismissed).2, Normalised::Skipped(_)));
        let comment = json!({ "action": "created", "pull_request": pull("acme/api"),
            "comment": { "html_url": "https://github.com/acme/api/pull/3#discussion_r1" } });
        let comment = told("PullRequestReviewCommentEvent", comment);
        assert_eq!(comment.url.as_deref(), Some("https://github.com/acme/api/pull/3#discussion_r1"));
        let issue = json!({ "action": "created", "issue": { "number": 9, "title": "It is dark" }, "comment": {} });
        let issue = told("IssueCommentEvent", issue);
        assert_eq!((issue.kind.as_str(), issue.title.as_str()), ("issue_commented", "It is dark"));
        assert_eq!(issue.url.as_deref(), Some("https://github.com/acme/api/issues/9"));
    }

    #[test]
    fn a_push_whose_commits_are_not_told() {
        let (before, head) = ("b18c41491c22486ef43c443f931138e969a2e358", "dbcad646933a590e6677d34ec6f03c07ca036e0a");
        let none = "0".repeat(40);
        let push = |name: &str, before: &str, head: &str| json!({ "repository_id": 2, "push_id": 1, "ref": name, "head": head, "before": before });
        let event = told("PushEvent", push("refs/heads/main", before, head));
        assert_eq!(
            (event.kind.as_str(), event.title.as_str(), event.actor.as_str()),
            ("push", "now at dbcad64", "ada")
        );
        assert_eq!(event.subject.as_deref(), Some("acme/api@main"));
        assert_eq!(event.url, Some(format!("https://github.com/acme/api/compare/{before}...{head}")));
        assert_eq!((event.extra["sha"].to_string().as_str(), event.extra.get("commits")), (head, None));
        let skipped = |payload: Value| match made("PushEvent", payload).2 {
            Normalised::Skipped(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(skipped(push("refs/tags/v1", before, head)).contains("a tag"));
        assert!(skipped(push("refs/heads/main", before, &none)).contains("deleted"));
        assert!(skipped(push("refs/heads/main", &none, head)).contains("the create event"));
        // A server of one's own still lists them.
        let mut listed = push("refs/heads/main", before, head);
        listed["size"] = json!(30);
        listed["commits"] = json!([{ "sha": "a", "message": "First" }, { "sha": head, "message": "Second\n\nMore" }]);
        assert_eq!(told("PushEvent", listed).title, "2+ commits: Second");
    }

    #[test]
    fn everything_else_that_is_told() {
        let check = |kind: &str, payload: Value, expected: [&str; 3]| {
            let event = told(kind, payload);
            assert_eq!([&event.kind, &event.title, event.url.as_deref().unwrap_or_default()], expected, "{kind}");
        };
        let page = "https://github.com/acme/api";
        check("WatchEvent", json!({ "action": "started" }), ["repo_starred", "acme/api", page]);
        check(
            "ForkEvent",
            json!({ "action": "forked", "forkee": { "id": 5, "url": "https://api.github.com/repos/eve/api" } }),
            ["repo_forked", "eve/api", "https://github.com/eve/api"],
        );
        check(
            "IssuesEvent",
            json!({ "action": "opened", "issue": { "number": 663, "title": "It is dark",
                "html_url": "https://github.com/acme/api/issues/663" } }),
            ["issue_opened", "It is dark", "https://github.com/acme/api/issues/663"],
        );
        check(
            "ReleaseEvent",
            json!({ "action": "published", "release": { "tag_name": "v7.1.1", "name": "",
                "html_url": "https://github.com/acme/api/releases/tag/v7.1.1" } }),
            ["release_published", "v7.1.1", "https://github.com/acme/api/releases/tag/v7.1.1"],
        );
        check(
            "CreateEvent",
            json!({ "ref": "work", "ref_type": "branch", "full_ref": "refs/heads/work", "pusher_type": "user" }),
            ["branch_created", "work", "https://github.com/acme/api/tree/work"],
        );
        check("DeleteEvent", json!({ "ref": "work", "ref_type": "branch" }), ["branch_deleted", "work", page]);
        check("MemberEvent", json!({ "action": "added", "member": { "login": "eve" } }), ["member_added", "eve", page]);
        check(
            "DiscussionEvent",
            json!({ "action": "created", "discussion": { "number": 12 } }),
            ["discussion_opened", "discussion #12", "https://github.com/acme/api/discussions/12"],
        );
    }

    #[test]
    fn where_people_look() {
        for (url, expected) in [
            ("https://api.github.com/repos/acme/api", Some("https://github.com")),
            ("https://api.acme.ghe.com/repos/acme/api", Some("https://acme.ghe.com")),
            ("https://code.example.com/api/v3/repos/acme/api", Some("https://code.example.com")),
            ("http://127.0.0.1:80/repos/acme/api", Some("http://127.0.0.1:80")),
            ("https://api.github.com/users/ada", None),
            ("", None),
        ] {
            assert_eq!(site(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn when_it_happened_where_a_webhook_says_so() {
        let at = |event: &str, body: Value| happened_at(event, body.to_string().as_bytes()).map(|at| at.seconds());
        let said = "2026-01-25T10:35:09Z";
        let seconds = Timestamp::parse(said).unwrap().seconds();
        assert_eq!(at("push", json!({ "repository": { "pushed_at": seconds } })), Some(seconds));
        assert_eq!(at("star", json!({ "action": "created", "starred_at": said })), Some(seconds));
        assert_eq!(at("issues", json!({ "action": "closed", "issue": { "closed_at": said } })), Some(seconds));
        for (event, action, body) in [
            ("fork", "", json!({ "forkee": { "created_at": said } })),
            ("issues", "opened", json!({ "issue": { "created_at": said } })),
            ("pull_request", "opened", json!({ "pull_request": { "created_at": said } })),
            ("pull_request", "closed", json!({ "pull_request": { "closed_at": said, "created_at": "" } })),
            ("issue_comment", "created", json!({ "comment": { "created_at": said } })),
            ("pull_request_review_comment", "created", json!({ "comment": { "created_at": said } })),
            ("commit_comment", "created", json!({ "comment": { "created_at": said } })),
            ("pull_request_review", "submitted", json!({ "review": { "submitted_at": said } })),
            ("discussion", "created", json!({ "discussion": { "created_at": said } })),
            ("release", "published", json!({ "release": { "published_at": said } })),
            ("workflow_run", "completed", json!({ "workflow_run": { "updated_at": said } })),
        ] {
            let mut body = body;
            body["action"] = json!(action);
            assert_eq!(at(event, body), Some(seconds), "{event} {action}");
        }
        assert_eq!(at("issues", json!({ "action": "labeled", "issue": { "closed_at": said } })), None);
        assert_eq!(at("release", json!({ "action": "published", "release": {} })), None);
        assert_eq!(happened_at("push", b"no JSON"), None);
    }
}
