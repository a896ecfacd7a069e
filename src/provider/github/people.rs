//! Who joins in: stars, forks, members. None of these belongs to anything that goes on, so they have no subject.

use super::draft::{Draft, repository_url};
use super::payload::Payload;

pub(super) fn starred(kind: &'static str, payload: &Payload) -> Draft {
    let repository = payload.repository.as_ref();
    Draft::new(kind)
        .title(repository.and_then(|repository| repository.full_name.as_deref()))
        .url([repository_url(payload)])
        .number("stars", repository.and_then(|repository| *repository.stargazers_count))
}

pub(super) fn forked(payload: &Payload) -> Draft {
    let fork = payload.forkee.as_ref();
    let fork_name = fork.and_then(|fork| fork.full_name.as_deref());
    Draft::new("repo_forked")
        .title(fork_name)
        .url([fork.and_then(|fork| fork.html_url.as_deref()), repository_url(payload)])
        .text("fork", fork_name)
        .number("forks", payload.repository.as_ref().and_then(|repository| *repository.forks_count))
}

/// A collaborator of a repository, or a member of an organisation.
pub(super) fn member_added(payload: &Payload) -> Draft {
    let of_organization = payload.membership.as_ref().and_then(|membership| membership.user.as_ref());
    let member = payload.member.as_ref().or(of_organization);
    let name = member.and_then(|member| member.login.as_deref());
    let page = member.and_then(|member| member.html_url.as_deref());
    Draft::new("member_added").title(name).url([page, repository_url(payload)]).text("member", name)
}
