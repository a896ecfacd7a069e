//! What happens to the code: pushes, branches, releases, runs, deployments.

use crate::provider::{
    draft::{Draft, clean},
    forge::{self, Told, changed_paths, first_line, head_branch, on_branch},
    json::Json,
};

use super::common::{repository, repository_url};

/// Of a commit's name, as many characters as people quote.
const SHA_CHARS: usize = 7;

/// A push of commits to a branch. What only makes or removes a branch comes as `create` or `delete` too and is told
/// there; a tag's message is its release.
pub(super) fn push(body: &Json<'_>) -> Told {
    let Some(branch) = body["ref"].text().and_then(|name| name.strip_prefix("refs/heads/")) else {
        return Err("push: a tag, whose release is told".to_owned());
    };
    if body["deleted"].is_true() {
        return Err("push: a branch was deleted, which the delete event tells".to_owned());
    }
    let (commits, head) = (&body["commits"], &body["head_commit"]);
    // GitHub's list of events keeps them to itself and says where the branch stands.
    let is_untold = !commits.is_list() && head["id"].text().is_some();
    let count = commits.count();
    if count == 0 && (!is_untold || body["created"].is_true()) {
        return Err(match body["created"].is_true() {
            true => "push: a branch without commits of its own, which the create event tells".to_owned(),
            false => "push: no commits".to_owned(),
        });
    }
    let message = first_line(head["message"].text());
    let and_more = body["size"].whole().is_some_and(|size| usize::try_from(size).is_ok_and(|size| size > count));
    let title = match is_untold {
        true => format!("now at {}", head["id"].text().unwrap_or_default().chars().take(SHA_CHARS).collect::<String>()),
        false => forge::commits(count, and_more, message),
    };
    Ok(Draft::new("push")
        .actor(body["pusher"]["name"].text())
        .title(Some(&title))
        .url([body["compare"].text(), repository_url(body)])
        .subject(on_branch(repository(body), Some(branch), ""))
        .text("branch", Some(branch))
        .number("commits", i64::try_from(count).ok().filter(|_| !is_untold))
        .text("sha", head["id"].text())
        .text("commit", message)
        .flag("forced", body["forced"].flag())
        .paths(changed_paths(commits)))
}

pub(super) fn branch(kind: &'static str, body: &Json<'_>) -> Told {
    if body["ref_type"].text() != Some("branch") {
        return Err("not a branch: a tag's release is told".to_owned());
    }
    let branch = body["ref"].text();
    let page = repository_url(body);
    // Only what needs no encoding in a path; other names lead to the repository.
    let plain = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let tree = match (kind, page, branch.filter(plain)) {
        ("branch_created", Some(page), Some(branch)) => Some(format!("{page}/tree/{branch}")),
        _ => None,
    };
    Ok(Draft::new(kind)
        .title(branch)
        .url([tree.as_deref(), page])
        .subject(on_branch(repository(body), branch, ""))
        .text("branch", branch))
}

/// GitHub sends `created`, `published` and `released` for one release; only `published` comes for each exactly once.
pub(super) fn release(body: &Json<'_>) -> Draft {
    let draft = Draft::new("release_published");
    let release = &body["release"];
    if !release.is_object() {
        return draft;
    }
    let tag = release["tag_name"].text();
    draft
        .title(release["name"].text().filter(|name| !name.trim().is_empty()).or(tag))
        .url([release["html_url"].text(), repository_url(body)])
        .subject(on_branch(repository(body), tag, " release"))
        .text("tag", tag)
        .flag("prerelease", release["prerelease"].flag())
}

/// One run of GitHub Actions, with all its jobs.
pub(super) fn workflow_run(body: &Json<'_>) -> Told {
    let run = &body["workflow_run"];
    if !run.is_object() {
        return Err("workflow_run: no run in it".to_owned());
    }
    let kind = ci_kind("workflow_run", run["conclusion"].text())?;
    let (from, ours) = (run["head_repository"]["full_name"].text(), body["repository"]["full_name"].text());
    let branch = head_branch(run["head_branch"].text(), from, ours);
    let workflow = run["name"].text().filter(|name| !name.trim().is_empty()).or(body["workflow"]["name"].text());
    Ok(ci(Draft::new(kind), body, workflow, branch.as_deref())
        .actor(run["actor"]["login"].text())
        .url([run["html_url"].text(), repository_url(body)])
        .text("workflow", workflow)
        .text("conclusion", run["conclusion"].text())
        .text("sha", run["head_sha"].text())
        .text("commit", first_line(run["display_title"].text()))
        .number("run", run["run_number"].whole())
        .number("attempt", run["run_attempt"].whole()))
}

/// The result of another CI system. GitHub Actions sends these as well, one for each of its runs, which would double.
pub(super) fn check_suite(body: &Json<'_>) -> Told {
    let suite = &body["check_suite"];
    if !suite.is_object() {
        return Err("check_suite: no suite in it".to_owned());
    }
    if suite["app"]["slug"].text() == Some("github-actions") {
        return Err("check_suite: a run of GitHub Actions, which workflow_run tells".to_owned());
    }
    let kind = ci_kind("check_suite", suite["conclusion"].text())?;
    let sha = suite["head_sha"].text();
    let is_hex = |sha: &&str| !sha.is_empty() && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A suite has no page of its own; its commit's page shows it.
    let commit_url = repository_url(body).zip(sha.filter(is_hex)).map(|(page, sha)| format!("{page}/commit/{sha}"));
    Ok(ci(Draft::new(kind), body, suite["app"]["name"].text(), suite["head_branch"].text())
        .url([commit_url.as_deref(), repository_url(body)])
        .text("app", suite["app"]["name"].text())
        .text("conclusion", suite["conclusion"].text())
        .text("sha", sha)
        .text("commit", first_line(suite["head_commit"]["message"].text())))
}

pub(super) fn deployment_status(body: &Json<'_>) -> Told {
    let (deployment, status) = (&body["deployment"], &body["deployment_status"]);
    if !status.is_object() {
        return Err("deployment_status: no status in it".to_owned());
    }
    let (log, target) = (status["log_url"].text(), status["target_url"].text());
    let page = status["environment_url"].text();
    // After a failure people want the log, after a success the place itself.
    let (kind, links) = match status["state"].text().unwrap_or_default() {
        "failure" | "error" => ("deployment_failed", [log, target, page]),
        "success" => ("deployment_succeeded", [page, log, target]),
        state => return Err(format!("deployment_status: {} is not an end", clean(state).unwrap_or_default())),
    };
    let environment = status["environment"].text().or(deployment["environment"].text());
    let sha = deployment["sha"].text();
    // A deployment may name a bare commit; that is no branch.
    let branch = deployment["ref"].text().filter(|name| Some(*name) != sha);
    Ok(Draft::new(kind)
        .title(environment.or(branch))
        .url(links.into_iter().chain([repository_url(body)]))
        .subject(on_branch(repository(body), environment, " deployment"))
        .text("branch", branch)
        .text("environment", environment)
        .text("sha", sha)
        .text("conclusion", status["state"].text()))
}

/// Failed is what somebody has to look at. Cancelled, skipped, stale and neutral runs say nothing about the code, and
/// `action_required` waits for an approval on GitHub.
fn ci_kind(event_type: &str, conclusion: Option<&str>) -> Result<&'static str, String> {
    match conclusion.unwrap_or_default() {
        "failure" | "timed_out" | "startup_failure" => Ok("ci_failed"),
        "success" => Ok("ci_passed"),
        other => Err(format!("{event_type}: {} neither passed nor failed", clean(other).unwrap_or("it".to_owned()))),
    }
}

fn ci(draft: Draft, body: &Json<'_>, what: Option<&str>, branch: Option<&str>) -> Draft {
    // The branch is a fact of its own; a sink that wants to name it does.
    draft.title(what.or(branch)).subject(on_branch(repository(body), branch, " ci")).text("branch", branch)
}
