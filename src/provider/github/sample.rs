//! GitHub's requests, of our own making: the shape of the documentation, the fields that are read here or that people
//! look at, and nothing copied.

use serde_json::{Value, json};

use crate::provider::sample::{Sample, guid, spread};
use crate::provider::signature::sign_sha256_hex;
use crate::secret::Secret;

use super::{DELIVERY, EVENT, SIGNATURE, SIGNATURE_PREFIX};

/// Names and what they show.
pub(in crate::provider) const LIST: &[(&str, &str)] = &[
    ("ping", "what GitHub sends when a webhook is made"),
    ("issue_opened", "somebody opens an issue"),
    ("issue_closed", "an issue is done"),
    ("issue_commented", "somebody comments on an issue"),
    ("pr_opened", "somebody opens a pull request"),
    ("pr_ready", "a draft becomes ready for review"),
    ("pr_review_requested", "a review is asked for"),
    ("pr_approved", "a review approves"),
    ("pr_changes_requested", "a review asks for changes"),
    ("pr_merged", "a pull request is merged"),
    ("pr_closed", "a pull request is closed without a merge"),
    ("repo_starred", "somebody stars the repository"),
    ("repo_unstarred", "somebody takes the star back, which is not told"),
    ("repo_forked", "somebody forks the repository"),
    ("push", "commits arrive on main"),
    ("branch_created", "a new branch"),
    ("release_published", "a release is out"),
    ("ci_failed", "a workflow fails on main"),
    ("ci_passed", "a workflow passes on main"),
    ("deployment_failed", "a deployment to production fails"),
    ("deployment_succeeded", "a deployment to production succeeds"),
    ("discussion_opened", "somebody starts a discussion"),
    ("security_alert", "Dependabot finds a weak dependency"),
    ("member_added", "a collaborator joins"),
];

const PEOPLE: &[&str] = &["ada-lights", "brass-otto", "cyan-mira", "dusk-walker", "renovating-robot[bot]"];
const TITLES: &[&str] = &[
    "Dim the desk lamp after sunset",
    "Retry the upload when the link drops",
    "Say which pin is already taken",
    "Keep the buzzer quiet at night",
    "Read the level from the second sensor",
    "Explain how to wire the button",
];
const REPOSITORY: &str = "acme/desk-lamp";
const HOME: &str = "https://github.com/acme/desk-lamp";

pub(in crate::provider) fn build(name: &str, salt: u64) -> Option<Sample> {
    let fresh = Fresh { salt };
    let (event_type, body) = payload(name, &fresh)?;
    Some(envelope(event_type, with_common(body, &fresh).to_string().into_bytes(), salt))
}

/// The head that GitHub sends, its signature excepted.
pub(in crate::provider) fn envelope(event_type: &str, body: Vec<u8>, salt: u64) -> Sample {
    let is_form = body.starts_with(b"payload=");
    let content_type = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    let headers = [
        ("Accept", "*/*".to_owned()),
        ("Content-Type", content_type.to_owned()),
        ("User-Agent", "GitHub-Hookshot/sample".to_owned()),
        (DELIVERY, guid(salt)),
        (EVENT, event_type.to_owned()),
        ("X-GitHub-Hook-ID", "4815162".to_owned()),
        ("X-GitHub-Hook-Installation-Target-ID", "901234".to_owned()),
        ("X-GitHub-Hook-Installation-Target-Type", "repository".to_owned()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Sample { event_type: event_type.to_owned(), headers, body }
}

pub(in crate::provider) fn sign(secret: &Secret, headers: &mut Vec<(String, String)>, body: &[u8]) {
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case(SIGNATURE));
    headers.push((SIGNATURE.to_owned(), format!("{SIGNATURE_PREFIX}{}", sign_sha256_hex(secret, &[body]))));
}

/// Values that follow from the salt.
struct Fresh {
    salt: u64,
}

impl Fresh {
    /// A number below `end`, another one for each `what`.
    fn below(&self, what: u64, end: u64) -> u64 {
        spread(self.salt ^ spread(what)) % end
    }

    fn pick(&self, what: u64, list: &[&'static str]) -> &'static str {
        list[usize::try_from(self.below(what, list.len() as u64)).unwrap_or(0)]
    }

    /// Fits a JavaScript number, as GitHub's ids do.
    fn id(&self) -> u64 {
        self.below(1, 1 << 52)
    }

    fn number(&self) -> u64 {
        1 + self.below(2, 9_000)
    }

    fn title(&self) -> &'static str {
        self.pick(3, TITLES)
    }

    fn person(&self, what: u64) -> Value {
        let login = self.pick(what, PEOPLE);
        let page = login.trim_end_matches("[bot]");
        json!({ "login": login, "id": 1000 + login.len(), "html_url": format!("https://github.com/{page}"),
            "type": if login.ends_with("[bot]") { "Bot" } else { "User" } })
    }

    fn sha(&self) -> String {
        format!("{:016x}{:016x}{:08x}", spread(self.salt), spread(!self.salt), self.below(4, 1 << 32))
    }

    fn issue(&self, state: &str) -> Value {
        let number = self.number();
        json!({ "id": self.id(), "number": number, "title": self.title(), "state": state,
            "html_url": format!("{HOME}/issues/{number}"), "user": self.person(6),
            "labels": [{ "name": "good first issue" }], "comments": self.below(7, 5),
            "body": "Seen on the second desk from the window." })
    }

    fn pull_request(&self, state: &str, draft: bool, merged: bool) -> Value {
        let number = self.number();
        let merged_by = if merged { self.person(5) } else { Value::Null };
        json!({ "id": self.id(), "number": number, "title": self.title(), "state": state, "draft": draft,
            "html_url": format!("{HOME}/pull/{number}"), "user": self.person(6),
            "labels": [{ "name": "enhancement" }], "merged": merged, "merged_by": merged_by,
            "head": { "ref": format!("work/{}", self.number()), "sha": self.sha() }, "base": { "ref": "main" },
            "additions": self.below(8, 400), "deletions": self.below(9, 200), "changed_files": 1 + self.below(10, 9) })
    }

    fn review(&self, state: &str, body: &str) -> Value {
        json!({ "id": self.id(), "state": state, "body": body, "user": self.person(5),
            "html_url": format!("{HOME}/pull/{}#pullrequestreview-{}", self.number(), self.id()) })
    }

    fn workflow_run(&self, conclusion: &str) -> Value {
        json!({ "id": self.id(), "name": "CI", "display_title": self.title(), "status": "completed",
            "conclusion": conclusion, "event": "push", "head_branch": "main", "head_sha": self.sha(),
            "head_repository": { "full_name": REPOSITORY }, "run_number": self.number(), "run_attempt": 1,
            "actor": self.person(5), "html_url": format!("{HOME}/actions/runs/{}", self.id()) })
    }

    fn deployment_status(&self, state: &str) -> Value {
        json!({
            "deployment_status": { "id": self.id(), "state": state, "environment": "production",
                "log_url": format!("{HOME}/actions/runs/{}", self.id()), "environment_url": "https://lamp.example.com" },
            "deployment": { "id": self.id(), "ref": "main", "sha": self.sha(), "environment": "production" },
        })
    }
}

/// The event's name and its own part of the payload.
fn payload(name: &str, fresh: &Fresh) -> Option<(&'static str, Value)> {
    let (number, id) = (fresh.number(), fresh.id());
    let pull = |action: &str, draft, merged| {
        let state = if action == "closed" { "closed" } else { "open" };
        json!({ "action": action, "number": number, "pull_request": fresh.pull_request(state, draft, merged) })
    };
    let review = |state: &str, body: &str| {
        json!({ "action": "submitted", "review": fresh.review(state, body),
            "pull_request": fresh.pull_request("open", false, false) })
    };
    let run = |conclusion: &str| json!({ "action": "completed", "workflow_run": fresh.workflow_run(conclusion), "workflow": { "name": "CI" } });
    let deployment = |state: &str| {
        let mut payload = fresh.deployment_status(state);
        payload["action"] = json!("created");
        payload
    };
    Some(match name {
        "ping" => (
            "ping",
            json!({ "zen": "A small light is still a light.", "hook_id": id,
            "hook": { "type": "Repository", "id": id, "active": true, "events": ["*"],
                "config": { "content_type": "json", "insecure_ssl": "0" } } }),
        ),
        "issue_opened" => ("issues", json!({ "action": "opened", "issue": fresh.issue("open") })),
        "issue_closed" => ("issues", json!({ "action": "closed", "issue": fresh.issue("closed") })),
        "issue_commented" => (
            "issue_comment",
            json!({ "action": "created", "issue": fresh.issue("open"),
            "comment": { "id": id, "body": "It happens here too.",
                "html_url": format!("{HOME}/issues/{number}#issuecomment-{id}") } }),
        ),
        "pr_opened" => ("pull_request", pull("opened", false, false)),
        "pr_ready" => ("pull_request", pull("ready_for_review", false, false)),
        "pr_review_requested" => ("pull_request", {
            let mut payload = pull("review_requested", false, false);
            payload["requested_reviewer"] = fresh.person(11);
            payload
        }),
        "pr_approved" => ("pull_request_review", review("approved", "Works on my desk.")),
        "pr_changes_requested" => ("pull_request_review", review("changes_requested", "The pin is still driven.")),
        "pr_merged" => ("pull_request", pull("closed", false, true)),
        "pr_closed" => ("pull_request", pull("closed", false, false)),
        "repo_starred" => ("star", json!({ "action": "created", "starred_at": "2026-11-22T10:00:00Z" })),
        "repo_unstarred" => ("star", json!({ "action": "deleted", "starred_at": null })),
        "repo_forked" => ("fork", {
            let person = fresh.person(5);
            let login = person["login"].as_str().unwrap_or_default().trim_end_matches("[bot]").to_owned();
            json!({ "forkee": { "id": id, "full_name": format!("{login}/desk-lamp"), "owner": person,
                "html_url": format!("https://github.com/{login}/desk-lamp"), "fork": true } })
        }),
        "push" => ("push", {
            let (sha, before) = (fresh.sha(), Fresh { salt: !fresh.salt }.sha());
            let commit = json!({ "id": sha, "message": fresh.title(), "distinct": true });
            json!({ "ref": "refs/heads/main", "before": before, "after": sha, "created": false, "deleted": false,
                "forced": false, "compare": format!("{HOME}/compare/{}...{}", &before[..12], &sha[..12]),
                "pusher": { "name": fresh.pick(5, PEOPLE) }, "commits": [commit], "head_commit": commit })
        }),
        "branch_created" => (
            "create",
            json!({ "ref": format!("work/{number}"), "ref_type": "branch",
            "master_branch": "main", "pusher_type": "user" }),
        ),
        "release_published" => ("release", {
            let tag = format!("v1.{}.{}", number / 100, number % 100);
            json!({ "action": "published", "release": { "id": id, "tag_name": tag, "name": format!("Lamp {tag}"),
                "draft": false, "prerelease": false, "html_url": format!("{HOME}/releases/tag/{tag}") } })
        }),
        "ci_failed" => ("workflow_run", run("failure")),
        "ci_passed" => ("workflow_run", run("success")),
        "deployment_failed" => ("deployment_status", deployment("failure")),
        "deployment_succeeded" => ("deployment_status", deployment("success")),
        "discussion_opened" => (
            "discussion",
            json!({ "action": "created", "discussion": { "id": id,
            "number": number, "title": fresh.title(), "html_url": format!("{HOME}/discussions/{number}"),
            "category": { "name": "Ideas" }, "user": fresh.person(5) } }),
        ),
        "security_alert" => (
            "dependabot_alert",
            json!({ "action": "created", "alert": { "number": number,
            "state": "open", "html_url": format!("{HOME}/security/dependabot/{number}"),
            "dependency": { "package": { "ecosystem": "rust", "name": "old-lantern" } },
            "security_advisory": { "summary": "old-lantern reads past its wick", "severity": "high" } } }),
        ),
        "member_added" => ("member", json!({ "action": "added", "member": fresh.person(11) })),
        _ => return None,
    })
}

/// What stands in every payload. The id keeps two samples of one kind apart: an equal body under a new id would look
/// like a replay.
fn with_common(mut body: Value, fresh: &Fresh) -> Value {
    body["repository"] = json!({ "id": 901_234, "name": "desk-lamp", "full_name": REPOSITORY, "html_url": HOME,
        "private": false, "owner": { "login": "acme" }, "default_branch": "main",
        "stargazers_count": 1 + fresh.below(12, 5_000), "forks_count": 1 + fresh.below(13, 300),
        "size": fresh.below(14, 1 << 40) });
    body["sender"] = fresh.person(5);
    body
}
