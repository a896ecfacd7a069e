//! `[sources.NAME.recover]` and `poll`: what is asked of providers, and who we are to them.

use std::time::Duration;

use super::{Around, ends};
use crate::{
    config::{
        Mode, Recover, Secrets, address,
        problem::{Fault, Report},
        raw::{Node, Section},
        secret::{self, Origin},
        value::{self, DAY, HOUR, SECOND},
    },
    provider::Provider,
    remote::{Pass, github::Place},
    secret::Secret,
};

/// How often is asked when the file says nothing.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// Places of one source.
const HOOKS_MAX: usize = 100;
/// Repositories that one source watches without a webhook.
const POLLED_MAX: usize = 50;

/// What there is to know of a provider that can be asked.
struct Asked {
    /// How long it keeps what it has sent.
    window: Duration,
    /// Where the token is when nothing is said.
    variable: &'static str,
    /// What it calls the places where webhooks hang; `None`: there is one.
    places: Option<&'static str>,
}

fn asked(provider: Provider) -> Option<Asked> {
    let (window, variable, places) = match provider {
        Provider::GitHub => (DAY * 3, "GITHUB_TOKEN", Some("[\"owner/repository\"], or an organisation")),
        Provider::GitLab => (DAY * 7, "GITLAB_TOKEN", Some("[\"group/project\"]")),
        Provider::Stripe => (DAY * 30, "STRIPE_API_KEY", None),
        _ => return None,
    };
    Some(Asked { window, variable, places })
}

/// `[github] token`: what is used where a source says nothing. It may be missing.
pub(super) fn token(section: &mut Section<'_>, around: &Around<'_>, report: &mut Report) -> Option<Secret> {
    let origin = match section.get("token") {
        Some(node) => secret::origin(&node, &around.beside, report)?,
        None => Origin::Variable("GITHUB_TOKEN".to_owned()),
    };
    ends::fetched(section, "token", (&origin, None), around, report)
}

/// `[sources.NAME.recover]`
pub(super) fn recover(
    mut section: Section<'_>,
    provider: Provider,
    usual: Option<&Secret>,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Recover> {
    if !section.is_present() {
        return None;
    }
    let place = section.place.clone();
    let Some(asked) = asked(provider) else {
        let fault = Fault::new(format!("{provider} has no list of what it has sent that could be asked for"));
        report.error(&place, fault.hint("github, gitlab and stripe have one; remove this section"));
        return None;
    };
    let is_github = provider == Provider::GitHub;
    let errors = report.errors();
    let hooks = section.read_list("hooks", report, |node| match provider {
        Provider::GitHub => Place::parse(node.text()?).map(|place| place.to_string()).map_err(Fault::new),
        _ => project(node),
    });
    let hooks = hooks.unwrap_or_default();
    let mode = section.read("mode", report, |node| {
        let mode = value::choice(node, &[("read", Mode::Read), ("redeliver", Mode::Redeliver)])?;
        match mode == Mode::Redeliver && !is_github {
            true => Err(Fault::new(format!("only GitHub is asked to send again, {provider} is read"))),
            false => Ok(mode),
        }
    });
    let every = section.read("every", report, |node| value::duration(node, 10 * SECOND..=DAY));
    let window = section.read("window", report, |node| value::duration(node, HOUR..=31 * DAY));
    let api = section.read("api", report, |node| {
        let url = node.text()?;
        address::check_url(url)?;
        Ok(url.trim_end_matches('/').to_owned())
    });
    let app = section.read("app", report, |node| match node.text()? {
        "" => Err(Fault::new("the app's id is empty")),
        id if is_github => Ok(id.to_owned()),
        _ => Err(Fault::new(format!("`app` means nothing to {provider}"))),
    });
    let is_app = app.is_some();
    let pass = match app {
        Some(id) => {
            let node = section.get("app_key");
            let origin = node.and_then(|node| secret::origin(&node, &around.beside, report));
            let key = origin.and_then(|origin| ends::fetched(&section, "app_key", (&origin, None), around, report));
            key.map(|key| Pass::App { id, key })
        }
        None => {
            let origin = match section.get("token") {
                Some(node) => secret::origin(&node, &around.beside, report),
                // One that is for another server is shown to no other.
                None if is_github && usual.is_some() && api.is_none() => None,
                None => Some(Origin::Variable(asked.variable.to_owned())),
            };
            let own = origin.and_then(|origin| ends::fetched(&section, "token", (&origin, None), around, report));
            own.or(usual.filter(|_| is_github && api.is_none()).cloned()).map(Pass::Token)
        }
    };
    let is_whole = report.errors() == errors;
    section.get("app_key");
    let (key, fault) = match asked.places {
        Some(places) if hooks.is_empty() && !is_app => {
            let fault = Fault::new("where do its webhooks hang?".to_owned());
            ("hooks", fault.hint(format!("hooks = {places}")))
        }
        None if !hooks.is_empty() => ("hooks", Fault::new(format!("{provider} has one list of events; remove it"))),
        Some(_) if !hooks.is_empty() && is_app => ("hooks", Fault::new("an app has one webhook; remove it")),
        _ if hooks.len() > HOOKS_MAX => ("hooks", Fault::new(format!("{} of {HOOKS_MAX} at most", hooks.len()))),
        _ if pass.is_none() && around.secrets == Secrets::Needed => {
            let what = format!("nobody may ask {provider} without a token, and {} is not set", asked.variable);
            ("token", Fault::new(what).hint("token = { env = \"NAME\" }, { file = … } or { credential = … }"))
        }
        _ => ("", Fault::new("")),
    };
    if !key.is_empty() && is_whole {
        report.error(&section.place_of(key), fault);
    }
    section.finish(report);
    Some(Recover {
        pass: pass.unwrap_or(Pass::Nobody),
        hooks,
        mode: mode.unwrap_or_default(),
        every: every.unwrap_or(EVERY),
        window: window.unwrap_or(asked.window),
        api,
    })
}

/// `poll` and `poll_every`: repositories that are watched without a webhook.
pub(super) fn poll(
    section: &mut Section<'_>,
    provider: Option<Provider>,
    report: &mut Report,
) -> (Vec<String>, Option<Duration>) {
    let polled = section.read_list("poll", report, |node| match Place::parse(node.text()?) {
        Ok(Place::Repository(name)) => Ok(name),
        Ok(_) => Err(Fault::new("a repository is OWNER/NAME")),
        Err(why) => Err(Fault::new(why)),
    });
    // GitHub lets nobody ask more often.
    let every = section.read("poll_every", report, |node| value::duration(node, 60 * SECOND..=DAY));
    let polled = polled.unwrap_or_default();
    let place = section.place_of("poll");
    let twice = (1..polled.len()).find(|&index| is_among(&polled[..index], &polled[index]));
    match provider {
        Some(provider) if provider != Provider::GitHub && !polled.is_empty() => {
            report.error(&place, Fault::new(format!("only repositories at GitHub are watched, not {provider}")));
        }
        _ if polled.len() > POLLED_MAX => {
            report.error(&place, Fault::new(format!("{} repositories of {POLLED_MAX} at most", polled.len())));
        }
        _ if twice.is_some() => {
            let name = twice.map_or("", |index| &polled[index]);
            report.error(&place, Fault::new(format!("{name} is there twice")));
        }
        _ if every.is_some() && polled.is_empty() => {
            let fault = Fault::new("nothing is watched that could be asked for so often");
            report
                .error(&section.place_of("poll_every"), fault.hint("add poll = [\"owner/repository\"], or remove it"));
        }
        _ => {}
    }
    (polled, every)
}

/// What has a webhook here need not be watched: everything would be told twice.
pub(super) fn check_told_once(
    polled: &[String],
    recover: Option<&Recover>,
    section: &Section<'_>,
    report: &mut Report,
) {
    let hooks = recover.map_or(&[][..], |recover| &recover.hooks);
    let owner = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    if let Some(name) = polled.iter().find(|name| is_among(hooks, name) || is_among(hooks, &owner(name))) {
        let fault = Fault::new(format!("{name} has a webhook by `recover.hooks`, so everything would be told twice"));
        report.error(&section.place_of("poll"), fault.hint("remove it from one of them"));
    }
}

/// Names at GitHub are the same in any case of letters.
fn is_among(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// `group/project`, with any number of groups.
fn project(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.text()?;
    let is_name = |name: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !name.is_empty() && !matches!(name, "." | "..") && name.chars().all(is_plain)
    };
    match text.contains('/') && text.len() <= 255 && text.split('/').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new(format!("`{text}` is not GROUP/PROJECT"))),
    }
}
