//! Who joins in: stars, forks, members. None of these belongs to anything that goes on, so they have no subject.

use crate::provider::{draft::Draft, json::Json};

use super::common::repository_url;

pub(super) fn starred(kind: &'static str, body: &Json<'_>) -> Draft {
    let repository = &body["repository"];
    Draft::new(kind)
        .title(repository["full_name"].text())
        .url([repository_url(body)])
        .number("stars", repository["stargazers_count"].whole())
}

pub(super) fn forked(body: &Json<'_>) -> Draft {
    let fork = &body["forkee"];
    Draft::new("repo_forked")
        .title(fork["full_name"].text())
        .url([fork["html_url"].text(), repository_url(body)])
        .text("fork", fork["full_name"].text())
        .number("forks", body["repository"]["forks_count"].whole())
}

/// A collaborator of a repository, or a member of an organisation.
pub(super) fn member_added(body: &Json<'_>) -> Draft {
    let member = if body["member"].is_object() { &body["member"] } else { &body["membership"]["user"] };
    Draft::new("member_added")
        .title(member["login"].text())
        .url([member["html_url"].text(), repository_url(body)])
        .text("member", member["login"].text())
}
