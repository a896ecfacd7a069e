//! `[door]`, `[store]`, `[github]`, `[tunnel]`, `[panel]` and `[health]`: what listens, what keeps, what is asked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{Around, ends::PublicUrl, recover};
use crate::config::{
    Canary, Door, GitHub, Health, Listen, Panel, Secrets, Store, Tunnel, address,
    problem::{Fault, Report},
    raw::{Node, Section},
    secret::{self, Found, Origin},
    value::{self, GIB, HOUR, KIB, MIB, SECOND, TIB},
};

/// A hundred years; longer than that is `forever`.
const KEEP_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Where the panel's token is when the file does not say.
const PANEL_TOKEN: &str = "HOOKBELL_PANEL_TOKEN";
/// Sixteen random letters and digits are beyond guessing, by whoever is slowed down.
const TOKEN_BYTES_MIN: usize = 16;

/// `[github]`
pub(super) fn github(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) -> GitHub {
    let api = section.read("api", report, |node| {
        let url = node.text()?;
        address::check_url(url)?;
        Ok(url.trim_end_matches('/').to_owned())
    });
    let token = recover::token(&mut section, around, report);
    section.finish(report);
    GitHub { api: api.unwrap_or_else(|| "https://api.github.com".to_owned()), token }
}

/// `[tunnel]`
pub(super) fn tunnel(
    mut section: Section<'_>,
    public_url: PublicUrl<'_>,
    around: &Around<'_>,
    report: &mut Report,
) -> Tunnel {
    let metrics = section.read("metrics", report, |node| match node.text()? {
        "" => Ok(None),
        text => address::socket_address(text).map(Some),
    });
    let canary = section.read("canary", report, |node| match node.text() {
        Ok("") => Ok(None),
        _ => value::duration(node, MINUTE..=value::DAY).map(Some),
    });
    let canary = canary.flatten().map(|every| Canary { every, public_url: public_url.url.map(str::to_owned) });
    // A command that only looks sends none.
    let is_sent = canary.is_some() && around.secrets == Secrets::Needed;
    if is_sent && !public_url.is_named && !around.environment.has_quick_tunnel {
        let what = "the canary goes out to the public URL, and `public_url` in [door] is not set";
        let hint = "add to [door]: public_url = \"https://YOUR-HOST-NAME\"";
        report.error(&section.place_of("canary"), Fault::new(what).hint(hint));
    }
    section.finish(report);
    Tunnel { metrics: metrics.flatten(), canary }
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

/// `[panel]`
pub(super) fn panel(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) -> Panel {
    let errors = report.errors();
    let listen = section.read("listen", report, |node| match node.text()? {
        "" => Ok(None),
        _ => address::listen(node, &around.data).map(Some),
    });
    let listen = listen.unwrap_or_else(|| Some(Listen::Tcp((Ipv4Addr::LOCALHOST, 5001).into())));
    let origin = match section.get("token") {
        Some(node) => secret::origin(&node, &around.beside, report),
        None => Some(Origin::Variable(PANEL_TOKEN.to_owned())),
    };
    let place = section.place_of("token");
    // Without a panel it may be missing, and so it may for a command that only looks.
    let origin = origin.filter(|_| listen.is_some() && around.secrets == Secrets::Needed);
    let is_beyond = matches!(&listen, Some(Listen::Tcp(address)) if !address.ip().is_loopback());
    let token = match origin.as_ref().map(|origin| secret::fetch(origin, around.environment)) {
        Some(Ok(Found::Value(token))) if token.expose().len() < TOKEN_BYTES_MIN => {
            let fault = Fault::new(format!("a token of fewer than {TOKEN_BYTES_MIN} characters can be guessed"));
            report.error(&place, fault.hint("`hookbell secret` prints a good one"));
            None
        }
        Some(Ok(Found::Value(token))) => {
            if let Some(fault) = origin.as_ref().and_then(secret::exposure) {
                report.warn(&place, fault);
            }
            Some(token)
        }
        Some(Ok(Found::Unset { variable, .. })) if is_beyond => {
            let what = format!("the panel listens beyond this machine, which needs a token, and {variable} is not set");
            report.error(&place, Fault::new(what).hint("`hookbell secret` prints a good one"));
            None
        }
        Some(Err(fault)) => {
            report.error(&place, fault);
            None
        }
        Some(Ok(Found::Unset { .. })) | None => None,
    };
    let hosts = section.read_list("hosts", report, |node| {
        let name = node.text()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        match !name.is_empty() && name.chars().all(is_plain) {
            true => Ok(name.to_ascii_lowercase()),
            false => Err(Fault::new(format!("`{name}` is not a host's name")).hint("no scheme, no port, no path")),
        }
    });
    let hosts = hosts.unwrap_or_default();
    let is_needed = around.secrets == Secrets::Needed && listen.is_some();
    if is_needed && !hosts.is_empty() && token.is_none() && report.errors() == errors {
        let what = "whoever comes through a proxy has to log in, and there is no token";
        report.error(&place, Fault::new(what).hint("`hookbell secret` prints a good one"));
    }
    section.finish(report);
    Panel { listen, token, hosts }
}

/// `[health]`
pub(super) fn health(mut section: Section<'_>, report: &mut Report) -> Health {
    let defaults = Health::DEFAULT;
    let long = |node: &Node<'_>| value::duration(node, MINUTE..=366 * value::DAY);
    let silence_after = section.read("silence_after", report, long);
    let undelivered_after = section.read("undelivered_after", report, long);
    let failing_ratio = section.read("failing_ratio", report, |node| value::number(node, 0.001..=1.0));
    let tell_after = section.read("tell_after", report, |node| match node.text() {
        Ok("never") => Ok(None),
        _ => value::duration(node, SECOND..=value::DAY).map(Some),
    });
    section.finish(report);
    Health {
        silence_after: silence_after.unwrap_or(defaults.silence_after),
        failing_ratio: failing_ratio.unwrap_or(defaults.failing_ratio),
        undelivered_after: undelivered_after.unwrap_or(defaults.undelivered_after),
        tell_after: tell_after.unwrap_or(defaults.tell_after),
    }
}
