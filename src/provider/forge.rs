//! What the hosts of code have in common: how a subject is named, how a push is worded, and the fresh
//! values in their samples. Refuses to know any host's JSON.

use crate::event::UNKNOWN_REPOSITORY;

use super::{
    draft::{Draft, clean},
    json::Json,
    read,
    sample::Seed,
};

/// What a teller makes of a payload: an event, or the reason why it is not told.
pub(super) type Told = Result<Draft, String>;

/// `owner/name#42`; GitLab marks its merge requests with a `!`.
pub(super) fn numbered(repository: Option<&str>, mark: char, number: Option<i64>) -> Option<String> {
    number.map(|number| format!("{}{mark}{number}", known(repository)))
}

/// `owner/name@branch`, and what about it: ` ci`, ` release`, ` deployment` or nothing.
pub(super) fn on_branch(repository: Option<&str>, branch: Option<&str>, what: &str) -> Option<String> {
    branch.and_then(clean).map(|branch| format!("{}@{branch}{what}", known(repository)))
}

/// The repository as a subject names it.
pub(super) fn known(repository: Option<&str>) -> String {
    repository.and_then(clean).unwrap_or_else(|| UNKNOWN_REPOSITORY.to_owned())
}

/// `2 commits: Add a lamp`; with `and_more` the host did not list them all.
pub(super) fn commits(count: usize, and_more: bool, message: Option<&str>) -> String {
    let (more, plural) = (if and_more { "+" } else { "" }, if count == 1 && !and_more { "" } else { "s" });
    match message {
        Some(message) => format!("{count}{more} commit{plural}: {message}"),
        None => format!("{count}{more} commit{plural}"),
    }
}

/// Every path that one of these commits touched, as often as it did.
pub(super) fn changed_paths<'j>(commits: &'j Json<'_>) -> impl Iterator<Item = &'j str> {
    let lists = |commit: &'j Json<'_>| ["added", "modified", "removed"].map(|list| commit[list].items());
    commits.items().iter().flat_map(lists).flatten().filter_map(Json::text)
}

/// A branch as it reads in our repository: `owner:branch` where it is a fork's, whose `main` is not our `main`. Both
/// repositories by their full names; one that is not known is no fork.
pub(super) fn head_branch(branch: Option<&str>, from: Option<&str>, ours: Option<&str>) -> Option<String> {
    let fork = from.filter(|from| ours.is_some_and(|ours| ours != *from)).and_then(|from| from.rsplit_once('/'));
    branch.map(|branch| match fork {
        Some((owner, _)) => format!("{owner}:{branch}"),
        None => branch.to_owned(),
    })
}

/// The first line of a commit's message.
pub(super) fn first_line(message: Option<&str>) -> Option<&str> {
    message.and_then(|message| message.lines().find(|line| !line.trim().is_empty()))
}

/// Git's name for no commit at all: the side of a push where there is no branch.
pub(super) fn is_no_commit(sha: Option<&str>) -> bool {
    sha.is_some_and(|sha| !sha.is_empty() && sha.bytes().all(|byte| byte == b'0'))
}

/// The first of these names that is one.
pub(super) fn first_name<'a>(names: impl IntoIterator<Item = Option<&'a str>>) -> Option<&'a str> {
    names.into_iter().flatten().find(|name| !name.trim().is_empty())
}

/// The reason for what is not in any teller's list.
pub(super) fn not_told(event: &str, action: Option<&str>) -> String {
    let event = read::shown(event);
    match action.and_then(clean) {
        Some(action) => format!("{event}.{action} is not an event we tell about"),
        None => format!("{event} is not an event we tell about"),
    }
}

/// The values that samples of every host are made of.
impl Seed {
    pub(super) fn person(self, name: &str) -> &'static str {
        self.pick(name, &["ada-lights", "brass-otto", "cyan-mira", "dusk-walker"])
    }

    pub(super) fn headline(self) -> &'static str {
        const HEADLINES: &[&str] = &[
            "Dim the desk lamp after sunset",
            "Retry the upload when the link drops",
            "Say which pin is already taken",
            "Keep the buzzer quiet at night",
            "Read the level from the second sensor",
        ];
        self.pick("headline", HEADLINES)
    }

    /// A number of an issue, and of what is like it.
    pub(super) fn number(self) -> u64 {
        1 + self.below("number", 9_000)
    }

    /// A database's id; fits a JavaScript number.
    pub(super) fn id(self, name: &str) -> u64 {
        1 + self.below(name, 1 << 52)
    }

    /// A commit's.
    pub(super) fn sha(self, name: &str) -> String {
        let part = |suffix: &str| self.below(&format!("{name}{suffix}"), u64::MAX);
        format!("{:016x}{:016x}{:08x}", part("a"), part("b"), part("c") >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_s_branch_is_not_ours() {
        let check = |from: Option<&str>, ours: Option<&str>, expected: &str| {
            assert_eq!(head_branch(Some("main"), from, ours).as_deref(), Some(expected), "{from:?} {ours:?}");
        };
        check(Some("acme/api"), Some("acme/api"), "main");
        check(Some("eve/api"), Some("acme/api"), "eve:main");
        check(Some("acme/api-2"), Some("acme/api"), "acme:main");
        check(Some("group/eve/api"), Some("group/api"), "group/eve:main");
        check(None, Some("acme/api"), "main");
        check(Some("eve/api"), None, "main");
        assert_eq!(head_branch(None, Some("eve/api"), Some("acme/api")), None);
    }

    #[test]
    fn words_for_pushes_and_subjects() {
        assert_eq!(commits(1, false, Some("Add")), "1 commit: Add");
        assert_eq!(commits(5, true, Some("Add")), "5+ commits: Add");
        assert_eq!(commits(2, false, None), "2 commits");
        assert_eq!(numbered(Some("acme/api"), '!', Some(42)).as_deref(), Some("acme/api!42"));
        assert_eq!(on_branch(None, Some("main"), " ci").as_deref(), Some("unknown/unknown@main ci"));
        assert!(is_no_commit(Some("0000")) && !is_no_commit(Some("00a0")) && !is_no_commit(Some("")));
        assert_eq!(first_line(Some("\n \nOne\nTwo")), Some("One"));
    }
}
