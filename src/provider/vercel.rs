//! Vercel: `x-vercel-signature`, an HMAC-SHA1 of the body in hexadecimal, made with the webhook's secret or the
//! integration's client secret. A delivery is `id` and `type` in the body. No time is signed.
//!
//! Source of the rules: vercel.com/docs/webhooks, "Securing webhooks" and "Webhooks API reference".

use crate::{headers::Headers, time::Timestamp};

use super::{
    Context, Identity, Normalised, Rejection, Signing, Terms, Unverified,
    draft::Draft,
    json::{self, Json},
    read,
    rules::Rules,
    sample::{Sample, Seed, fill},
    signature::{self, Algorithm},
};

const SIGNATURE: &str = "x-vercel-signature";

pub(super) const RULES: Rules = Rules {
    name: "vercel",
    admit: |_, headers| signature_of(headers).map(|_| ()),
    judge,
    identify: |_, request| {
        let [event_type, id] = json::values(&request.body, ["/type", "/id"]);
        Ok(Identity::of(event_type.text(), id.text()))
    },
    normalise,
    samples: SAMPLES,
    build,
    sign,
    ..Rules::COMMON
};

fn judge(terms: &Terms, request: &Unverified, _: Timestamp) -> Result<usize, Rejection> {
    let made = signature_of(&request.headers)?;
    signature::signed_by(&terms.secrets, Algorithm::Sha1, &[&request.body], &[made]).ok_or(Rejection::SignatureWrong)
}

fn signature_of(headers: &Headers) -> Result<Vec<u8>, Rejection> {
    let made = read::hex(read::proof(headers, SIGNATURE)?);
    made.ok_or_else(|| Rejection::malformed(SIGNATURE, "it is not lower-case hexadecimal"))
}

fn normalise(context: &Context<'_>, event_type: &str, _: &Headers, body: &[u8]) -> Normalised {
    let body = match Json::object(body) {
        Ok(body) => body,
        Err(why) => return Normalised::Undecodable(why),
    };
    // Integrations had the same names with a hyphen. What is ready and promoted later has succeeded before.
    let kind = match body["type"].text().unwrap_or(event_type) {
        "deployment.succeeded" => "deployment_succeeded",
        "deployment.error" | "deployment-error" => "deployment_failed",
        other => return Normalised::Skipped(format!("{} is not an event we tell about", read::shown(other))),
    };
    Normalised::Events(vec![tell(kind, &body["payload"]).finish(context)])
}

fn tell(kind: &'static str, payload: &Json<'_>) -> Draft {
    let (deployment, links) = (&payload["deployment"], &payload["links"]);
    // What the commit's host says, under names of its own.
    let meta = |names: &[&str]| names.iter().find_map(|name| deployment["meta"][*name].text());
    let project = payload["project"]["name"].text().or(deployment["name"].text()).or(payload["name"].text());
    // `production`, `staging`, or null for a preview.
    let environment = payload["target"].text().unwrap_or("preview");
    let branch = meta(&["githubCommitRef", "gitlabCommitRef", "bitbucketCommitRef"]);
    let sha = meta(&["githubCommitSha", "gitlabCommitSha", "bitbucketCommitSha"]);
    let message = meta(&["githubCommitMessage", "gitlabCommitMessage", "bitbucketCommitMessage"]);
    let author = meta(&[
        "githubCommitAuthorLogin",
        "githubCommitAuthorName",
        "gitlabCommitAuthorName",
        "bitbucketCommitAuthorName",
    ]);
    let message = message.and_then(|message| message.lines().next());
    let title = match message {
        Some(message) if !message.trim().is_empty() => format!("{environment}: {message}"),
        _ => environment.to_owned(),
    };
    let page = deployment["url"].text().map(|host| match host.starts_with("http") {
        true => host.to_owned(),
        false => format!("https://{host}"),
    });
    // After a failure people want the log, after a success the place itself.
    let (log, page) = (links["deployment"].text(), page.as_deref());
    let urls = if kind == "deployment_failed" { [log, page] } else { [page, log] };
    // The next deployment to the same place ends what a failed one began; previews are a place for each branch.
    let place = match (environment, branch) {
        ("preview", Some(branch)) => branch,
        (environment, _) => environment,
    };
    let subject = project.map(|project| format!("{project}@{place} deployment"));
    Draft::new(kind)
        .actor(author)
        .repository(Some(project.unwrap_or("vercel")))
        .title(Some(&title))
        .url(urls.into_iter().chain([links["project"].text()]))
        .subject(subject)
        .text("branch", branch)
        .text("environment", Some(environment))
        .text("sha", sha)
        .text("commit", message)
        .text("reason", deployment["errorMessage"].text())
}

const SAMPLES: &[(&str, &str)] = &[
    ("deployment_failed", "a deployment to production fails"),
    ("deployment_succeeded", "a deployment to production succeeds"),
    ("deployment_begins", "a deployment begins, which is not told"),
];

const DEPLOYMENT: &str = r#"{
    "id":"uev_$event","type":"$type","createdAt":1767322800000,"region":null,
    "payload":{
        "user":{"id":"ada"},"team":{"id":"team_acme"},"project":{"id":"prj_desk"},"plan":"pro","target":"production",
        "deployment":{"id":"dpl_$deployment","name":"desk-lamp","url":"desk-lamp-$host-acme.vercel.app","meta":{
            "githubCommitAuthorLogin":"$author","githubCommitMessage":"$message",
            "githubCommitRef":"main","githubCommitSha":"$sha"}},
        "links":{"deployment":"https://vercel.com/acme/desk-lamp/$deployment",
            "project":"https://vercel.com/acme/desk-lamp"}
    }
}"#;

fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let event_type = match name {
        "deployment_failed" => "deployment.error",
        "deployment_succeeded" => "deployment.succeeded",
        "deployment_begins" => "deployment.created",
        _ => return None,
    };
    let body = fill(
        DEPLOYMENT,
        &[
            ("event", &seed.word("event", 24)),
            ("type", &event_type),
            ("deployment", &seed.word("deployment", 24)),
            ("host", &seed.word("host", 9).to_ascii_lowercase()),
            ("author", &seed.pick("author", &["ada-lights", "brass-otto"])),
            ("message", &seed.pick("message", &["Dim the lamp after sunset", "Keep the buzzer quiet"])),
            ("sha", &(seed.guid("sha").replace('-', "") + "00c0ffee")),
        ],
    );
    Some(Sample::json(event_type, body))
}

fn sign(signing: &Signing<'_>, sample: &mut Sample) -> Result<(), &'static str> {
    let made = signature::sign(signing.secret.expose().as_bytes(), Algorithm::Sha1, &[&sample.body]);
    sample.set(SIGNATURE, read::to_hex(&made));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::{Options, Provider};

    fn normalised(body: &Value) -> Normalised {
        let context = Context { provider: Provider::Vercel, source: "desk", options: &Options::NONE };
        normalise(&context, "unknown", &Headers::new(), body.to_string().as_bytes())
    }

    #[test]
    fn deployments_are_told_at_their_end() {
        let told = |kind: &str| {
            normalised(&json!({ "type": kind, "payload": { "target": null,
                "deployment": { "name": "lamp", "url": "lamp-1.vercel.app",
                    "meta": { "gitlabCommitRef": "dim", "gitlabCommitMessage": "Dim it\n\nA lot." } },
                "links": { "deployment": "https://vercel.com/acme/lamp/1" } } }))
        };
        let Normalised::Events(failed) = told("deployment.error") else { panic!() };
        let Normalised::Events(succeeded) = told("deployment.succeeded") else { panic!() };
        assert_eq!((failed[0].kind.as_str(), failed[0].title.as_str()), ("deployment_failed", "preview: Dim it"));
        assert_eq!(failed[0].url.as_deref(), Some("https://vercel.com/acme/lamp/1"));
        assert_eq!(succeeded[0].url.as_deref(), Some("https://lamp-1.vercel.app"));
        assert_eq!(failed[0].subject.as_deref(), Some("lamp@dim deployment"));
        assert_eq!(failed[0].subject, succeeded[0].subject);
        let whole = json!({ "type": "deployment.succeeded", "payload": { "name": "lamp",
            "deployment": { "url": "https://lamp.example.com" } } });
        let Normalised::Events(whole) = normalised(&whole) else { panic!() };
        assert_eq!(whole[0].url.as_deref(), Some("https://lamp.example.com"));
        for other in ["deployment.created", "deployment.canceled", "deployment.ready", "project.created"] {
            assert!(matches!(told(other), Normalised::Skipped(_)), "{other}");
        }
    }
}
