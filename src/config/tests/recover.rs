//! What is asked of providers, and who we are to them.

use super::*;
use crate::remote::Pass;

fn recovers(text: &str) -> Recover {
    let source = good(text).settings.sources.into_values().find(|source| source.recover.is_some());
    source.and_then(|source| source.recover).unwrap_or_else(|| panic!("{text}"))
}

const TOKEN: &str = "token = { env = \"SIGNING_KEY\" }";

#[test]
fn who_asks_and_where() {
    let found = recovers(&format!("[sources.github.recover]\nhooks = [\"acme/api\", \"acme\"]\n{TOKEN}"));
    assert!(matches!(&found.pass, Pass::Token(token) if token.expose() == SIGNING_KEY));
    assert_eq!(
        (found.hooks.as_slice(), found.mode),
        (["acme/api".to_owned(), "acme".to_owned()].as_slice(), Mode::Read)
    );
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!((found.every, found.window, found.api), (Duration::from_secs(300), days(3), None));

    // [github] token is what is used where nothing else is said.
    let usual =
        recovers(&format!("[github]\n{TOKEN}\n[sources.github.recover]\nhooks = [\"acme\"]\nmode = \"redeliver\""));
    assert!(matches!(&usual.pass, Pass::Token(_)) && usual.mode == Mode::Redeliver);
    let app =
        recovers("[sources.github.recover]\napp = \"42\"\napp_key = { env = \"SIGNING_KEY\" }\nevery = \"1 min\"");
    assert!(matches!(&app.pass, Pass::App { id, .. } if id == "42") && app.hooks.is_empty());

    let secret = "secret = { env = \"SIGNING_KEY\" }";
    let gitlab = format!("[sources.gitlab]\n{secret}\n[sources.gitlab.recover]\nhooks = [\"acme/tools/api\"]\n{TOKEN}");
    assert_eq!(recovers(&gitlab).window, days(7));
    let stripe =
        format!("[sources.stripe]\n{secret}\n[sources.stripe.recover]\n{TOKEN}\napi = \"http://127.0.0.1:1/\"");
    let stripe = recovers(&stripe);
    assert_eq!((stripe.window, stripe.api.as_deref()), (days(30), Some("http://127.0.0.1:1")));
    assert!(!format!("{stripe:?}").contains(SIGNING_KEY));
}

#[test]
fn what_cannot_be_asked_says_why() {
    let secret = "secret = { env = \"SIGNING_KEY\" }";
    for (text, key, says) in [
        ("[sources.github.recover]\nhooks = [\"acme/api\"]".to_owned(), "recover.token", "GITHUB_TOKEN is not set"),
        (
            format!(
                "[github]\n{TOKEN}\n[sources.github.recover]\nhooks = [\"a\"]\napi = \"https://ghe.example/api/v3\""
            ),
            "recover.token",
            "nobody may ask github without a token",
        ),
        (format!("[sources.github.recover]\n{TOKEN}"), "recover.hooks", "where do its webhooks hang"),
        (
            format!("[sources.github.recover]\n{TOKEN}\nhooks = [\"a/b/c\"]"),
            "recover.hooks[0]",
            "neither OWNER/REPOSITORY",
        ),
        (
            "[sources.github.recover]\napp = \"1\"\napp_key = { env = \"SIGNING_KEY\" }\nhooks = [\"a/b\"]".to_owned(),
            "recover.hooks",
            "an app has one webhook",
        ),
        (format!("[sources.github.recover]\n{TOKEN}\nhooks = [\"a\"]\nevery = \"1 s\""), "recover.every", "10 s"),
        (format!("[sources.github.recover]\n{TOKEN}\nhooks = [\"a\"]\nevrey = \"1 min\""), "recover.evrey", "every"),
        (
            format!("[sources.stripe]\n{secret}\n[sources.stripe.recover]\n{TOKEN}\nhooks = [\"a/b\"]"),
            "recover.hooks",
            "one list of events",
        ),
        (
            format!("[sources.stripe]\n{secret}\n[sources.stripe.recover]\n{TOKEN}\nmode = \"redeliver\""),
            "recover.mode",
            "only GitHub is asked to send again",
        ),
        (
            format!("[sources.gitlab]\n{secret}\n[sources.gitlab.recover]\n{TOKEN}\nhooks = [\"acme\"]"),
            "recover.hooks[0]",
            "GROUP/PROJECT",
        ),
        (
            format!("[sources.shopify]\n{secret}\n[sources.shopify.recover]\n{TOKEN}"),
            "sources.shopify.recover",
            "no list of what it has sent",
        ),
        ("[github]\ntoken = \"ghp_x\"".to_owned(), "github.token", "never values"),
    ] {
        let problems = check(&text).unwrap_err();
        assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
        let line = line(&problems[0]);
        assert!(problems[0].key.ends_with(key) && line.contains(says), "{text}\n{line}");
    }
}

#[test]
fn what_is_only_watched_needs_no_secret_and_has_no_door() {
    let settings = good("[sources.rust]\nprovider = \"github\"\npoll = [\"rust-lang/rust\"]").settings;
    assert!(!settings.sources["rust"].has_door());
    assert_eq!(effective_json(&settings)["sources"]["rust"]["poll"][0], "rust-lang/rust");
}

#[test]
fn the_effective_configuration_shows_it_without_the_token() {
    let settings = good(&format!("[sources.github.recover]\nhooks = [\"acme/api\"]\n{TOKEN}")).settings;
    let text = effective(&settings);
    assert!(text.contains("hooks = [\"acme/api\"]") && text.contains("mode = \"read\""), "{text}");
    assert!(!text.contains(SIGNING_KEY));
    let problems = check(&text).unwrap_err();
    assert!(problems.iter().all(|problem| problem.what.starts_with("secrets are never values")), "{problems:#?}");
}
