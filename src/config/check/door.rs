//! `[door]`, `[store]`, `[github]`, `[tunnel]` and `[panel]`: what listens, what keeps, what is asked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::Around;
use crate::config::{
    Door, GitHub, Listen, Store, address,
    problem::{Fault, Report},
    raw::{Node, Section},
    secret,
    value::{self, GIB, HOUR, KIB, MIB, SECOND, TIB},
};

/// A hundred years; longer than that is `forever`.
const KEEP_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);

/// `[github]`
pub(super) fn github(mut section: Section<'_>, report: &mut Report) -> GitHub {
    let api = section.read("api", report, |node| {
        let url = node.text()?;
        address::check_url(url)?;
        Ok(url.trim_end_matches('/').to_owned())
    });
    section.finish(report);
    GitHub { api: api.unwrap_or_else(|| "https://api.github.com".to_owned()) }
}

/// `[tunnel]`
pub(super) fn tunnel(mut section: Section<'_>, report: &mut Report) -> Option<SocketAddr> {
    let metrics = section.read("metrics", report, |node| match node.text()? {
        "" => Ok(None),
        text => address::socket_address(text).map(Some),
    });
    section.finish(report);
    metrics.flatten()
}

/// `[door]`
pub(super) fn door(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) -> Door {
    let listen = section.read("listen", report, |node| address::listen(node, &around.data));
    let public_url = section.read("public_url", report, public_url).flatten();

    let body_bytes_max = section.read("body_max", report, |node| value::size(node, 1..=100 * MIB)).unwrap_or(25 * MIB);
    let head_bytes_max = section.read("head_max", report, |node| value::size(node, KIB..=MIB)).unwrap_or(32 * KIB);

    let deadline = |node: &Node<'_>| value::duration(node, MILLISECOND..=HOUR);
    let head_deadline = section.read("head_deadline", report, deadline).unwrap_or(5 * SECOND);
    let request_deadline = section.read("request_deadline", report, deadline).unwrap_or(20 * SECOND);
    if head_deadline > request_deadline {
        let what = format!(
            "the head may take {}, which is longer than the whole request with {}",
            value::show_duration(head_deadline),
            value::show_duration(request_deadline)
        );
        report.error(&section.place_of("request_deadline"), Fault::new(what));
    }

    let connections_max = section.read("connections_max", report, |node| value::whole(node, 1..=4096)).unwrap_or(256);

    // A Pi may be a 32-bit machine, so the bound stays well below what `usize` holds there.
    let in_flight = section.read("bodies_in_flight_max", report, |node| value::size(node, 1..=GIB));
    // Whoever raises `body_max` alone means that such a body shall be accepted.
    let bodies_in_flight_bytes_max = in_flight.unwrap_or_else(|| body_bytes_max.max(32 * MIB));
    if bodies_in_flight_bytes_max < body_bytes_max {
        let what =
            format!("less than `body_max` ({}): no such body could ever arrive", value::show_size(body_bytes_max));
        report.error(&section.place_of("bodies_in_flight_max"), Fault::new(what));
    }

    let trusted_proxies = section.read_list("trusted_proxies", report, address::ip);
    section.finish(report);

    Door {
        listen: listen.unwrap_or(Listen::Tcp((Ipv4Addr::LOCALHOST, 5000).into())),
        public_url,
        body_bytes_max: in_memory(body_bytes_max),
        head_bytes_max: in_memory(head_bytes_max),
        head_deadline,
        request_deadline,
        // At most 4096, which every `usize` holds.
        connections_max: connections_max as usize,
        bodies_in_flight_bytes_max: in_memory(bodies_in_flight_bytes_max),
        trusted_proxies: trusted_proxies
            .unwrap_or_else(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]),
    }
}

/// Every size of the door is bounded by a gibibyte, so this never saturates.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn public_url(node: &Node<'_>) -> Result<Option<String>, Fault> {
    let url = node.text()?;
    if url.is_empty() {
        return Ok(None);
    }
    address::check_url(url)?;
    if url.contains(['?', '#']) {
        return Err(Fault::new("the public URL is a prefix: no `?` and no `#`"));
    }
    let url = url.trim_end_matches('/');
    let (_, beyond_scheme) = url.split_once("://").unwrap_or_default();
    if beyond_scheme.ends_with("/webhooks") || beyond_scheme.contains("/webhooks/") {
        return Err(Fault::new("the public URL is the part before /webhooks/"));
    }
    Ok(Some(url.to_owned()))
}

/// `[store]`
pub(super) fn store(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) -> Store {
    let path = section.read("path", report, |node| address::data_path(node, &around.data));
    let keep = section.read("keep", report, |node| match node.text() {
        Ok("forever") => Ok(None),
        _ => value::duration(node, MILLISECOND..=KEEP_MAX).map(Some).map_err(|fault| match fault.hint {
            Some(hint) => Fault::new(fault.what).hint(format!("{hint}; or \"forever\"")),
            None => fault,
        }),
    });
    let size_bytes_max = section.read("size_max", report, |node| value::size(node, MIB..=1024 * TIB));
    let free_bytes_min = section.read("free_min", report, |node| value::size(node, 0..=TIB));
    section.finish(report);

    Store {
        path: path.unwrap_or_else(|| around.data.join("hookbell.db")),
        keep: keep.flatten(),
        size_bytes_max: size_bytes_max.unwrap_or(GIB),
        free_bytes_min: free_bytes_min.unwrap_or(64 * MIB),
    }
}

/// `[panel]`: checked so that a file written for a later version is known to be sound, and not obeyed yet.
pub(super) fn panel(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) {
    let listens = section.read("listen", report, |node| match node.text()? {
        "" => Ok(false),
        _ => address::listen(node, &around.data).map(|_| true),
    });
    if let Some(token) = section.get("token") {
        secret::origin(&token, &around.beside, report);
    }
    if listens == Some(true) {
        report.no_effect(&section.place);
    }
    section.finish(report);
}
