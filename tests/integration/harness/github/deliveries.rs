//! What was delivered: listed, shown, delivered again.

use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Request, link},
    state::{Delivery, State, moment, now},
};

/// How a cursor begins; the id of a page's first delivery follows.
const CURSOR: &str = "v1_";

impl State {
    pub(super) fn list_deliveries(&self, request: &Request, hook: i64) -> Result<Answer, Answer> {
        let per_page = request.per_page();
        let cursor = request.query.get("cursor");
        let from = match cursor {
            None => i64::MAX,
            Some(text) => text
                .strip_prefix(CURSOR)
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| Answer::error(400, "Invalid cursor"))?,
        };
        let wanted = request.query.get("status").map(String::as_str);
        let kept: Vec<&Delivery> = self
            .deliveries
            .iter()
            .rev()
            .filter(|delivery| delivery.hook == hook && self.is_kept(delivery))
            .filter(|delivery| match wanted {
                Some("success") => delivery.status_code < 400,
                Some("failure") => delivery.status_code >= 400,
                _ => true,
            })
            .collect();
        let first = kept.iter().position(|delivery| delivery.id <= from).unwrap_or(kept.len());
        let page: Vec<Value> = kept[first..].iter().take(per_page).map(|delivery| delivery.item()).collect();
        let query = |cursor: Option<i64>| {
            let cursor = cursor.map(|id| format!("&cursor={CURSOR}{id}")).unwrap_or_default();
            let status = wanted.map(|status| format!("&status={status}")).unwrap_or_default();
            format!("per_page={per_page}{status}{cursor}")
        };
        let relations = [
            ("prev", (first > 0).then(|| query(Some(kept[first.saturating_sub(per_page)].id)))),
            ("next", kept.get(first + per_page).map(|delivery| query(Some(delivery.id)))),
            ("first", cursor.map(|_| query(None))),
        ];
        let answer = Answer::json(200, page.into());
        let owner = &self.hook(hook).owner;
        let rest = if owner == "app" { "deliveries".to_owned() } else { format!("hooks/{hook}/deliveries") };
        Ok(match link(&self.by_id(owner, &rest), &relations) {
            Some(link) => answer.with("link", &link),
            None => answer,
        })
    }

    pub(super) fn show_delivery(&self, hook: i64, id: &str) -> Result<Answer, Answer> {
        let delivery = self.delivery(hook, id)?;
        let mut json = delivery.item();
        let headers: Map<String, Value> =
            delivery.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json["url"] = delivery.url.as_str().into();
        json["request"] = json!({ "headers": headers, "payload": delivery.payload });
        json["response"] = match &delivery.answer {
            Some(answer) => json!({ "headers": { "Content-Type": "application/json" }, "payload": answer }),
            None => json!({ "headers": {}, "payload": null }),
        };
        Ok(Answer::json(200, json))
    }

    pub(super) fn deliver_again(&mut self, hook: i64, id: &str) -> Result<Answer, Answer> {
        let old = self.delivery(hook, id)?.clone();
        let again = self.prepare(hook, &old.event, &old.payload, &old.guid, true);
        self.pending.push(again);
        Ok(Answer::json(202, json!({})))
    }

    fn delivery(&self, hook: i64, id: &str) -> Result<&Delivery, Answer> {
        let id = id.parse::<i64>().ok();
        let found = self.deliveries.iter().find(|one| Some(one.id) == id && one.hook == hook && self.is_kept(one));
        found.ok_or_else(|| Answer::error(404, "Not Found"))
    }

    fn is_kept(&self, delivery: &Delivery) -> bool {
        now().since(delivery.at) <= self.deliveries_kept
    }
}

impl Delivery {
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    fn item(&self) -> Value {
        json!({
            "id": self.id, "guid": self.guid, "delivered_at": moment(self.at), "redelivery": self.redelivery,
            "duration": 0.27, "status": self.status, "status_code": self.status_code, "event": self.event,
            "action": self.payload["action"], "installation_id": null, "repository_id": self.payload["repository"]["id"],
            "throttled_at": null,
        })
    }
}
