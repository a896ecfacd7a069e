//! From GitLab's JSON to hookbell's kinds. Owns the table of what is told and the reasons for the rest. What happened
//! is read from the body, whose names are the same for project, group and system hooks.

use crate::headers::Headers;
use crate::provider::{
    Normalised,
    draft::{Draft, clean},
    forge::{
        Told, changed_paths, commits, first_line, first_name, head_branch, is_no_commit, not_told, numbered, on_branch,
    },
    json::Json,
    read,
    rules::Context,
};

pub(super) fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let told = tell(event_type, &body)
        .map(|draft| draft.text("action", action(&body)).actor(user_name(&body["user"])).finish(context));
    match told {
        Ok(event) => Normalised::Events(vec![event]),
        Err(why) => Normalised::Skipped(why),
    }
}

fn tell(event_type: &str, body: &Json<'_>) -> Told {
    let kind = body["object_kind"].text().or(body["event_name"].text()).unwrap_or(event_type);
    let object = &body["object_attributes"];
    match (kind, object.is_object()) {
        ("push", _) => push(body),
        ("tag_push", _) => Err("tag_push: a tag, whose release is told".to_owned()),
        ("issue" | "work_item", true) => issue(kind, body, object),
        ("merge_request", true) => merge_request(body, object),
        ("note", true) => comment(body, object),
        ("pipeline", true) => pipeline(body, object),
        ("build", _) => Err("build: a part of a pipeline, which is told itself".to_owned()),
        ("deployment", _) => deployment(body),
        ("release", _) => release(body),
        ("vulnerability", true) => vulnerability(body, object),
        ("user_add_to_group" | "user_add_to_team", _) => Ok(member_added(body)),
        _ => Err(not_told(kind, action(body))),
    }
}

/// The object's action, which some payloads have at their top level.
fn action<'j>(body: &'j Json<'_>) -> Option<&'j str> {
    body["object_attributes"]["action"].text().or(body["action"].text())
}

/// GitLab has no events of their own for branches: the first push to one makes it, the last removes it.
fn push(body: &Json<'_>) -> Told {
    let Some(branch) = body["ref"].text().and_then(|name| name.strip_prefix("refs/heads/")) else {
        return Err("push: a tag, whose release is told".to_owned());
    };
    let (before, after) = (body["before"].text(), body["after"].text());
    let kind = match (is_no_commit(before), is_no_commit(after)) {
        (_, true) => "branch_deleted",
        (true, false) => "branch_created",
        (false, false) => "push",
    };
    // The list ends at 20; the count does not.
    let listed: Vec<_> = body["commits"].items().iter().filter(|commit| commit.is_object()).collect();
    let total = body["total_commits_count"].whole().and_then(|total| usize::try_from(total).ok()).unwrap_or(0);
    let count = total.max(listed.len());
    if kind == "push" && count == 0 {
        return Err("push: no commits".to_owned());
    }
    let sha = body["checkout_sha"].text().or(after).filter(|_| kind != "branch_deleted");
    let head = listed.iter().find(|commit| commit["id"].text() == sha).or(listed.last());
    let message = first_line(head.and_then(|commit| commit["message"].text()));
    let title = if kind == "push" { commits(count, false, message) } else { branch.to_owned() };
    let page = web_url(body);
    // Only what needs no encoding in a path; other names lead to the project.
    let is_plain = branch.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let link = match (kind, page, before, sha) {
        ("push", Some(page), Some(before), Some(sha)) => Some(format!("{page}/-/compare/{before}...{sha}")),
        ("branch_created", Some(page), ..) if is_plain => Some(format!("{page}/-/tree/{branch}")),
        _ => None,
    };
    let draft = about_project(kind, body)
        .actor(top_level_user(body))
        .title(Some(&title))
        .url([link.as_deref(), page])
        .subject(on_branch(path(body), Some(branch), ""))
        .text("branch", Some(branch));
    Ok(match kind {
        "branch_deleted" => draft,
        _ => draft
            .number("commits", i64::try_from(count).ok())
            .text("sha", sha)
            .text("commit", message)
            .paths(changed_paths(&body["commits"])),
    })
}

fn issue(event: &str, body: &Json<'_>, issue: &Json<'_>) -> Told {
    let kind = match issue["action"].text() {
        Some("open") => "issue_opened",
        Some("close") => "issue_closed",
        Some("reopen") => "issue_reopened",
        Some("update") if assigned(body).is_some() => "issue_assigned",
        action => return Err(not_told(event, action)),
    };
    let assignee = assigned(body).or(body["assignees"].items().first());
    Ok(about_issue(kind, body, issue).text("assignee", assignee.and_then(user_name)))
}

fn assigned<'j>(body: &'j Json<'j>) -> Option<&'j Json<'j>> {
    new_one(&body["changes"]["assignees"], |_| true)
}

/// The first of a changed list of users who is there now and for whom this was not so before.
fn new_one<'j>(change: &'j Json<'j>, is_so: impl Fn(&Json<'_>) -> bool) -> Option<&'j Json<'j>> {
    let was_so = |user: &Json<'_>| {
        change["previous"].items().iter().any(|old| old["username"].text() == user["username"].text() && is_so(old))
    };
    change["current"].items().iter().find(|user| user.is_object() && is_so(user) && !was_so(user))
}

fn merge_request(body: &Json<'_>, merge: &Json<'_>) -> Told {
    let (draft, reviewers) = (&body["changes"]["draft"], &body["changes"]["reviewers"]);
    let objecting = new_one(reviewers, |user| user["state"].text() == Some("requested_changes"));
    let asked = new_one(reviewers, |_| true).or_else(|| new_one(reviewers, |user| user["re_requested"].is_true()));
    let is_ready = draft["previous"].is_true() && draft["current"].flag() == Some(false);
    let user = user_name(&body["user"]);
    let (kind, reviewer) = match merge["action"].text() {
        Some("open") => ("pr_opened", None),
        Some("close") => ("pr_closed", None),
        Some("reopen") => ("pr_reopened", None),
        Some("merge") => ("pr_merged", None),
        // One approval is one of these: the last that was needed is `approved`.
        Some("approved" | "approval") => ("pr_approved", user),
        Some("update") if is_ready => ("pr_ready", None),
        Some("update") if objecting.is_some() => ("pr_changes_requested", objecting.and_then(user_name)),
        Some("update") if asked.is_some() => ("pr_review_requested", asked.and_then(user_name)),
        action => return Err(not_told("merge_request", action)),
    };
    Ok(about_merge_request(kind, body, merge)
        .url([merge["url"].text()])
        .text("reviewer", reviewer)
        .text("merged_by", user.filter(|_| kind == "pr_merged")))
}

fn comment(body: &Json<'_>, note: &Json<'_>) -> Told {
    if note["system"].is_true() {
        return Err("note: GitLab's own note of a change".to_owned());
    }
    // Before GitLab 16 there was no action, and only new comments came.
    if note["action"].text().is_some_and(|action| action != "create") {
        return Err(not_told("note", note["action"].text()));
    }
    let (issue, merge) = (&body["issue"], &body["merge_request"]);
    match note["noteable_type"].text() {
        Some("Issue" | "WorkItem") if issue.is_object() => {
            let draft = about_issue("issue_commented", body, issue);
            Ok(draft.url([note["url"].text(), issue["url"].text()]))
        }
        Some("MergeRequest") if merge.is_object() => {
            let draft = about_merge_request("pr_commented", body, merge);
            Ok(draft.url([note["url"].text(), merge["url"].text()]))
        }
        on => {
            let on = read::shown(on.unwrap_or_default());
            Err(format!("note: a comment on {on}, which is no issue and no merge request"))
        }
    }
}

/// A pipeline with all its jobs; a child of another one is told with its parent.
fn pipeline(body: &Json<'_>, run: &Json<'_>) -> Told {
    if run["source"].text() == Some("parent_pipeline") {
        return Err("pipeline: a part of another pipeline, which is told itself".to_owned());
    }
    let status = run["status"].text().unwrap_or_default();
    let kind = match status {
        "failed" => "ci_failed",
        "success" => "ci_passed",
        _ => return Err(format!("pipeline: {} neither passed nor failed", clean(status).unwrap_or("it".to_owned()))),
    };
    let merge = &body["merge_request"];
    // The `main` of a fork is not our `main`; whose fork it is stands nowhere.
    let from = merge["source_project_id"].whole();
    let is_fork = from.is_some() && from != merge["target_project_id"].whole();
    let branch = merge["source_branch"].text().or(run["ref"].text());
    let branch = branch.map(|branch| if is_fork { format!("fork:{branch}") } else { branch.to_owned() });
    let name = run["name"].text().filter(|name| !name.trim().is_empty());
    let id = run["id"].whole();
    let number = run["iid"].whole().or(id);
    let title = match (name, number) {
        (Some(name), _) => name.to_owned(),
        (None, Some(number)) => format!("pipeline {number}"),
        (None, None) => "pipeline".to_owned(),
    };
    let page = web_url(body).zip(id).map(|(page, id)| format!("{page}/-/pipelines/{id}"));
    Ok(about_project(kind, body)
        .title(Some(&title))
        .url([run["url"].text(), page.as_deref(), web_url(body)])
        .subject(on_branch(path(body), branch.as_deref(), " ci"))
        .text("branch", branch.as_deref())
        .text("workflow", name)
        .text("conclusion", Some(status))
        .text("sha", run["sha"].text())
        .text("commit", first_line(body["commit"]["message"].text()))
        .number("run", number)
        .number("duration_s", run["duration"].whole()))
}

fn deployment(body: &Json<'_>) -> Told {
    let status = body["status"].text().unwrap_or_default();
    let (log, place) = (body["deployable_url"].text(), body["environment_external_url"].text());
    // After a failure people want the log, after a success the place itself.
    let (kind, links) = match status {
        "failed" => ("deployment_failed", [log, place]),
        "success" => ("deployment_succeeded", [place, log]),
        _ => return Err(format!("deployment: {} is not an end", read::shown(status))),
    };
    let environment = body["environment"].text();
    Ok(about_project(kind, body)
        .title(environment.or(body["ref"].text()))
        .url(links.into_iter().chain([web_url(body)]))
        .subject(on_branch(path(body), environment, " deployment"))
        .text("branch", body["ref"].text())
        .text("environment", environment)
        .text("sha", body["short_sha"].text())
        .text("commit", body["commit_title"].text())
        .text("conclusion", Some(status)))
}

fn release(body: &Json<'_>) -> Told {
    if body["action"].text() != Some("create") {
        return Err(not_told("release", body["action"].text()));
    }
    let tag = body["tag"].text();
    Ok(about_project("release_published", body)
        .title(first_name([body["name"].text(), tag]))
        .url([body["url"].text(), web_url(body)])
        .subject(on_branch(path(body), tag, " release"))
        .text("tag", tag)
        .text("sha", body["commit"]["id"].text()))
}

/// Only what is found, not what becomes of it. Such a payload names no project, but its page does.
fn vulnerability(body: &Json<'_>, found: &Json<'_>) -> Told {
    if found["state"].text() != Some("detected") {
        return Err(not_told("vulnerability", found["state"].text()));
    }
    let of_page = found["url"].text().and_then(|url| {
        let (_, rest) = url.split_once("://")?.1.split_once('/')?;
        Some(rest.split_once("/-/")?.0)
    });
    Ok(Draft::new("security_alert")
        .repository(path(body).or(of_page))
        .title(found["title"].text())
        .url([found["url"].text(), web_url(body)])
        .text("alert_severity", found["severity"].text()))
}

/// Who added somebody stands nowhere.
fn member_added(body: &Json<'_>) -> Draft {
    let member = top_level_user(body);
    Draft::new("member_added")
        .repository(body["group_path"].text().or(body["project_path_with_namespace"].text()))
        .title(member)
        .text("member", member)
}

fn about_issue(kind: &'static str, body: &Json<'_>, issue: &Json<'_>) -> Draft {
    about_project(kind, body)
        .title(issue["title"].text())
        .url([issue["url"].text()])
        .subject(numbered(path(body), '#', issue["iid"].whole()))
        .number("number", issue["iid"].whole())
        .text("author", author(body, issue))
        .list("labels", labels(body, issue))
}

/// `branch` is where the change goes, which is what a rule about `main` means; `head_branch` where it comes from,
/// `owner:branch` where that is a fork.
fn about_merge_request(kind: &'static str, body: &Json<'_>, merge: &Json<'_>) -> Draft {
    let ours = merge["target"]["path_with_namespace"].text().or(path(body));
    // Whose a fork was that is gone stands nowhere.
    let is_gone = merge["source_project_id"].whole() != merge["target_project_id"].whole();
    let from = merge["source"]["path_with_namespace"].text().or(is_gone.then_some("fork/gone"));
    let from = head_branch(merge["source_branch"].text(), from, ours);
    about_project(kind, body)
        .title(merge["title"].text())
        .subject(numbered(path(body), '!', merge["iid"].whole()))
        .number("number", merge["iid"].whole())
        .text("author", author(body, merge))
        .flag("draft", merge["draft"].flag().or(merge["work_in_progress"].flag()))
        .list("labels", labels(body, merge))
        .text("branch", merge["target_branch"].text())
        .text("head_branch", from.as_deref())
        .text("sha", merge["last_commit"]["id"].text())
}

/// GitLab gives the author's number alone; the name, where it is the one who acts.
fn author<'j>(body: &'j Json<'_>, object: &Json<'_>) -> Option<&'j str> {
    let (user, id) = (&body["user"], object["author_id"].whole());
    user_name(user).filter(|_| id.is_some() && user["id"].whole() == id)
}

fn about_project(kind: &'static str, body: &Json<'_>) -> Draft {
    Draft::new(kind).repository(path(body))
}

/// The object's labels, which some payloads have at their top level.
fn labels<'j>(body: &'j Json<'j>, object: &'j Json<'j>) -> impl Iterator<Item = &'j str> {
    let of_object = object["labels"].items();
    let labels = if of_object.is_empty() { body["labels"].items() } else { of_object };
    labels.iter().filter_map(|label| label["title"].text())
}

fn path<'j>(body: &'j Json<'_>) -> Option<&'j str> {
    body["project"]["path_with_namespace"].text()
}

fn web_url<'j>(body: &'j Json<'_>) -> Option<&'j str> {
    body["project"]["web_url"].text()
}

fn user_name<'j>(user: &'j Json<'_>) -> Option<&'j str> {
    first_name([user["username"].text(), user["name"].text()])
}

/// Who pushed, or who was added.
fn top_level_user<'j>(body: &'j Json<'_>) -> Option<&'j str> {
    first_name([body["user_username"].text(), body["user_name"].text()])
}
