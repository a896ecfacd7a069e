//! `scripts/bench --proofs` builds and runs this: what it costs to prove who sent an 8 KB body, for each provider, beside
//! one bare HMAC of the same bytes in the same run; and what it costs to read what the body means.

#[expect(unreachable_pub, reason = "a part of the fuzzer's library")]
#[path = "../../../fuzz/src/keys.rs"]
mod keys;

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use hookbell::{
    provider::{self, Context, Options, Provider, Signing, Terms, Unverified, sample},
    secret::Secret,
    time::Timestamp,
};
use keys::keys;
use sha2::Sha256;

const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);
const BODY_BYTES: usize = 8 * 1024;
/// What a proof may cost, by whether it is asymmetric.
const WANTED_US: [f64; 2] = [50.0, 500.0];
/// Rounds, of which the median counts; each lasts this long for each line.
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(30);

fn main() -> ExitCode {
    let requests: Vec<(Provider, Terms, Unverified)> = Provider::ALL.iter().map(|provider| signed(*provider)).collect();
    let plain = vec![b'x'; BODY_BYTES];
    let mut bare = Vec::new();
    let mut proofs = vec![Vec::new(); requests.len()];
    let mut meanings = vec![Vec::new(); requests.len()];
    for _ in 0..ROUNDS {
        bare.push(time(|| bare_hmac(&plain)));
        for (at, (provider, terms, request)) in requests.iter().enumerate() {
            proofs[at].push(time(|| provider::judge(terms, request, NOW).is_ok()));
            let context = Context { provider: *provider, source: "bench", options: &Options::NONE };
            meanings[at].push(time(|| provider::normalise(&context, "event", &request.headers, &request.body)));
        }
    }
    let bare = median(&mut bare);
    println!("{ROUNDS} rounds, medians; {BODY_BYTES} bytes; a bare HMAC-SHA-256 of them costs {bare:.1} µs\n");
    println!("{:<17} {:>9} {:>8} {:>9}   {:>10}", "provider", "proof µs", "× bare", "wanted", "meaning µs");
    let mut is_dear = false;
    for (at, (provider, _, _)) in requests.iter().enumerate() {
        let (proof, meaning) = (median(&mut proofs[at]), median(&mut meanings[at]));
        let wanted = WANTED_US[usize::from(matches!(provider.name(), "sendgrid" | "discord"))];
        let mark = if proof < wanted { ' ' } else { '!' };
        is_dear |= proof >= wanted;
        println!(
            "{:<17} {proof:>9.1} {:>8.2} {:>9}{mark}  {meaning:>10.1}",
            provider.name(),
            proof / bare,
            format!("< {wanted}")
        );
    }
    if is_dear {
        println!("\n! dearer than wanted, on this machine at this hour");
    }
    ExitCode::SUCCESS
}

/// Microseconds of one call.
fn time<T>(mut call: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < ROUND {
        for _ in 0..8 {
            black_box(call());
        }
        calls += 8;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn bare_hmac(body: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"key").expect("a key of any length");
    mac.update(body);
    mac.verify_slice(&[0; 32]).is_ok()
}

/// A request of the provider's with a body of the size.
fn signed(provider: Provider) -> (Provider, Terms, Unverified) {
    let [key, own] = <[&str; 2]>::from(keys(provider)).map(|text| Secret::new(text.to_owned()).expect("a secret"));
    let terms = Terms { public_url: Some("https://hooks.example.com".to_owned()), ..Terms::new(provider, vec![own]) };
    let mut sample = sample::for_payload(provider, "event", body(provider), 1);
    let signing =
        Signing { secret: &key, url: "https://hooks.example.com/webhooks/x", now: NOW, options: &Options::NONE };
    sample.sign(provider, &signing).expect("the key signs");
    let headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = Unverified { target: format!("/webhooks/x{}", sample.query), headers, body: sample.body };
    assert_eq!(provider::judge(&terms, &request, NOW), Ok(0), "{provider}");
    (provider, terms, request)
}

/// Eight kilobytes in the provider's form: fields of a form, or objects in a list.
fn body(provider: Provider) -> Vec<u8> {
    let items = |item: &str, joint: &str, around: usize| {
        let count = (BODY_BYTES - around) / (item.len() + joint.len());
        vec![item; count].join(joint)
    };
    match provider.name() {
        "twilio" => items("Field=a+value+of+a+form", "&", 0),
        "sendgrid" => format!("[{}]", items(r#"{"event":"open","email":"a@example.com","sg_event_id":"x"}"#, ",", 2)),
        _ => format!(
            r#"{{"id":"e1","type":"t","items":[{}]}}"#,
            items(r#"{"name":"lamp","price":{"amount":12}}"#, ",", 40)
        ),
    }
    .into_bytes()
}
