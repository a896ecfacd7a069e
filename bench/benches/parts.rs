//! `cargo bench --package hookbell-bench`: what the pure parts cost by themselves, in the order in which a delivery meets
//! them. No disk, no socket, no other thread. For finding out what became slower, not for comparing with anybody.

#[expect(unreachable_pub, reason = "a part of the fuzzer's library")]
#[path = "../../fuzz/src/keys.rs"]
mod keys;

use std::{hint::black_box, sync::Arc};

use divan::{Bencher, counter::BytesCount};
use hookbell::{
    bell::{Parts, Ring, Settings, player, tune},
    event::Event,
    headers::Headers,
    http::request::HeadReader,
    provider::{self, Context, Normalised, Options, Provider, Signing, Terms, Unverified, sample},
    rule::{self, Rule},
    schedule::LocalTime,
    secret::Secret,
    sink::{Parcel, slack::message::Message},
    time::{SystemClock, Timestamp},
};
use hookbell_bench::push::Pool;

const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);
const URL: &str = "https://hooks.example.com";
/// As GitHub's mostly are.
const BODY_BYTES: usize = 13 * 1024;
/// What the store packs with.
const ZSTD_LEVEL: i32 = 3;
/// Enough for any of the heads here.
const HEAD_BYTES_MAX: usize = 16 * 1024;

fn main() {
    divan::main();
}

/// As the load generator sends it.
fn request() -> Vec<u8> {
    let mut request = Vec::new();
    Pool::new("/webhooks/github", BODY_BYTES, 1).write(&mut request);
    request
}

fn body_of(request: &[u8]) -> &[u8] {
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    &request[head + 4..]
}

#[divan::bench]
fn head(bencher: Bencher<'_, '_>) {
    let request = request();
    let head = &request[..request.len() - BODY_BYTES];
    bencher.counter(BytesCount::new(head.len())).bench(|| {
        let read = HeadReader::new(HEAD_BYTES_MAX).push(black_box(head));
        assert!(matches!(read, Ok(Some(_))));
    });
}

fn providers() -> impl Iterator<Item = &'static str> {
    Provider::ALL.iter().map(|provider| provider.name())
}

/// The provider's first sample, signed: its terms, and the request.
fn signed(name: &str) -> (Provider, Terms, Unverified, String) {
    let provider = Provider::from_name(name).expect("a name of our own");
    let [key, own] =
        <[&str; 2]>::from(keys::keys(provider)).map(|text| Secret::new(text.to_owned()).expect("a secret"));
    let terms = Terms { public_url: Some(URL.to_owned()), ..Terms::new(provider, vec![own]) };
    let (kind, _) = sample::list(provider).first().expect("each provider has a sample");
    let mut sample = sample::build(provider, kind, 1).expect("a sample that is listed");
    let url = format!("{URL}/webhooks/x{}", sample.query);
    let signing = Signing { secret: &key, url: &url, now: NOW, options: &Options::NONE };
    sample.sign(provider, &signing).expect("the key signs");
    let headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = Unverified { target: format!("/webhooks/x{}", sample.query), headers, body: sample.body };
    (provider, terms, request, sample.event_type)
}

#[divan::bench(args = providers())]
fn proof(bencher: Bencher<'_, '_>, name: &str) {
    let (_, terms, request, _) = signed(name);
    bencher.counter(BytesCount::new(request.body.len())).bench(|| {
        assert!(provider::judge(black_box(&terms), black_box(&request), NOW).is_ok());
    });
}

#[divan::bench(args = providers())]
fn meaning(bencher: Bencher<'_, '_>, name: &str) {
    let (provider, _, request, event_type) = signed(name);
    let context = Context { provider, source: "bench", options: &Options::NONE };
    bencher
        .counter(BytesCount::new(request.body.len()))
        .bench(|| provider::normalise(&context, &event_type, black_box(&request.headers), black_box(&request.body)));
}

/// Of a body of the usual size.
#[divan::bench]
fn meaning_of_13_kb(bencher: Bencher<'_, '_>) {
    let request = request();
    bencher.counter(BytesCount::new(BODY_BYTES)).bench(|| push(black_box(body_of(&request))));
}

fn push(body: &[u8]) -> Event {
    let context = Context { provider: Provider::GitHub, source: "github", options: &Options::NONE };
    match provider::normalise(&context, "push", &Headers::new(), body) {
        Normalised::Events(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("a push is one event, and no {other:?}"),
    }
}

/// What the store does before it asks its writer for anything.
#[divan::bench]
fn pack(bencher: Bencher<'_, '_>) {
    let request = request();
    let body = body_of(&request);
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("a compressor");
    bencher
        .counter(BytesCount::new(BODY_BYTES))
        .bench_local(|| compressor.compress(black_box(body)).expect("it is packed").len());
}

/// The rules that apply when nothing is configured, and more than anybody has, of which the last one matches.
#[divan::bench(args = [0, 100])]
fn routing(bencher: Bencher<'_, '_>, more: usize) {
    let request = request();
    let event = push(body_of(&request));
    let mut rules = rule::default_rules(vec!["slack".to_owned(), "bell".to_owned()]);
    let first = rules[0].clone();
    rules.extend((1..=more).map(|number| {
        let branch = if number == more { "main".to_owned() } else { format!("release/{number}-*") };
        let when = rule::Condition::new([("repository", vec!["acme/*".to_owned()]), ("branch", vec![branch])]);
        Rule { name: None, when, unless: None, ..first.clone() }
    }));
    let noon = LocalTime { weekday: 0, minute: 720 };
    assert_eq!(rule::route(&rules, &event, noon).matched.len(), more.min(1));
    bencher.bench(|| rule::route(black_box(&rules), black_box(&event), noon));
}

/// From an event to the bytes that Slack gets.
#[divan::bench]
fn slack_message(bencher: Bencher<'_, '_>) {
    let request = request();
    let parcel = Parcel {
        dispatch: 1,
        delivery: 1,
        received: NOW,
        sent: None,
        event: push(body_of(&request)),
        cue: None,
        channel: None,
        subject: None,
        reference: "3f9c1a-1-0-0".to_owned(),
        tried: 0,
    };
    bencher.bench(|| Message::of(std::slice::from_ref(black_box(&parcel))).blocks().to_string());
}

/// From a ring to what the desk will show, its player not running: the first one of a bell that is silent.
#[divan::bench]
fn ring(bencher: Bencher<'_, '_>) {
    let silent = || {
        let parts = Parts { clock: Arc::new(SystemClock), newest: NOW, keeper: None };
        player::new(Settings::default(), parts)
    };
    bencher
        .with_inputs(silent)
        .bench_refs(|(bell, _)| bell.ring(Ring::now("ci_failed", hookbell::event::Severity::Failure)));
}

#[divan::bench]
fn ringtone() -> usize {
    const TUNE: &str = "Fanfare:d=16,o=6,b=180:c,e,g,8c7,p,g,2c7,8p,c,e,g,8c7,p,g,2c7,d=8,e,f#,4g.,p,a,b,2c7";
    tune::parse(black_box(TUNE)).expect("a tune").len()
}
