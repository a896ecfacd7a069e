//! From Gitea's and Forgejo's JSON, which is GitHub's with differences, to hookbell's kinds. Owns the table of what is
//! told and the reasons for the rest.

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

use super::json_of;

pub(in crate::provider) fn normalise(
    context: &Context<'_>,
    event_type: &str,
    headers: &Headers,
    body: &[u8],
) -> Normalised {
    let Some(json) = json_of(headers, body) else {
        return Normalised::Undecodable("the body is a form without one field payload".to_owned());
    };
    let body = match Json::object(&json) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    let told = tell(event_type, &body).map(|draft| {
        let draft = draft.text("action", body["action"].text()).actor(login(&body["sender"]));
        draft.repository(full_name(sides(&body).0)).finish(context)
    });
    match told {
        Ok(event) => Normalised::Events(vec![event]),
        Err(why) => Normalised::Skipped(why),
    }
}

fn tell(event_type: &str, body: &Json<'_>) -> Told {
    let action = body["action"].text();
    match (event_type, action.unwrap_or_default()) {
        ("issues" | "issue_assign", "opened") => Ok(issue("issue_opened", body)),
        ("issues", "closed") => Ok(issue("issue_closed", body)),
        ("issues", "reopened") => Ok(issue("issue_reopened", body)),
        ("issues" | "issue_assign", "assigned") => Ok(assigned(body)),
        ("issue_comment" | "pull_request_comment", "created") if body["comment"].is_object() => Ok(comment(body)),

        ("pull_request", "opened") => Ok(pull_request("pr_opened", body)),
        ("pull_request", "ready_for_review") => Ok(pull_request("pr_ready", body)),
        ("pull_request", "reopened") => Ok(pull_request("pr_reopened", body)),
        ("pull_request", "closed") => Ok(pull_request_closed(body)),
        ("pull_request" | "pull_request_review_request", "review_requested") => {
            Ok(pull_request("pr_review_requested", body).text("reviewer", login(&body["requested_reviewer"])))
        }
        (_, "reviewed") => review(event_type, body),

        ("fork", _) => Ok(forked(body)),
        ("push", _) => push(body),
        ("create", _) => branch("branch_created", body),
        ("delete", _) => branch("branch_deleted", body),
        ("release", "published") => release(body),
        ("workflow_run", "completed") => workflow_run(body),
        ("action_run_failure" | "action_run_success", _) => action_run(body),
        ("action_run_recover", _) => Err("action_run_recover: a run that action_run_success tells".to_owned()),
        ("workflow_job" | "status", _) => Err(format!("{event_type}: a part of a run, which is told itself")),
        _ => Err(not_told(event_type, action)),
    }
}

fn issue(kind: &'static str, body: &Json<'_>) -> Draft {
    about_issue(kind, body, &body["issue"], None)
}

fn assigned(body: &Json<'_>) -> Draft {
    let issue = &body["issue"];
    // Who is new among several stands nowhere; the last was added last.
    let last = issue["assignees"].items().last().and_then(login);
    about_issue("issue_assigned", body, issue, None).text("assignee", last.or(login(&issue["assignee"])))
}

fn comment(body: &Json<'_>) -> Draft {
    let (issue, pull) = (&body["issue"], &body["pull_request"]);
    let on_pull_request = body["is_pull"].is_true() || pull.is_object() || issue["pull_request"].is_object();
    let kind = if on_pull_request { "pr_commented" } else { "issue_commented" };
    let about = if issue.is_object() { issue } else { pull };
    about_issue(kind, body, about, body["comment"]["html_url"].text())
}

fn pull_request(kind: &'static str, body: &Json<'_>) -> Draft {
    about_issue(kind, body, &body["pull_request"], None)
}

/// Closing a pull request is one event of Gitea's and two of ours.
fn pull_request_closed(body: &Json<'_>) -> Draft {
    let pull = &body["pull_request"];
    match pull["merged"].is_true() {
        true => pull_request("pr_merged", body).actor(login(&pull["merged_by"])),
        false => pull_request("pr_closed", body),
    }
}

/// What the review says stands in the signed body; only where it does not is the header asked.
fn review(event_type: &str, body: &Json<'_>) -> Told {
    let said = body["review"]["type"].text().unwrap_or(event_type);
    let kind = match said.trim_start_matches("pull_request_").trim_start_matches("review_") {
        "approved" => "pr_approved",
        "rejected" => "pr_changes_requested",
        "comment" => "pr_commented",
        _ => return Err(format!("{}: a review that neither approves, objects nor comments", read::shown(said))),
    };
    Ok(pull_request(kind, body).text("reviewer", login(&body["sender"])))
}

fn forked(body: &Json<'_>) -> Draft {
    let (ours, theirs) = sides(body);
    let fork = full_name(theirs);
    Draft::new("repo_forked")
        .title(fork)
        .url([html_url(theirs), html_url(ours)])
        .text("fork", fork)
        .number("forks", ours["forks_count"].whole())
}

/// The repository that an event is about, and its fork. Unlike GitHub, Gitea names the new one `repository` and the old
/// one `forkee`.
fn sides<'j>(body: &'j Json<'j>) -> (&'j Json<'j>, &'j Json<'j>) {
    let (old, new) = (&body["forkee"], &body["repository"]);
    let is_swapped = old["fork"].is_true() && !new["fork"].is_true();
    if !old.is_object() || is_swapped { (new, old) } else { (old, new) }
}

/// As with GitHub, what only makes a branch comes as `create` too and is told there.
fn push(body: &Json<'_>) -> Told {
    let Some(branch) = body["ref"].text().and_then(|name| name.strip_prefix("refs/heads/")) else {
        return Err("push: a tag, whose release is told".to_owned());
    };
    let is_new = is_no_commit(body["before"].text());
    // The list ends early; the count, where it comes, does not.
    let total = body["total_commits"].whole().and_then(|total| usize::try_from(total).ok()).unwrap_or(0);
    let count = total.max(body["commits"].count());
    if count == 0 {
        return Err(match is_new {
            true => "push: a branch without commits of its own, which the create event tells".to_owned(),
            false => "push: no commits".to_owned(),
        });
    }
    // A new branch has nothing to compare with.
    let compare = body["compare_url"].text().filter(|_| !is_new);
    let head = &body["head_commit"];
    let message = first_line(head["message"].text());
    Ok(Draft::new("push")
        .actor(login(&body["pusher"]))
        .title(Some(&commits(count, false, message)))
        .url([compare, html_url(&body["repository"])])
        .subject(on_branch(full_name(&body["repository"]), Some(branch), ""))
        .text("branch", Some(branch))
        .number("commits", i64::try_from(count).ok())
        .text("sha", head["id"].text())
        .text("commit", message)
        .paths(changed_paths(&body["commits"])))
}

fn branch(kind: &'static str, body: &Json<'_>) -> Told {
    if body["ref_type"].text() != Some("branch") {
        return Err("not a branch: a tag's release is told".to_owned());
    }
    let branch = body["ref"].text().map(|name| name.strip_prefix("refs/heads/").unwrap_or(name));
    let page = html_url(&body["repository"]);
    // Only what needs no encoding in a path; other names lead to the repository.
    let plain = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let tree = match (kind, page, branch.filter(plain)) {
        ("branch_created", Some(page), Some(branch)) => Some(format!("{page}/src/branch/{branch}")),
        _ => None,
    };
    Ok(Draft::new(kind)
        .title(branch)
        .url([tree.as_deref(), page])
        .subject(on_branch(full_name(&body["repository"]), branch, ""))
        .text("branch", branch))
}

fn release(body: &Json<'_>) -> Told {
    let release = &body["release"];
    if !release.is_object() {
        return Err("release: no release in it".to_owned());
    }
    if release["draft"].is_true() {
        return Err("release: a draft, which nobody can see yet".to_owned());
    }
    let tag = release["tag_name"].text();
    Ok(Draft::new("release_published")
        .title(first_name([release["name"].text(), tag]))
        .url([html_url(release), html_url(&body["repository"])])
        .subject(on_branch(full_name(&body["repository"]), tag, " release"))
        .text("tag", tag)
        .flag("prerelease", release["prerelease"].flag()))
}

fn workflow_run(body: &Json<'_>) -> Told {
    let run = &body["workflow_run"];
    if !run.is_object() {
        return Err("workflow_run: no run in it".to_owned());
    }
    let kind = ci_kind("workflow_run", run["conclusion"].text())?;
    let from = full_name(&run["head_repository"]);
    let branch = head_branch(run["head_branch"].text(), from, full_name(&body["repository"]));
    // `ci.yml@refs/heads/main`
    let file = run["path"].text().and_then(|path| path.split('@').next());
    let workflow = first_name([body["workflow"]["name"].text(), run["name"].text(), file]);
    Ok(ci(Draft::new(kind), body, workflow, branch.as_deref())
        .actor(login(&run["actor"]))
        .url([html_url(run), html_url(&body["repository"])])
        .text("conclusion", run["conclusion"].text())
        .text("sha", run["head_sha"].text())
        .text("commit", first_line(run["display_title"].text()))
        .number("run", run["run_number"].whole())
        .number("attempt", run["run_attempt"].whole()))
}

/// Forgejo's `action_run_failure` also comes for what somebody cancelled.
fn action_run(body: &Json<'_>) -> Told {
    let run = &body["run"];
    if !run.is_object() {
        return Err("action_run: no run in it".to_owned());
    }
    let kind = ci_kind("action_run", run["status"].text().or(body["action"].text()))?;
    let is_fork = run["is_fork_pull_request"].is_true();
    let branch = run["prettyref"].text().map(|name| name.strip_prefix("refs/heads/").unwrap_or(name));
    let branch = branch.map(|branch| if is_fork { format!("fork:{branch}") } else { branch.to_owned() });
    Ok(ci(Draft::new(kind), body, run["workflow_id"].text(), branch.as_deref())
        .actor(login(&run["trigger_user"]))
        .url([html_url(run), html_url(&body["repository"])])
        .text("conclusion", run["status"].text())
        .text("sha", run["commit_sha"].text())
        .text("commit", first_line(run["title"].text()))
        .number("run", run["index_in_repo"].whole()))
}

/// As with GitHub: what was cancelled or skipped says nothing about the code.
fn ci_kind(event_type: &str, conclusion: Option<&str>) -> Result<&'static str, String> {
    match conclusion.unwrap_or_default() {
        "failure" | "timed_out" => Ok("ci_failed"),
        "success" => Ok("ci_passed"),
        other => Err(format!("{event_type}: {} neither passed nor failed", clean(other).unwrap_or("it".to_owned()))),
    }
}

fn ci(draft: Draft, body: &Json<'_>, workflow: Option<&str>, branch: Option<&str>) -> Draft {
    draft
        .title(workflow.or(branch))
        .subject(on_branch(full_name(&body["repository"]), branch, " ci"))
        .text("branch", branch)
        .text("workflow", workflow)
}

/// An issue, or a pull request, which has the same bones. `branch` is where the change goes, which is what a rule about
/// `main` means; `head_branch` where it comes from, `owner:branch` where that is a fork.
fn about_issue(kind: &'static str, body: &Json<'_>, issue: &Json<'_>, page: Option<&str>) -> Draft {
    let (repository, number) = (&body["repository"], issue["number"].whole());
    let (base, head) = (&issue["base"], &issue["head"]);
    let from =
        head_branch(head["ref"].text(), full_name(&head["repo"]), full_name(&base["repo"]).or(full_name(repository)));
    Draft::new(kind)
        .title(issue["title"].text())
        .url([page, html_url(issue), html_url(repository)])
        .subject(numbered(full_name(repository), '#', number))
        .number("number", number)
        .text("author", login(&issue["user"]))
        .flag("draft", issue["draft"].flag())
        .list("labels", issue["labels"].items().iter().filter_map(|label| label["name"].text()))
        .text("branch", base["ref"].text())
        .text("head_branch", from.as_deref())
        .text("sha", head["sha"].text())
        .text("merged_by", login(&issue["merged_by"]))
}

fn login<'j>(account: &'j Json<'_>) -> Option<&'j str> {
    first_name([account["login"].text(), account["username"].text()])
}

fn full_name<'j>(repository: &'j Json<'_>) -> Option<&'j str> {
    repository["full_name"].text()
}

fn html_url<'j>(page: &'j Json<'_>) -> Option<&'j str> {
    page["html_url"].text()
}
