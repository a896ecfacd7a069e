//! Who may ask, what, and how often.

use std::time::Duration;

use hookbell::time::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Request},
    state::{State, now},
};

/// What a token may do.
#[derive(Clone, Debug)]
pub(crate) enum Rights {
    /// Fine-grained, with the permission Webhooks: write.
    Full,
    /// Fine-grained, with Webhooks: read.
    Read,
    /// Fine-grained, without Webhooks: 403.
    None,
    /// Fine-grained, for other repositories: 404, as if there were none.
    Elsewhere,
    /// Classic, with these scopes: `repo, read:org`.
    Classic(&'static str),
}

/// What is needed for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Write,
}

/// How long a limit lasts.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// How far in the future the end of an app's token may be, and how long ago its beginning has to be for clocks that differ.
const APP_TOKEN_MAX_S: i64 = 10 * 60;
const CLOCKS_DIFFER_S: i64 = 60;
const LIMITS_URL: &str = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api";

/// How much a credential may still ask.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u32,
    remaining: u32,
    reset: Timestamp,
}

impl Budget {
    fn new(limit: u32) -> Budget {
        Budget { limit, remaining: limit, reset: now().plus(WINDOW) }
    }

    pub(super) fn leave(&mut self, remaining: u32, reset: Timestamp) {
        (self.limit, self.remaining, self.reset) = (self.limit.max(remaining), remaining, reset);
    }

    /// Takes one away; false when there is none.
    fn take(&mut self) -> bool {
        if now() >= self.reset {
            (self.remaining, self.reset) = (self.limit, now().plus(WINDOW));
        }
        let is_left = self.remaining > 0;
        self.remaining = self.remaining.saturating_sub(1);
        is_left
    }

    fn give_back(&mut self) {
        self.remaining += 1;
    }

    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let header = |name: &str, value: String| (format!("x-ratelimit-{name}"), value);
        vec![
            header("limit", self.limit.to_string()),
            header("remaining", self.remaining.to_string()),
            header("used", (self.limit.saturating_sub(self.remaining)).to_string()),
            // A second that has begun has not come yet.
            header("reset", (self.reset.ms() + 999).div_euclid(1000).to_string()),
            header("resource", "core".to_owned()),
        ]
    }
}

impl State {
    /// What this token has left; the empty one is everybody's without a token.
    pub(super) fn budget(&mut self, purse: &str) -> &mut Budget {
        let limit = if purse.is_empty() { 60 } else { 5000 };
        self.budgets.entry(purse.to_owned()).or_insert_with(|| Budget::new(limit))
    }

    /// The answer with the limits' headers. Nothing new costs nothing, for those who say who they are.
    pub(super) fn limited(&mut self, request: &Request, make: impl FnOnce(&mut State) -> Answer) -> Answer {
        let purse = request.purse();
        let is_left = self.budget(&purse).take();
        let mut answer = if is_left { make(self) } else { refused_by_limit(&purse) };
        let budget = self.budget(&purse);
        if answer.status == 304 && !purse.is_empty() && is_left {
            budget.give_back();
        }
        answer.headers.extend(budget.headers());
        answer
    }

    /// Whether this request may be made: on hooks of this owner.
    pub(super) fn permit(&self, request: &Request, owner: &str, need: Need) -> Result<Vec<(String, String)>, Answer> {
        if owner == "app" {
            return self.permit_app(request).map(|()| Vec::new());
        }
        let credential = request.credential();
        if credential.is_empty() {
            return Err(Answer::error(401, "Requires authentication"));
        }
        let Some(rights) = self.tokens.get(&credential) else {
            return Err(Answer::error(401, "Bad credentials"));
        };
        let area = if owner.contains('/') { "repository_hooks" } else { "organization_hooks" };
        let permission = format!("{area}={}", if need == Need::Read { "read" } else { "write" });
        let header = vec![("x-accepted-github-permissions".to_owned(), permission)];
        match rights {
            Rights::Full => Ok(header),
            Rights::Read if need == Need::Read => Ok(header),
            Rights::Read | Rights::None => {
                let mut answer = Answer::error(403, "Resource not accessible by personal access token");
                answer.headers.extend(header);
                Err(answer)
            }
            Rights::Elsewhere => Err(Answer::error(404, "Not Found")),
            Rights::Classic(scopes) => permit_classic(scopes, owner, need),
        }
    }

    /// The token that an app signs for itself. Its signature is not looked at.
    fn permit_app(&self, request: &Request) -> Result<(), Answer> {
        let undecodable = || Answer::error(401, "A JSON web token could not be decoded");
        let token = request.credential();
        let parts: Vec<&str> = token.split('.').collect();
        let [head, claims, signature] = parts[..] else { return Err(undecodable()) };
        let read = |part| base64_json(part).ok_or_else(undecodable);
        let (head, claims) = (read(head)?, read(claims)?);
        // 2048 bits of RSA.
        if head["alg"] != "RS256" || base64_url(signature).is_none_or(|signature| signature.len() < 256) {
            return Err(undecodable());
        }
        let is_ours = match &claims["iss"] {
            Value::Number(id) => id.to_string() == self.app_id,
            id => id.as_str() == Some(&self.app_id),
        };
        if !is_ours {
            return Err(Answer::error(404, "Integration not found"));
        }
        let bad = |message| Err(Answer::error(401, message));
        let (Some(iat), Some(exp)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
            return bad("Missing 'issued at' claim ('iat') in assertion");
        };
        let seconds = now().seconds();
        if iat > seconds + CLOCKS_DIFFER_S {
            return bad(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            );
        }
        if exp <= seconds {
            return bad(
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
            );
        }
        if exp > seconds + APP_TOKEN_MAX_S || exp - iat > APP_TOKEN_MAX_S + CLOCKS_DIFFER_S {
            return bad("'Expiration time' claim ('exp') is too far in the future");
        }
        Ok(())
    }
}

fn permit_classic(scopes: &str, owner: &str, need: Need) -> Result<Vec<(String, String)>, Answer> {
    let accepted: &[&str] = match (owner.contains('/'), need) {
        (true, Need::Read) => &["admin:repo_hook", "read:repo_hook", "repo", "write:repo_hook"],
        (true, Need::Write) => &["admin:repo_hook", "repo", "write:repo_hook"],
        (false, _) => &["admin:org_hook"],
    };
    let headers = vec![
        ("x-oauth-scopes".to_owned(), scopes.to_owned()),
        ("x-accepted-oauth-scopes".to_owned(), accepted.join(", ")),
    ];
    if scopes.split(',').any(|scope| accepted.contains(&scope.trim())) {
        return Ok(headers);
    }
    let mut answer = Answer::error(404, "Not Found");
    answer.headers.extend(headers);
    Err(answer)
}

fn refused_by_limit(purse: &str) -> Answer {
    let message = if purse.is_empty() {
        "API rate limit exceeded for 127.0.0.1. (But here's the good news: Authenticated requests get a higher rate limit. \
         Check out the documentation for more details.)"
    } else {
        "API rate limit exceeded for user ID 583231."
    };
    Answer::json(403, json!({ "message": message, "documentation_url": LIMITS_URL, "status": "403" }))
}

fn base64_url(part: &str) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn base64_json(part: &str) -> Option<Value> {
    serde_json::from_slice(&base64_url(part)?).ok()
}
