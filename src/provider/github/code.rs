//! What happens to the code: pushes, branches, releases, runs, deployments.

use super::draft::{Draft, clean, first_line, login, name, repository, repository_url};
use super::normalise::Told;
use super::payload::Payload;

/// A push of commits to a branch. What only makes or removes a branch comes as `create` or `delete` too and is told
/// there; a tag's message is its release.
pub(super) fn push(payload: &Payload) -> Told {
    let Some(branch) = payload.git_ref.as_deref().and_then(|name| name.strip_prefix("refs/heads/")) else {
        return Err("push: a tag, whose release is told".to_owned());
    };
    if *payload.deleted == Some(true) {
        return Err("push: a branch was deleted, which the delete event tells".to_owned());
    }
    let count = payload.commits.0;
    if count == 0 {
        return Err(match *payload.created {
            Some(true) => "push: a branch without commits of its own, which the create event tells".to_owned(),
            _ => "push: no commits".to_owned(),
        });
    }
    let head = payload.head_commit.as_ref();
    let message = first_line(head.and_then(|commit| commit.message.as_deref()));
    let plural = if count == 1 { "" } else { "s" };
    let title = match message {
        Some(message) => format!("{count} commit{plural}: {message}"),
        None => format!("{count} commit{plural}"),
    };
    Ok(Draft::new("push")
        .actor(payload.pusher.as_ref().and_then(|pusher| pusher.name.as_deref()))
        .title(Some(&title))
        .url([payload.compare.as_deref(), repository_url(payload)])
        .subject(on_branch(payload, Some(branch), ""))
        .text("branch", Some(branch))
        .number("commits", i64::try_from(count).ok())
        .text("sha", head.and_then(|commit| commit.id.as_deref()))
        .text("commit", message)
        .flag("forced", *payload.forced))
}

pub(super) fn branch(kind: &'static str, payload: &Payload) -> Told {
    if payload.ref_type.as_deref() != Some("branch") {
        return Err("not a branch: a tag's release is told".to_owned());
    }
    let branch = payload.git_ref.as_deref();
    let page = repository_url(payload);
    // Only what needs no encoding in a path; other names lead to the repository.
    let plain = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let tree = match (kind, page, branch.filter(plain)) {
        ("branch_created", Some(page), Some(branch)) => Some(format!("{page}/tree/{branch}")),
        _ => None,
    };
    Ok(Draft::new(kind)
        .title(branch)
        .url([tree.as_deref(), page])
        .subject(on_branch(payload, branch, ""))
        .text("branch", branch))
}

/// GitHub sends `created`, `published` and `released` for one release; only `published` comes for each exactly once.
pub(super) fn release(payload: &Payload) -> Draft {
    let draft = Draft::new("release_published");
    let Some(release) = payload.release.as_ref() else { return draft };
    let tag = release.tag_name.as_deref();
    draft
        .title(release.name.as_deref().filter(|name| !name.trim().is_empty()).or(tag))
        .url([release.html_url.as_deref(), repository_url(payload)])
        .subject(on_branch(payload, tag, " release"))
        .text("tag", tag)
        .flag("prerelease", *release.prerelease)
}

/// One run of GitHub Actions, with all its jobs.
pub(super) fn workflow_run(payload: &Payload) -> Told {
    let run = payload.workflow_run.as_ref().ok_or("workflow_run: no run in it")?;
    let kind = ci_kind("workflow_run", run.conclusion.as_deref())?;
    // The `main` of a fork is not our `main`: GitHub writes it `owner:main`.
    let head = run.head_repository.as_ref();
    let ours = payload.repository.as_ref().and_then(|repository| repository.full_name.as_deref());
    let fork = head.filter(|head| head.full_name.is_some() && head.full_name.as_deref() != ours);
    let branch = match (fork.and_then(|fork| login(&fork.owner)), run.head_branch.as_deref()) {
        (Some(owner), Some(branch)) => Some(format!("{owner}:{branch}")),
        (_, branch) => branch.map(str::to_owned),
    };
    let workflow = run.name.as_deref().filter(|name| !name.trim().is_empty()).or_else(|| name(&payload.workflow));
    Ok(ci(Draft::new(kind), payload, workflow, branch.as_deref())
        .actor(login(&run.actor))
        .url([run.html_url.as_deref(), repository_url(payload)])
        .text("workflow", workflow)
        .text("conclusion", run.conclusion.as_deref())
        .text("sha", run.head_sha.as_deref())
        .text("commit", first_line(run.display_title.as_deref()))
        .number("run", *run.run_number)
        .number("attempt", *run.run_attempt))
}

/// The result of another CI system. GitHub Actions sends these as well, one for each of its runs, which would double.
pub(super) fn check_suite(payload: &Payload) -> Told {
    let suite = payload.check_suite.as_ref().ok_or("check_suite: no suite in it")?;
    if suite.app.as_ref().and_then(|app| app.slug.as_deref()) == Some("github-actions") {
        return Err("check_suite: a run of GitHub Actions, which workflow_run tells".to_owned());
    }
    let kind = ci_kind("check_suite", suite.conclusion.as_deref())?;
    let sha = suite.head_sha.as_deref();
    let is_hex = |sha: &&str| !sha.is_empty() && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A suite has no page of its own; its commit's page shows it.
    let commit_url = repository_url(payload).zip(sha.filter(is_hex)).map(|(page, sha)| format!("{page}/commit/{sha}"));
    let message = suite.head_commit.as_ref().and_then(|commit| commit.message.as_deref());
    Ok(ci(Draft::new(kind), payload, name(&suite.app), suite.head_branch.as_deref())
        .url([commit_url.as_deref(), repository_url(payload)])
        .text("app", name(&suite.app))
        .text("conclusion", suite.conclusion.as_deref())
        .text("sha", sha)
        .text("commit", first_line(message)))
}

pub(super) fn deployment_status(payload: &Payload) -> Told {
    let status = payload.deployment_status.as_ref().ok_or("deployment_status: no status in it")?;
    let (log, page) = ([status.log_url.as_deref(), status.target_url.as_deref()], status.environment_url.as_deref());
    // After a failure people want the log, after a success the place itself.
    let (kind, links) = match status.state.as_deref().unwrap_or_default() {
        "failure" | "error" => ("deployment_failed", [log[0], log[1], page]),
        "success" => ("deployment_succeeded", [page, log[0], log[1]]),
        state => return Err(format!("deployment_status: {} is not an end", clean(state).unwrap_or_default())),
    };
    let deployment = payload.deployment.as_ref();
    let environment = status.environment.as_deref();
    let environment = environment.or_else(|| deployment.and_then(|deployment| deployment.environment.as_deref()));
    let sha = deployment.and_then(|deployment| deployment.sha.as_deref());
    // A deployment may name a bare commit; that is no branch.
    let branch = deployment.and_then(|deployment| deployment.git_ref.as_deref()).filter(|name| Some(*name) != sha);
    Ok(Draft::new(kind)
        .title(environment.or(branch))
        .url(links.into_iter().chain([repository_url(payload)]))
        .subject(on_branch(payload, environment, " deployment"))
        .text("branch", branch)
        .text("environment", environment)
        .text("sha", sha)
        .text("conclusion", status.state.as_deref()))
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

fn ci(draft: Draft, payload: &Payload, what: Option<&str>, branch: Option<&str>) -> Draft {
    // The branch is a fact of its own; a sink that wants to name it does.
    draft.title(what.or(branch)).subject(on_branch(payload, branch, " ci")).text("branch", branch)
}

/// `owner/name@branch`, and what about it.
fn on_branch(payload: &Payload, branch: Option<&str>, what: &str) -> Option<String> {
    branch.and_then(clean).map(|branch| format!("{}@{branch}{what}", repository(payload)))
}
