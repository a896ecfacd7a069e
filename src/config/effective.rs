//! The configuration in force, for people and scripts. Owns how settings are written back; shows no secret.

use serde_json::{Map, Value, json};

use super::{
    AllowFrom, Door, GitHub, Health, Listen, Mode, Order, Panel, Recover, Repeats, Retry, Settings, Sink, SinkKind,
    Source, Store, Tunnel,
    value::{show_duration, show_size},
};
use crate::{
    bell::{self, Button, Buzzer, BuzzerKind, Colour, Cue, Led, Pattern, Pin, Pull},
    event::Severity,
    provider::{Algorithm, Encoding, Options, Place, Proof, Terms},
    remote::Pass,
    rule::{Condition, Rule},
    sink::{discord, email, exec, forward, ntfy},
};

/// Stands where a secret would.
pub const HIDDEN: &str = "(hidden)";

/// The settings under the keys of the file, secrets hidden.
pub fn effective_json(settings: &Settings) -> Value {
    let Settings { file, door, store, sources, sinks, zone, rules, bell, github, panel, health, tunnel } = settings;
    let GitHub { api, token } = github;
    let named = |(name, value): (&String, Value)| (name.clone(), value);
    json!({
        "file": file.as_ref().map(|file| file.display().to_string()),
        "door": door_json(door),
        "store": store_json(store),
        "github": { "api": api, "token": token.as_ref().map(|_| HIDDEN) },
        "panel": panel_json(panel),
        "health": health_json(health),
        "tunnel": tunnel_json(tunnel),
        "sources": sources.iter().map(|(name, source)| named((name, source_json(source)))).collect::<Map<_, _>>(),
        "sinks": sinks.iter().map(|(name, sink)| named((name, sink_json(sink)))).collect::<Map<_, _>>(),
        "schedule": { "time_zone": zone.name() },
        "rules": rules.iter().map(rule_json).collect::<Vec<_>>(),
        "bell": bell_json(bell),
        "cues": bell.cues.iter().map(|(name, cue)| named((name, cue_json(cue)))).collect::<Map<_, _>>(),
    })
}

/// What is so at the moment and no part of the configuration: secrets that wait to follow others.
pub fn notes(settings: &Settings) -> Vec<String> {
    let waiting = settings.sources.iter().flat_map(|(name, source)| {
        source
            .origins
            .waiting()
            .iter()
            .map(move |path| format!("source {name}: a new secret waits in {}: both are accepted", path.display()))
    });
    waiting.collect()
}

/// The settings as the file would say them, secrets hidden.
pub fn effective(settings: &Settings) -> String {
    let tree = effective_json(settings);
    let mut text = match &settings.file {
        Some(file) => format!("# {}\n", file.display()),
        None => "# built-in defaults and the environment\n".to_owned(),
    };
    notes(settings).iter().for_each(|note| text.push_str(&format!("# {note}\n")));
    for section in [
        "door", "store", "panel", "health", "github", "tunnel", "sources", "sinks", "schedule", "rules", "bell", "cues",
    ] {
        match &tree[section] {
            Value::Array(tables) => {
                for table in tables.iter().filter_map(Value::as_object) {
                    text.push_str(&format!("\n[[{section}]]\n"));
                    entries(table, &mut text);
                }
            }
            Value::Object(tables) if !tables.is_empty() && tables.values().all(Value::is_object) => {
                for (name, table) in tables {
                    text.push_str(&format!("\n[{section}.{}]\n", key(name)));
                    table.as_object().into_iter().for_each(|table| entries(table, &mut text));
                }
            }
            Value::Object(table) if !table.is_empty() => {
                text.push_str(&format!("\n[{section}]\n"));
                entries(table, &mut text);
            }
            _ => {}
        }
    }
    text
}

fn entries(table: &Map<String, Value>, text: &mut String) {
    for (name, value) in table.iter().filter(|(_, value)| !value.is_null()) {
        text.push_str(&format!("{} = {}\n", key(name), inline(value)));
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries = table.iter().filter(|(_, value)| !value.is_null());
            let entries: Vec<String> =
                entries.map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        // JSON's texts, numbers and booleans are TOML's as well.
        scalar => scalar.to_string(),
    }
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

fn door_json(door: &Door) -> Value {
    let Door {
        listen,
        public_url,
        body_bytes_max,
        head_bytes_max,
        head_deadline,
        request_deadline,
        connections_max,
        bodies_in_flight_bytes_max,
        trusted_proxies,
    } = door;
    json!({
        "listen": listen_text(listen),
        "public_url": public_url.as_deref().unwrap_or_default(),
        "body_max": show_size(*body_bytes_max as u64),
        "head_max": show_size(*head_bytes_max as u64),
        "head_deadline": show_duration(*head_deadline),
        "request_deadline": show_duration(*request_deadline),
        "connections_max": connections_max,
        "bodies_in_flight_max": show_size(*bodies_in_flight_bytes_max as u64),
        "trusted_proxies": trusted_proxies,
    })
}

fn listen_text(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn panel_json(panel: &Panel) -> Value {
    let Panel { listen, token, hosts } = panel;
    json!({
        "listen": listen.as_ref().map(listen_text).unwrap_or_default(),
        "token": token.as_ref().map(|_| HIDDEN),
        "hosts": hosts,
    })
}

fn health_json(health: &Health) -> Value {
    let Health { silence_after, failing_ratio, undelivered_after, tell_after } = health;
    json!({
        "silence_after": show_duration(*silence_after),
        "failing_ratio": failing_ratio,
        "undelivered_after": show_duration(*undelivered_after),
        "tell_after": tell_after.map_or_else(|| "never".to_owned(), show_duration),
    })
}

fn tunnel_json(tunnel: &Tunnel) -> Value {
    let Tunnel { metrics, canary } = tunnel;
    json!({
        "metrics": metrics.map(|address| address.to_string()).unwrap_or_default(),
        "canary": canary.as_ref().map(|canary| show_duration(canary.every)).unwrap_or_default(),
    })
}

fn store_json(store: &Store) -> Value {
    let Store { path, keep, size_bytes_max, free_bytes_min } = store;
    json!({
        "path": path.display().to_string(),
        "keep": keep.map_or_else(|| "forever".to_owned(), show_duration),
        "size_max": show_size(*size_bytes_max),
        "free_min": show_size(*free_bytes_min),
    })
}

fn allow_from_json(allow_from: &AllowFrom) -> Vec<String> {
    let AllowFrom { networks, published } = allow_from;
    published.then(|| "github".to_owned()).into_iter().chain(networks.iter().map(ToString::to_string)).collect()
}

fn source_json(source: &Source) -> Value {
    let Source {
        terms: Terms { provider, secrets, public_url: _, options },
        origins: _,
        allow_from,
        repeats,
        repeat_window,
        silence_after,
        recover,
        poll,
        poll_every,
    } = source;
    let repeats = match repeats {
        Repeats::Limit => "limit",
        Repeats::Process => "process",
        Repeats::Skip => "skip",
    };
    let mut json = json!({
        "provider": provider.name(),
        "secret": secrets.iter().map(|_| HIDDEN).collect::<Vec<_>>(),
        "allow_from": allow_from_json(allow_from),
        "repeats": repeats,
        "repeat_window": show_duration(*repeat_window),
        "silence_after": silence_after.map(show_duration),
        "poll": Some(poll).filter(|poll| !poll.is_empty()),
        "poll_every": poll_every.map(show_duration),
        "recover": recover.as_ref().map(recover_json),
    });
    if let (Value::Object(json), Value::Object(options)) = (&mut json, options_json(options)) {
        json.extend(options.into_iter().filter(|(_, value)| !value.is_null()));
    }
    json
}

fn recover_json(recover: &Recover) -> Value {
    let Recover { pass, hooks, mode, every, window, api } = recover;
    let mode = match mode {
        Mode::Read => "read",
        Mode::Redeliver => "redeliver",
    };
    let mut json = json!({
        "hooks": hooks,
        "mode": mode,
        "every": show_duration(*every),
        "window": show_duration(*window),
        "api": api,
    });
    match pass {
        Pass::Nobody => {}
        Pass::Token(_) => json["token"] = HIDDEN.into(),
        Pass::App { id, key: _ } => (json["app"], json["app_key"]) = (id.as_str().into(), HIDDEN.into()),
    }
    json
}

fn options_json(options: &Options) -> Value {
    let Options {
        allow_sha1,
        tolerance,
        header,
        prefix,
        algorithm,
        encoding,
        timestamp_header,
        signed,
        id,
        event,
        title,
        actor,
        about,
        link,
        subject,
    } = options;
    let place = |place: &Option<Place>| {
        place.as_ref().map(|place| match place {
            Place::Header(name) => name.clone(),
            Place::Pointer(pointer) => pointer.clone(),
        })
    };
    json!({
        "allow_sha1": allow_sha1.then_some(true),
        "tolerance": tolerance.map(show_duration),
        "header": header,
        "prefix": prefix,
        "algorithm": algorithm.map(|proof| match proof {
            Proof::Hmac(Algorithm::Sha1) => "sha1",
            Proof::Hmac(Algorithm::Sha256) => "sha256",
            Proof::Hmac(Algorithm::Sha512) => "sha512",
            Proof::Token => "token",
        }),
        "encoding": encoding.map(|encoding| match encoding {
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
        }),
        "timestamp_header": timestamp_header,
        "signed": signed,
        "id": place(id),
        "event": place(event),
        "title": title,
        "actor": place(actor),
        "about": place(about),
        "link": place(link),
        "subject": place(subject),
    })
}

fn sink_json(sink: &Sink) -> Value {
    let Sink { kind, retry, order, concurrency, backlog_digest_at } = sink;
    let mut said = Map::new();
    let mut say = |key: &str, value: Value| {
        said.insert(key.to_owned(), value);
    };
    kind_json(kind, &mut say);
    if kind.bundles() {
        say("backlog_digest_at", backlog_digest_at.unwrap_or(0).into());
    }
    if matches!(kind, SinkKind::Forward(_) | SinkKind::Exec(_)) {
        let order = match order {
            Order::Subject => "subject",
            Order::All => "all",
            Order::None => "none",
        };
        say("order", order.into());
        say("concurrency", (*concurrency).into());
    }
    let Retry { first, factor, cap, jitter, give_up_after } = retry;
    let retry = json!({
        "first": show_duration(*first),
        "factor": factor,
        "cap": show_duration(*cap),
        "jitter": jitter,
        "give_up_after": show_duration(*give_up_after),
    });
    say("retry", retry);
    Value::Object(said)
}

/// What only this kind has.
fn kind_json(kind: &SinkKind, say: &mut dyn FnMut(&str, Value)) {
    let text = |text: &String| Value::String(text.clone());
    let texts = |list: &[String]| Value::Array(list.iter().map(text).collect());
    match kind {
        SinkKind::Slack { webhook_url: _, interval } => {
            say("kind", "slack".into());
            say("webhook_url", HIDDEN.into());
            say("interval", show_duration(*interval).into());
        }
        SinkKind::Discord(discord::Settings { webhook_url: _, interval }) => {
            say("kind", "discord".into());
            say("webhook_url", HIDDEN.into());
            say("interval", show_duration(*interval).into());
        }
        SinkKind::Ntfy(ntfy::Settings { url, topic, token, interval }) => {
            say("kind", "ntfy".into());
            say("url", text(url));
            say("topic", text(topic));
            say("token", token.as_ref().map_or(Value::Null, |_| HIDDEN.into()));
            say("interval", show_duration(*interval).into());
        }
        SinkKind::Email(email::Settings { host, port, security, login, from, to }) => {
            let scheme = match security {
                email::Security::Tls => "smtps",
                email::Security::StartTls | email::Security::Loopback => "smtp",
            };
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            say("kind", "email".into());
            say("smtp", format!("{scheme}://{host}:{port}").into());
            say("user", login.as_ref().map_or(Value::Null, |(user, _)| text(user)));
            say("password", login.as_ref().map_or(Value::Null, |_| HIDDEN.into()));
            say("from", text(from));
            say("to", texts(to));
        }
        SinkKind::Forward(forward::Settings { url, secrets, allow_private, include_body }) => {
            say("kind", "forward".into());
            say("url", text(url));
            say("secret", Value::Array(secrets.iter().map(|_| HIDDEN.into()).collect()));
            say("allow_private", (*allow_private).into());
            say("include_body", (*include_body).into());
        }
        SinkKind::SlackBot { token: _, channel, threads, api, interval } => {
            say("kind", "slack".into());
            say("token", HIDDEN.into());
            say("channel", text(channel));
            say("threads", (*threads).into());
            say("api", text(api));
            say("interval", show_duration(*interval).into());
        }
        SinkKind::Exec(exec::Settings { command, time_limit, directory: _ }) => {
            say("kind", "exec".into());
            say("command", texts(command));
            say("time_limit", show_duration(*time_limit).into());
        }
        SinkKind::Bell => say("kind", "bell".into()),
    }
}

/// One rule under the keys of the file.
pub fn rule_json(rule: &Rule) -> Value {
    let Rule { name, when, unless, to, severity, mute, cue, stop } = rule;
    let window = to.iter().find_map(|target| target.digest.as_ref()).map(|digest| show_duration(digest.window));
    json!({
        "name": name,
        "when": condition_json(when),
        "unless": unless.as_ref().map(condition_json),
        "to": to.iter().map(|target| &target.sink).collect::<Vec<_>>(),
        "channel": to.iter().find_map(|target| target.channel.as_ref()),
        "digest": window,
        "severity": severity.map(Severity::name),
        "mute": mute.as_ref().map(|mute| mute.texts().collect::<Vec<_>>()),
        "cue": cue,
        "stop": stop,
    })
}

fn condition_json(condition: &Condition) -> Value {
    let field = |(field, patterns): &(String, Vec<wildmatch::WildMatch>)| {
        (field.clone(), patterns.iter().map(ToString::to_string).collect())
    };
    Value::Object(condition.fields.iter().map(field).collect())
}

fn bell_json(bell: &bell::Settings) -> Value {
    let bell::Settings {
        board,
        chip,
        leds,
        buzzer,
        button,
        status,
        quiet,
        zone: _,
        stale_after,
        latch_max,
        trace,
        cues: _,
    } = bell;
    let pin = |Pin { bcm, active_low, pwm }: &Pin| {
        let mut json = json!({ "pin": bcm, "active_low": active_low });
        if *pwm {
            json["pwm"] = true.into();
        }
        json
    };
    let led = |led: &Led| match led {
        Led::Plain(one) => pin(one),
        Led::Rgb([red, green, blue]) => json!({ "red": pin(red), "green": pin(green), "blue": pin(blue) }),
    };
    json!({
        "board": board.name(),
        "chip": chip,
        "leds": leds.iter().map(|(name, one)| (name.clone(), led(one))).collect::<Map<_, _>>(),
        "buzzer": buzzer.as_ref().map(buzzer_json),
        "button": button.as_ref().map(button_json),
        "status": status.as_ref().map(pin),
        "quiet": quiet.texts().collect::<Vec<_>>(),
        "stale_after": show_duration(*stale_after),
        "latch_max": show_duration(*latch_max),
        "trace": trace.as_ref().map(|trace| trace.display().to_string()),
    })
}

fn buzzer_json(buzzer: &Buzzer) -> Value {
    let Buzzer { pin: Pin { bcm, active_low, pwm: _ }, kind, volume } = buzzer;
    match kind {
        BuzzerKind::Active => json!({ "pin": bcm, "active_low": active_low, "type": "active" }),
        BuzzerKind::Passive => json!({ "pin": bcm, "active_low": active_low, "type": "passive", "volume": volume }),
    }
}

fn button_json(button: &Button) -> Value {
    let Button { bcm, active_low, pull, debounce } = button;
    let pull = match pull {
        Pull::Up => "up",
        Pull::Down => "down",
        Pull::None => "none",
    };
    json!({ "pin": bcm, "active_low": active_low, "pull": pull, "debounce": show_duration(*debounce) })
}

/// Without what has no effect on this cue.
fn cue_json(cue: &Cue) -> Value {
    let Cue {
        led,
        colour,
        pattern,
        lasts,
        blink,
        tune,
        priority,
        latch,
        latch_pattern,
        clears_on,
        latch_max,
        even_if_quiet,
    } = cue;
    let is_blink = *pattern == Pattern::Blink;
    let blink = json!({
        "on_ms": crate::time::duration_ms(blink.on),
        "off_ms": crate::time::duration_ms(blink.off),
        "times": blink.times,
    });
    json!({
        "led": led,
        "colour": colour.map(Colour::name),
        "pattern": pattern.name(),
        "lasts": (!is_blink).then(|| show_duration(*lasts)),
        "blink": is_blink.then_some(blink),
        "tune": tune,
        "priority": priority,
        "latch": latch,
        "latch_pattern": latch_pattern.filter(|_| *latch).map(Pattern::name),
        "clears_on": latch.then_some(clears_on),
        "latch_max": latch_max.filter(|_| *latch).map(show_duration),
        "even_if_quiet": even_if_quiet,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_written_back_under_its_key() {
        let json = options_json(&Options::NONE);
        let mut keys: Vec<&str> = Options::KEYS.to_vec();
        keys.sort_unstable();
        assert!(json.as_object().expect("a table").keys().eq(keys), "{json}");
    }
}
