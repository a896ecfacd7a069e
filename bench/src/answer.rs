//! Whether the bytes so far are a whole answer. Enough of HTTP/1.1 for what servers of webhooks send; anything else is
//! broken, and a broken answer never counts.

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More has to come.
    Partial,
    /// It is all there.
    Whole {
        /// As in its first line.
        status: u16,
        /// Whether the server takes another request on this connection.
        is_kept_alive: bool,
    },
    /// It will never be one.
    Broken,
}

/// Looks at an answer from its first byte on; `is_ended` when no more will come.
pub fn progress(bytes: &[u8], is_ended: bool) -> Progress {
    look(bytes, is_ended).unwrap_or(match is_ended {
        true => Progress::Broken,
        false => Progress::Partial,
    })
}

/// `None` when there is too little to say.
fn look(bytes: &[u8], is_ended: bool) -> Option<Progress> {
    let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let Ok(head) = std::str::from_utf8(&bytes[..head_bytes]) else { return Some(Progress::Broken) };
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
    let Some(status) = status else { return Some(Progress::Broken) };
    let (mut length, mut is_kept_alive) = (None, head.starts_with("HTTP/1.1"));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().ok());
        } else if name.eq_ignore_ascii_case("connection") {
            is_kept_alive &= !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            // None of the servers here does that to an answer this short.
            return Some(Progress::Broken);
        }
    }
    let body_bytes = bytes.len() - head_bytes - 4;
    match length {
        Some(Some(length)) if body_bytes == length => Some(Progress::Whole { status, is_kept_alive }),
        Some(Some(length)) if body_bytes < length => None,
        Some(_) => Some(Progress::Broken),
        None if is_ended => Some(Progress::Whole { status, is_kept_alive: false }),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_partial_and_broken() {
        let whole = |status, is_kept_alive| Progress::Whole { status, is_kept_alive };
        for (bytes, is_ended, expected) in [
            ("", false, Progress::Partial),
            ("", true, Progress::Broken),
            ("HTTP/1.1 200 OK\r\nContent-Le", false, Progress::Partial),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", false, Progress::Partial),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", true, Progress::Broken),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, whole(200, true)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", false, whole(200, false)),
            ("HTTP/1.0 503 No\r\nContent-Length: 0\r\n\r\n", false, whole(503, false)),
            ("HTTP/1.1 200 OK\r\n\r\nok", false, Progress::Partial),
            ("HTTP/1.1 200 OK\r\n\r\nok", true, whole(200, false)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", false, Progress::Broken),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, Progress::Broken),
            ("SSH-2.0-x\r\n\r\n", false, Progress::Broken),
        ] {
            assert_eq!(progress(bytes.as_bytes(), is_ended), expected, "{bytes:?} {is_ended}");
        }
    }
}
