//! Deliveries on their way: made, signed, sent over loopback, and kept with how it went.

use std::{io, sync::Arc};

use serde_json::{Value, json};

use super::{
    Shared,
    state::{Delivery, State, now},
};
use crate::harness::http;

impl State {
    /// A delivery that is signed and not sent.
    pub(super) fn prepare(
        &mut self,
        hook: i64,
        event: &str,
        payload: &Value,
        guid: &str,
        redelivery: bool,
    ) -> Delivery {
        let id = self.new_delivery_id();
        let hook = self.hook(hook);
        let text = payload.to_string();
        let (sent, content_type) = match hook.content_type.as_str() {
            "json" => (text.into_bytes(), "application/json"),
            _ => {
                let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &text).finish();
                (form.into_bytes(), "application/x-www-form-urlencoded")
            }
        };
        let target = match hook.owner.as_str() {
            "app" => "integration",
            owner if owner.contains('/') => "repository",
            _ => "organization",
        };
        let target_id = if target == "integration" {
            self.app_id.clone()
        } else {
            self.owner_id(&hook.owner).unwrap_or_default().to_string()
        };
        let mut headers: Vec<(String, String)> = [
            ("Accept", "*/*"),
            ("content-type", content_type),
            ("User-Agent", "GitHub-Hookshot/b8c71d8"),
            ("X-GitHub-Delivery", guid),
            ("X-GitHub-Event", event),
            ("X-GitHub-Hook-ID", &hook.id.to_string()),
            ("X-GitHub-Hook-Installation-Target-ID", &target_id),
            ("X-GitHub-Hook-Installation-Target-Type", target),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        if let Some(secret) = &hook.secret {
            let signature = hmac(ring::hmac::HMAC_SHA256, secret, &sent);
            headers.push(("X-Hub-Signature-256".to_owned(), format!("sha256={signature}")));
            let signature = hmac(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret, &sent);
            headers.push(("X-Hub-Signature".to_owned(), format!("sha1={signature}")));
        }
        Delivery {
            id,
            guid: guid.to_owned(),
            hook: hook.id,
            at: now(),
            redelivery,
            status_code: 0,
            status: String::new(),
            event: event.to_owned(),
            payload: payload.clone(),
            sent,
            headers,
            url: hook.url.clone(),
            answer: None,
        }
    }

    pub(super) fn ping(&mut self, hook: i64) {
        let of_hook = self.hook_json(self.hook(hook));
        let owner = &self.hook(hook).owner;
        let mut payload = json!({
            "zen": "Anything added dilutes everything else.", "hook_id": hook, "hook": of_hook,
            "sender": { "login": "octocat", "id": 583_231 },
        });
        let id = self.owner_id(owner);
        if owner.contains('/') {
            payload["repository"] = json!({ "id": id, "full_name": owner });
        } else {
            payload["organization"] = json!({ "id": id, "login": owner });
        }
        let guid = self.new_guid();
        let ping = self.prepare(hook, "ping", &payload, &guid, false);
        self.pending.push(ping);
    }
}

impl Delivery {
    /// How it went; 0 is nobody there.
    pub(super) fn answered(&mut self, status_code: u16, body: Option<String>) {
        (self.status_code, self.status) = match status_code {
            0 => (502, "failed to connect".to_owned()),
            504 => (504, "timed out".to_owned()),
            200..=299 => (status_code, "OK".to_owned()),
            _ => (status_code, format!("Invalid HTTP Response: {status_code}")),
        };
        self.answer = body;
    }
}

/// Sends it, and keeps it with the answer.
pub(super) fn deliver(shared: &Arc<Shared>, mut delivery: Delivery) {
    let reach = shared.state().reach.clone();
    let answer = match reach {
        Some(door) => http::post(&door, path_of(&delivery.url), &delivery.headers, &delivery.sent),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    match answer {
        Ok(answer) => delivery.answered(answer.status, Some(answer.body)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            delivery.answered(504, None);
        }
        Err(_) => delivery.answered(0, None),
    }
    shared.state().keep_delivery(delivery);
    shared.moved.notify_all();
}

impl State {
    fn keep_delivery(&mut self, delivery: Delivery) {
        // One that took longer than its successor has its place all the same.
        let place = self.deliveries.iter().rposition(|other| other.id < delivery.id).map_or(0, |before| before + 1);
        self.deliveries.insert(place, delivery);
    }
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn hmac(algorithm: ring::hmac::Algorithm, secret: &str, bytes: &[u8]) -> String {
    let key = ring::hmac::Key::new(algorithm, secret.as_bytes());
    ring::hmac::sign(&key, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
