//! The public URL: does what is called there end in this very instance.

use std::time::Duration;

use super::Check;
use crate::{
    config::Settings,
    door::canary::{self, Found, Obstacle},
    http::Client,
    store::Reader,
    time::Timestamp,
};

const NAME: &str = "public URL";

/// The finding, and what the other end's clock showed.
pub(super) fn look(settings: &Settings, client: &Client, is_running: bool) -> (Check, Option<Timestamp>) {
    let without_date = |check| (check, None);
    let Some(url) = &settings.door.public_url else {
        let remedy = "add to [door] in hookbell.toml: public_url = \"https://YOUR-HOST-NAME\"";
        return without_date(Check::warn(NAME, "not set, so whether it leads here cannot be tried", remedy));
    };
    let key = match Reader::open(&settings.store.path).and_then(|reader| reader.own_key()) {
        Ok(Some(key)) => key,
        Ok(None) | Err(_) => {
            let said = format!("{url} was not tried: the database has nothing to know ourselves by");
            return without_date(Check::warn(NAME, said, "start hookbell, and look again"));
        }
    };
    let mut nonce = [0; 16];
    if let Err(error) = getrandom::fill(&mut nonce) {
        return without_date(Check::fail(NAME, format!("the system has no randomness to give: {error}"), "try again"));
    }
    let found = canary::ask(client, url, &key, nonce, super::now());
    let date = match &found {
        Found::Ourselves { date, .. } => *date,
        Found::Another(answer) => answer.date,
        Found::Nobody(_) => None,
    };
    (judge(url, found.way(&settings.door.listen, || is_running)), date)
}

fn judge(url: &str, way: Result<Duration, Obstacle>) -> Check {
    match way {
        Ok(took) => {
            let ms = took.as_millis();
            let facts = serde_json::json!({ "round_trip_ms": ms });
            Check { facts, ..Check::ok(NAME, format!("{url} leads here; there and back in {ms} ms")) }
        }
        Err(Obstacle { what, remedy }) => Check::fail(NAME, format!("{url}: {what}"), &remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn both_verdicts_name_the_url() {
        let check = judge("https://x.example", Ok(Duration::from_millis(120)));
        assert_eq!((check.result, &check.facts["round_trip_ms"]), (Verdict::Ok, &120.into()));
        let obstacle = Obstacle { what: "nobody is there".to_owned(), remedy: "be there".to_owned() };
        let check = judge("https://x.example", Err(obstacle));
        assert_eq!((check.result, check.said.as_str()), (Verdict::Fail, "https://x.example: nobody is there"));
        assert_eq!(check.remedy.as_deref(), Some("be there"));
    }
}
