//! From Bitbucket's JSON to hookbell's kinds. Owns the table of what is told and the reasons for the rest.

use crate::event::Event;
use crate::headers::Headers;
use crate::provider::{
    Normalised,
    draft::Draft,
    forge::{Told, commits, first_line, first_name, head_branch, not_told, numbered, on_branch},
    json::Json,
    read,
    rules::Context,
};

pub(super) fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let finish =
        |draft: Draft| -> Event { draft.actor(name(&body["actor"])).repository(full_name(&body)).finish(context) };
    let told = match event_type {
        "repo:push" => pushes(&body),
        _ => tell(event_type, &body).map(|draft| vec![draft]),
    };
    match told {
        Ok(drafts) => Normalised::Events(drafts.into_iter().map(finish).collect()),
        Err(why) => Normalised::Skipped(why),
    }
}

fn tell(event_type: &str, body: &Json<'_>) -> Told {
    let (actor, comment_page, pull) = (name(&body["actor"]), page(&body["comment"]), &body["pullrequest"]);
    match event_type {
        "issue:created" => Ok(issue("issue_opened", body)),
        "issue:updated" => issue_updated(body),
        "issue:comment_created" => {
            Ok(issue("issue_commented", body).url([comment_page, page(&body["issue"]), home(body)]))
        }
        "pullrequest:created" => Ok(pull_request("pr_opened", body)),
        "pullrequest:fulfilled" => {
            Ok(pull_request("pr_merged", body).text("merged_by", name(&pull["closed_by"]).or(actor)))
        }
        "pullrequest:rejected" => Ok(pull_request("pr_closed", body).text("reason", pull["reason"].text())),
        "pullrequest:approved" => Ok(pull_request("pr_approved", body).text("reviewer", actor)),
        "pullrequest:changes_request_created" => Ok(pull_request("pr_changes_requested", body).text("reviewer", actor)),
        "pullrequest:comment_created" => {
            Ok(pull_request("pr_commented", body).url([comment_page, page(pull), home(body)]))
        }
        "repo:fork" => {
            let fork = &body["fork"];
            let fork_name = fork["full_name"].text();
            Ok(Draft::new("repo_forked").title(fork_name).url([page(fork), home(body)]).text("fork", fork_name))
        }
        "repo:commit_status_created" | "repo:commit_status_updated" => commit_status(body),
        "diagnostics:ping" => Err("diagnostics:ping: Bitbucket reached us".to_owned()),
        _ => Err(not_told(event_type, None)),
    }
}

/// One push may move several branches; each is an event.
fn pushes(body: &Json<'_>) -> Result<Vec<Draft>, String> {
    let changes = body["push"]["changes"].items();
    let drafts: Vec<Draft> = changes.iter().filter_map(|change| moved(body, change)).collect();
    match (drafts.is_empty(), changes.is_empty()) {
        (false, _) => Ok(drafts),
        (true, true) => Err("push: it changes nothing".to_owned()),
        (true, false) => Err("push: no commits on a branch; a tag is not told".to_owned()),
    }
}

/// Bitbucket has no events of their own for branches: one that was not there before is made, one that is no more is
/// removed.
fn moved(body: &Json<'_>, change: &Json<'_>) -> Option<Draft> {
    let (old, new) = (&change["old"], &change["new"]);
    let (kind, branch) = match (old.is_object(), new.is_object()) {
        (true, true) => ("push", new),
        (false, true) => ("branch_created", new),
        (true, false) => ("branch_deleted", old),
        (false, false) => return None,
    };
    let count = change["commits"].count();
    // A forced push back to an older commit brings none of its own.
    if branch["type"].text() != Some("branch") || (kind == "push" && count == 0 && !change["forced"].is_true()) {
        return None;
    }
    let name = branch["name"].text();
    let draft = Draft::new(kind).subject(on_branch(full_name(body), name, "")).text("branch", name);
    if kind == "branch_deleted" {
        return Some(draft.title(name).url([home(body)]));
    }
    let target = &branch["target"];
    let message = first_line(target["message"].text());
    // Five commits are listed at most; how many more there are stands nowhere.
    let is_cut = change["truncated"].is_true();
    let title = match kind {
        "push" => commits(count, is_cut, message),
        _ => name.unwrap_or_default().to_owned(),
    };
    Some(
        draft
            .title(Some(&title))
            .url([page(change), page(branch), home(body)])
            .number("commits", i64::try_from(count).ok().filter(|_| !is_cut))
            .text("sha", target["hash"].text())
            .text("commit", message)
            .flag("forced", change["forced"].flag()),
    )
}

/// Bitbucket's pipelines and other builders report on commits: `INPROGRESS` first, then the end, by which a run is told.
fn commit_status(body: &Json<'_>) -> Told {
    let status = &body["commit_status"];
    if !status.is_object() {
        return Err("commit_status: no status in it".to_owned());
    }
    let state = status["state"].text().unwrap_or_default();
    let kind = match state {
        "FAILED" => "ci_failed",
        "SUCCESSFUL" => "ci_passed",
        _ => return Err(format!("commit_status: {} neither passed nor failed", read::shown(state))),
    };
    let branch = status["refname"].text();
    let name = first_name([status["name"].text(), status["key"].text()]);
    let (workflow, run) = match name.and_then(pipeline) {
        Some(run) => (Some("Pipeline"), Some(run)),
        None => (name, None),
    };
    Ok(Draft::new(kind)
        .title(name.or(branch))
        .url([status["url"].text(), home(body)])
        .subject(on_branch(full_name(body), branch, " ci"))
        .text("branch", branch)
        .text("workflow", workflow)
        .number("run", run)
        .text("conclusion", Some(&state.to_ascii_lowercase()))
        .text("sha", status["commit"]["hash"].text())
        .text("commit", first_line(status["commit"]["message"].text())))
}

/// The run of Bitbucket's own pipelines, whose name is `Pipeline #4 for main`: each is another run of one workflow.
fn pipeline(name: &str) -> Option<i64> {
    let (number, _) = name.strip_prefix("Pipeline #")?.split_once(' ')?;
    number.parse().ok()
}

fn issue_updated(body: &Json<'_>) -> Told {
    let changes = &body["changes"];
    let is_closed = |status: &str| matches!(status, "resolved" | "closed" | "invalid" | "duplicate" | "wontfix");
    let (old, new) = (changes["status"]["old"].text(), changes["status"]["new"].text());
    let kind = match (old.is_some_and(is_closed), new) {
        (false, Some(new)) if is_closed(new) => "issue_closed",
        (true, Some(new)) if !is_closed(new) => "issue_reopened",
        _ if changes["assignee"]["new"].is_object() => "issue_assigned",
        _ => return Err(not_told("issue:updated", new)),
    };
    Ok(issue(kind, body).text("status", new))
}

fn issue(kind: &'static str, body: &Json<'_>) -> Draft {
    let issue = &body["issue"];
    let number = issue["id"].whole();
    Draft::new(kind)
        .title(issue["title"].text())
        .url([page(issue), home(body)])
        .subject(numbered(full_name(body), '#', number))
        .number("number", number)
        .text("author", name(&issue["reporter"]))
        .text("assignee", name(&issue["assignee"]))
}

/// `branch` is where the change goes, which is what a rule about `main` means; `head_branch` where it comes from,
/// `owner:branch` where that is a fork.
fn pull_request(kind: &'static str, body: &Json<'_>) -> Draft {
    let pull = &body["pullrequest"];
    let (to, from) = (&pull["destination"], &pull["source"]);
    let number = pull["id"].whole();
    let ours = to["repository"]["full_name"].text().or(full_name(body));
    let head = head_branch(from["branch"]["name"].text(), from["repository"]["full_name"].text(), ours);
    Draft::new(kind)
        .title(pull["title"].text())
        .url([page(pull), home(body)])
        .subject(numbered(full_name(body), '#', number))
        .number("number", number)
        .text("author", name(&pull["author"]))
        .flag("draft", pull["draft"].flag())
        .text("branch", to["branch"]["name"].text())
        .text("head_branch", head.as_deref())
        .text("sha", from["commit"]["hash"].text())
}

/// A nickname is what Bitbucket shows in mentions; a team has a user name instead.
fn name<'a>(account: &'a Json<'_>) -> Option<&'a str> {
    first_name(["nickname", "username", "display_name"].map(|name| account[name].text()))
}

/// The page of whatever has one.
fn page<'a>(of: &'a Json<'_>) -> Option<&'a str> {
    of["links"]["html"]["href"].text()
}

fn full_name<'a>(body: &'a Json<'_>) -> Option<&'a str> {
    body["repository"]["full_name"].text()
}

fn home<'a>(body: &'a Json<'_>) -> Option<&'a str> {
    page(&body["repository"])
}
