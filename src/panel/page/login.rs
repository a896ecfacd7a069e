//! The page that asks for the token, and those that say what did not work. Refuses to know what a token is.

use super::{Context, html::Html};

/// Asks for it.
pub(super) fn page(message: Option<&str>, next: &str, context: &Context<'_>) -> Html {
    let mut html = Html::new(context.now);
    html.fill(
        concat!(
            r#"<div class="narrow"><h1>Log in</h1><p>This panel on <bdi>{}</bdi> is open to those who have its token: "#,
            r#"what the configuration names as <code>token</code> in <code>[panel]</code>.</p>"#,
        ),
        &[context.host],
    );
    html.some(r#"<p class="problem failure" role="alert">{}</p>"#, message.unwrap_or_default());
    html.fill(
        concat!(
            r#"<form class="stack" method="post" action="/login" data-plain><input type="hidden" name="next" value="{}">"#,
            r#"<label for="token">Token</label><input id="token" name="token" type="password" autocomplete="current-password" required>"#,
            r#"<button class="main" type="submit">Log in</button></form></div>"#,
        ),
        &[next],
    );
    html
}

/// What a status means to people.
pub(super) fn meaning(status: u16) -> &'static str {
    const MEANINGS: &[(u16, &str)] = &[
        (400, "That request makes no sense"),
        (401, "Please log in"),
        (403, "Not allowed"),
        (404, "Not found"),
        (405, "Not like that"),
        (408, "That took too long"),
        (413, "That is too large"),
        (421, "That is not this machine’s name"),
        (429, "Too often"),
        (500, "Something is broken here"),
        (503, "Not now"),
    ];
    MEANINGS.iter().find(|(known, _)| *known == status).map_or("That did not work", |(_, words)| words)
}

/// Says so, and what to do.
pub(super) fn failed(status: u16, error: &str, hint: &str, context: &Context<'_>) -> Html {
    let mut html = Html::new(context.now);
    html.fill(
        r#"<div class="narrow"><p class="over">{}</p><h1>{}</h1><p id="failed"><bdi>{}</bdi></p>"#,
        &[&status.to_string(), meaning(status), error],
    );
    html.some(r#"<p class="remedy" id="hint"><bdi>{}</bdi></p>"#, hint);
    html.raw(r#"<p><a href="/">Back to the first page</a></p></div>"#);
    html
}
