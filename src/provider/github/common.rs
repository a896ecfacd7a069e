//! What all of GitHub's events share: who sent it, which repository. Refuses to know which event it is.

use crate::event::Event;
use crate::provider::{draft::Draft, json::Json, rules::Context};

/// Fills in what all events share.
pub(super) fn finish(draft: Draft, context: &Context<'_>, body: &Json<'_>) -> Event {
    draft
        .text("action", body["action"].text())
        .actor(body["sender"]["login"].text())
        .repository(repository(body))
        .finish(context)
}

/// `owner/name`; the organisation for what happens to it as a whole.
pub(super) fn repository<'j>(body: &'j Json<'_>) -> Option<&'j str> {
    body["repository"]["full_name"].text().or(body["organization"]["login"].text())
}

/// The repository's page.
pub(super) fn repository_url<'j>(body: &'j Json<'_>) -> Option<&'j str> {
    body["repository"]["html_url"].text()
}
