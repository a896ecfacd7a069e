//! What hookbell says about itself, kept and handled like what others send. Owns its row; refuses to know when something is
//! worth saying.

use std::time::Duration;

use rusqlite::params;

use super::{Status, Store, StoreError, inbox, writer::Durability};
use crate::{event::Event, provider};

/// The source that hookbell itself is. No configured source can be called so.
pub const OWN_SOURCE: &str = "_self";
/// Who tells goes on looking when the disk takes longer; it is told again later, and stored once.
const WITHIN: Duration = Duration::from_secs(5);
/// What stands where others have their provider's name.
pub const OWN_PROVIDER: &str = "hookbell";

impl Store {
    /// Stores an event of our own for the router, once for each `id`. Returns its delivery's id, or `None` when it was there
    /// already.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn note_own(&self, event: &Event, id: String) -> Result<Option<i64>, StoreError> {
        let body = serde_json::to_vec(event)
            .map_err(|error| StoreError::Corrupt { what: format!("an event of our own: {error}") })?;
        let sha256 = provider::body_sha256(&body);
        let body_hash = i64::from_be_bytes(sha256[..8].try_into().unwrap_or_default());
        let (kind, bytes) = (event.kind.clone(), i64::try_from(body.len()).unwrap_or(i64::MAX));
        let ticket = self.submit(inbox::settling(Durability::Full), move |connection, now| {
            let stored = connection
                .prepare_cached(
                    "INSERT INTO delivery (source, provider, event_type, delivery_id, body_hash, received_ms, stage,
                                           status, peer, verified_by)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'new', ?7, 'itself', 0) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    OWN_SOURCE,
                    OWN_PROVIDER,
                    kind,
                    id,
                    body_hash,
                    now.ms(),
                    Status::Unprocessed.name()
                ])?;
            if stored == 0 {
                return Ok(None);
            }
            let delivery = connection.last_insert_rowid();
            connection
                .prepare_cached(
                    "INSERT INTO body (delivery, sha256, target, headers, raw_bytes, codec, bytes)
                     VALUES (?1, ?2, '', '[]', ?3, 'raw', ?4)",
                )?
                .execute(params![delivery, sha256, bytes, body])?;
            Ok(Some(delivery))
        })?;
        ticket.wait(WITHIN)
    }
}
