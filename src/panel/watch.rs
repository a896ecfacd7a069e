//! Looks for what is new while somebody watches, and tells it. Owns the comparison with what was told before; refuses to look
//! while nobody watches.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{api, live::Live};
use crate::{
    bell::{Bell, Edge},
    store::{Choice, DeliveryRow, Reader, Store, StoreError},
    threads::{Stop, Wake},
    work::watch::Findings,
};

/// Of the list so much is compared: what changes further back is seen by whoever opens it.
const ROWS: u32 = 50;
/// Between two looks: who is woken by one delivery is shown it at once, and of many each time those of a fifth of a second. More often,
/// twenty open pages are felt at the door.
const LOOKS_PACE: Duration = Duration::from_millis(200);
/// Between two messages of edges: 25 a second.
const EDGES_PACE: Duration = Duration::from_millis(40);
/// What nobody wakes us for, such as the end of a mute.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// While nobody watches.
const IDLE: Duration = Duration::from_secs(60);
/// Edges of one message.
const EDGES_MAX: usize = 128;

/// What is looked at. [`Watch::run`] and [`edges`] are the threads.
pub struct Watch {
    /// The database.
    pub store: Store,
    /// The desk.
    pub bell: Bell,
    /// How all is.
    pub findings: Findings,
    /// Who is told.
    pub live: Live,
    /// Woken when something may have changed, or somebody begins to watch.
    pub wake: Wake,
    /// Told when to end, and woken then.
    pub stop: Stop,
    /// For the pause between two looks.
    pub rest: Wake,
}

/// What was told.
#[derive(Default)]
struct Told {
    rows: Option<BTreeMap<i64, Value>>,
    desk: Value,
    health: Value,
}

impl Watch {
    /// Works until told to stop.
    pub fn run(self) {
        let (mut told, mut reader) = (Told::default(), None);
        while !self.stop.is_told() {
            if self.live.streams() == 0 {
                // Whoever comes loads everything first, also who has been here before.
                if told.rows.is_some() {
                    self.live.forget();
                }
                (told, reader) = (Told::default(), None);
                self.store.when_changed(None);
                self.wake.wait(IDLE);
                continue;
            }
            self.store.when_changed(Some(self.wake.clone()));
            if let Err(error) = self.look(&mut told, &mut reader) {
                log::debug!("cannot look for news: {error}");
                reader = None;
            }
            self.rest.wait(LOOKS_PACE);
            self.wake.wait(LOOK_AGAIN);
        }
    }

    fn look(&self, told: &mut Told, reader: &mut Option<Reader>) -> Result<(), StoreError> {
        let state = self.bell.state();
        let desk = api::desk(&state, self.bell.settings());
        // What each line does is told by its edges.
        let mut lasting = desk.clone();
        if let Some(lines) = lasting["lines"].as_array_mut() {
            for line in lines {
                ["lit", "percent", "hz"].iter().for_each(|key| line[*key] = Value::Null);
            }
        }
        if told.desk != lasting {
            if !told.desk.is_null() {
                self.live.tell("desk", &desk);
            }
            told.desk = lasting;
        }
        let report = self.findings.latest();
        let health = json!({ "status": report.status, "sentence": report.sentence });
        if told.health != health {
            if !told.health.is_null() {
                self.live.tell("health", &health);
            }
            told.health = health;
        }
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.store.reader()?),
        };
        let page = reader.page(&Choice { limit: ROWS, ..Choice::default() })?;
        let rows: Vec<(i64, Value)> =
            page.deliveries.iter().rev().map(|row: &DeliveryRow| (row.id, api::to_value(row))).collect();
        if let Some(before) = &told.rows {
            let news = rows.iter().filter(|(id, row)| before.get(id) != Some(row));
            self.live.tell_all(news.map(|(_, row)| ("delivery", row)));
        }
        if told.rows.replace(rows.into_iter().collect()).is_none() {
            self.live.begin();
        }
        Ok(())
    }
}

/// Tells of every edge until there are no more: the first at once, those that follow it closely together.
pub fn edges(edges: &Receiver<Edge>, live: &Live, wake: &Wake) {
    while let Ok(first) = edges.recv() {
        let mut together = vec![first];
        together.extend(edges.try_iter().take(EDGES_MAX - 1));
        tell(live, &together);
        let until = Instant::now() + EDGES_PACE;
        together.clear();
        while together.len() < EDGES_MAX {
            match edges.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(edge) => together.push(edge),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        if !together.is_empty() {
            tell(live, &together);
        }
        // A cue may have begun or ended.
        wake.wake();
    }
}

fn tell(live: &Live, edges: &[Edge]) {
    if live.streams() == 0 {
        return;
    }
    let edges: Vec<Value> = edges
        .iter()
        .map(|edge| {
            let Edge { t_ms, line, level, percent, hz, late_us: _ } = edge;
            json!({ "line": line, "level": level, "percent": percent, "hz": hz, "t_ms": t_ms })
        })
        .collect();
    live.tell("edges", &json!({ "edges": edges }));
}
