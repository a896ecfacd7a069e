//! cloudflared: is it there, is it connected, would anybody notice if it were not.

use std::net::{Ipv4Addr, SocketAddr};

use super::Check;
use crate::{
    http::Client,
    tunnel::{self, ANSWER_WITHIN},
};

const NAME: &str = "cloudflared";

/// Where cloudflared puts its metrics when it is not told: the first of these that is free.
const USUAL_PORTS: std::ops::RangeInclusive<u16> = 20241..=20245;

pub(super) fn look(metrics: Option<SocketAddr>) -> Check {
    let client = Client::with_timeout(ANSWER_WITHIN);
    let is_installed = tunnel::program().is_some();
    if let Some(metrics) = metrics {
        return judge(is_installed, metrics, tunnel::ready(&client, metrics));
    }
    let usual = USUAL_PORTS.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let found = usual.filter(|_| is_installed).find_map(|at| tunnel::ready(&client, at).ok().map(|count| (at, count)));
    unwatched(is_installed, found)
}

fn judge(is_installed: bool, metrics: SocketAddr, asked: Result<u64, String>) -> Check {
    match asked {
        Ok(1) => Check::ok(NAME, "connected (1 connection)"),
        Ok(connections) => Check::ok(NAME, format!("connected ({connections} connections)")),
        Err(why) if is_installed => {
            let said = format!("not connected, by its /ready at {metrics}: {why}");
            Check::fail(NAME, said, "`journalctl -u cloudflared -n 50` says why; `sudo systemctl restart cloudflared`")
        }
        Err(_) => Check::fail(NAME, "not installed, so that nobody outside can call", tunnel::INSTALL),
    }
}

fn unwatched(is_installed: bool, found: Option<(SocketAddr, u64)>) -> Check {
    match found {
        Some((at, connections)) => {
            let said = format!("connected ({connections}), and nobody would notice if it were not");
            Check::warn(NAME, said, &format!("add to hookbell.toml: [tunnel] metrics = \"{at}\""))
        }
        None if is_installed => {
            let remedy = "add `metrics: 127.0.0.1:20241` to /etc/cloudflared/config.yml, and to hookbell.toml: \
                          [tunnel] metrics = \"127.0.0.1:20241\"";
            Check::warn(NAME, "installed; whether it is connected cannot be told", remedy)
        }
        None => Check::warn(NAME, "not installed, so that nobody outside can call by a tunnel", tunnel::INSTALL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn every_state_has_its_words() {
        let at: SocketAddr = "127.0.0.1:20241".parse().unwrap();
        let down = || Err("cloudflared answers 503: it has no connection to Cloudflare".to_owned());
        for (check, result, says) in [
            (judge(true, at, Ok(4)), Verdict::Ok, "connected (4 connections)"),
            (judge(false, at, Ok(1)), Verdict::Ok, "connected (1 connection)"),
            (judge(true, at, down()), Verdict::Fail, "journalctl -u cloudflared"),
            (judge(false, at, down()), Verdict::Fail, "https://pkg.cloudflare.com"),
            (unwatched(true, Some((at, 2))), Verdict::Warn, "[tunnel] metrics = \"127.0.0.1:20241\""),
            (unwatched(true, None), Verdict::Warn, "cannot be told"),
            (unwatched(false, None), Verdict::Warn, "not installed"),
        ] {
            let text = format!("{}; {}", check.said, check.remedy.clone().unwrap_or_default());
            assert!(check.result == result && text.contains(says), "{check:?}");
        }
    }
}
