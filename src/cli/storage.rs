//! What `status` says about the disk: how large the database is, and how much is written to the card.

use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use crate::{
    config,
    store::{Counted, Flash, Reader, Size},
    time::{Clock, SystemClock},
};

/// The facts, for `--json` and for [`lines`]. `unsettled` is what the running service has counted and not yet written down.
pub(super) fn facts(reader: &Reader, settings: &config::Store, unsettled: &Value) -> Result<Value, Failure> {
    let number = |key: &str| unsettled[key].as_i64();
    let unsettled = Counted {
        written_bytes: number("written_bytes"),
        deliveries: number("deliveries").unwrap_or(0),
        payload_bytes: number("payload_bytes").unwrap_or(0),
    };
    let Size { used_bytes, file_bytes, log_bytes, shrinks, oldest } = reader.size()?;
    let flash = reader.flash(SystemClock.wall(), unsettled)?;
    let Flash { today, lately, since, until: _ } = flash;
    let per = |count: i64| lately.written_bytes.filter(|_| count > 0).map(|bytes| bytes as f64 / count as f64);
    Ok(json!({
        "used_bytes": used_bytes,
        "size_bytes_max": settings.size_bytes_max,
        "keep_s": settings.keep.map(|keep| keep.as_secs()),
        "file_bytes": file_bytes,
        "log_bytes": log_bytes,
        "shrinks": shrinks,
        "oldest_at": oldest,
        "flash": {
            "today": counted(&today),
            "lately": counted(&lately),
            "since": since,
            "written_bytes_per_delivery": per(lately.deliveries),
            "written_bytes_per_payload_byte": per(lately.payload_bytes),
            "written_bytes_a_year": flash.bytes_a_year(),
        },
    }))
}

/// Counts as JSON.
fn counted(counted: &Counted) -> Value {
    let Counted { written_bytes, deliveries, payload_bytes } = counted;
    json!({ "written_bytes": written_bytes, "deliveries": deliveries, "payload_bytes": payload_bytes })
}

/// The same in words.
pub(super) fn lines(facts: &Value) -> Vec<String> {
    let bytes = |pointer: &str| facts.pointer(pointer).and_then(Value::as_f64);
    let shown = |pointer: &str| size(bytes(pointer).unwrap_or(0.0));
    let kept = match facts["keep_s"].as_u64() {
        Some(seconds) => format!("{} days", seconds as f64 / 86_400.0),
        None => "forever".to_owned(),
    };
    let mut database = format!(
        "database: {} of {} at most, {} on the disk with its log; kept {kept}",
        shown("/used_bytes"),
        shown("/size_bytes_max"),
        size(bytes("/file_bytes").unwrap_or(0.0) + bytes("/log_bytes").unwrap_or(0.0)),
    );
    if let Some(oldest) = facts["oldest_at"].as_str() {
        database += &format!(", the oldest delivery is of {oldest}");
    }
    let mut lines = vec![database];
    if facts["shrinks"] == json!(false) {
        lines.push("  the file never becomes smaller; `hookbell backup` and `restore` make one that does".to_owned());
    }
    if bytes("/flash/today/written_bytes").is_none() {
        return lines;
    }
    let deliveries = facts["flash"]["today"]["deliveries"].as_i64().unwrap_or(0);
    let mut card =
        format!("card: {} written today (UTC), {deliveries} deliveries", shown("/flash/today/written_bytes"));
    if let (Some(each), Some(per_byte)) =
        (bytes("/flash/written_bytes_per_delivery"), bytes("/flash/written_bytes_per_payload_byte"))
    {
        card += &format!("; lately {} a delivery, {per_byte:.1} bytes per byte of payload", size(each));
    }
    lines.push(card);
    let since = facts["flash"]["since"].as_str().and_then(crate::time::Timestamp::parse);
    if let (Some(year), Some(since)) = (bytes("/flash/written_bytes_a_year"), since) {
        let span = span(SystemClock.wall().since(since));
        lines.push(format!("  about {} a year, if it goes on as in the last {span}", size(year)));
    }
    lines
}

/// Bytes as cards are sold: in powers of ten.
pub(super) fn size(bytes: f64) -> String {
    let (scale, unit) = match bytes {
        ..1e3 => return format!("{bytes:.0} bytes"),
        ..1e6 => (1e3, "kB"),
        ..1e9 => (1e6, "MB"),
        _ => (1e9, "GB"),
    };
    format!("{:.1} {unit}", bytes / scale)
}

fn span(time: Duration) -> String {
    match time.as_secs() / 3600 {
        hours @ ..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_powers_of_ten() {
        let sizes = [0.0, 999.0, 1000.0, 52_340.0, 1_048_576.0, 412_000_000.0, 2.5e9].map(size);
        assert_eq!(sizes, ["0 bytes", "999 bytes", "1.0 kB", "52.3 kB", "1.0 MB", "412.0 MB", "2.5 GB"]);
    }
}
