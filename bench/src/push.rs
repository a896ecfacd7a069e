//! Signed pushes, cheap enough to make while measuring. Owns what the bodies look like; refuses to know a socket.
//!
//! A pool holds the beginnings of some bodies, each with its HMAC computed so far. A request adds an end that no other
//! request has, so every body, signature and delivery id is its own, for the price of hashing some sixty bytes.

use std::fmt::Write as _;

use crate::request::SECRET;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Different bodies in a pool: more than fit into a processor's nearest cache, so that nobody profits from repetition.
const BODIES: usize = 64;
/// `,"after":"` + 40 digits + `"}`.
const END_BYTES: usize = 52;

/// Requests of one size to one path.
pub struct Pool {
    head: String,
    is_kept_alive: bool,
    beginnings: Vec<Beginning>,
    random: Random,
    made: usize,
}

struct Beginning {
    bytes: Vec<u8>,
    mac: Hmac<Sha256>,
}

impl Pool {
    /// Equal seeds make equal requests. `body_bytes` is exact.
    ///
    /// # Panics
    /// When the body is to be shorter than the shortest push, 250 bytes.
    pub fn new(path: &str, body_bytes: usize, seed: u64) -> Pool {
        Pool::of(path, body_bytes, seed, |bytes, random| push(bytes, random).into_bytes())
    }

    /// The same requests with bodies that no compressor makes smaller: random bytes, and no JSON. Signed all the same, so
    /// whoever takes what is proven takes them.
    ///
    /// # Panics
    /// When the body is to be shorter than its end, 52 bytes.
    pub fn of_noise(path: &str, body_bytes: usize, seed: u64) -> Pool {
        Pool::of(path, body_bytes, seed, |bytes, random| {
            (0..bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(bytes).collect()
        })
    }

    fn of(path: &str, body_bytes: usize, seed: u64, beginning: impl Fn(usize, &mut Random) -> Vec<u8>) -> Pool {
        let mut random = Random(seed);
        let beginnings = (0..BODIES)
            .map(|_| {
                let bytes = beginning(body_bytes - END_BYTES, &mut random);
                let mut mac = key();
                mac.update(&bytes);
                Beginning { bytes, mac }
            })
            .collect();
        // The fields that GitHub sends.
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: GitHub-Hookshot/a1b2c3d\r\nAccept: */*\r\n\
             Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 292430182\r\n\
             X-GitHub-Hook-Installation-Target-ID: 79929171\r\nX-GitHub-Hook-Installation-Target-Type: repository\r\n\
             Content-Length: {body_bytes}\r\n"
        );
        Pool { head, is_kept_alive: false, beginnings, random, made: 0 }
    }

    /// Whether requests ask to keep the connection.
    pub fn keep_alive(&mut self, is_kept_alive: bool) {
        self.is_kept_alive = is_kept_alive;
    }

    /// Puts the next request in place of what `request` holds.
    pub fn write(&mut self, request: &mut Vec<u8>) {
        let beginning = &self.beginnings[self.made % self.beginnings.len()];
        self.made += 1;
        let mut end = String::with_capacity(END_BYTES);
        end.push_str(",\"after\":\"");
        self.random.digits(&mut end, 40);
        end.push_str("\"}");
        let mut mac = beginning.mac.clone();
        mac.update(end.as_bytes());
        let signature = mac.finalize().into_bytes();

        let mut fields = String::with_capacity(160);
        fields.push_str("X-GitHub-Delivery: ");
        self.random.delivery(&mut fields);
        fields.push_str("\r\nX-Hub-Signature-256: sha256=");
        for byte in signature {
            fields.push(DIGITS[usize::from(byte >> 4)]);
            fields.push(DIGITS[usize::from(byte & 15)]);
        }
        fields.push_str(if self.is_kept_alive { "\r\n\r\n" } else { "\r\nConnection: close\r\n\r\n" });

        request.clear();
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(fields.as_bytes());
        request.extend_from_slice(&beginning.bytes);
        request.extend_from_slice(end.as_bytes());
    }
}

fn key() -> Hmac<Sha256> {
    // HMAC takes keys of any length.
    Hmac::new_from_slice(SECRET.as_bytes()).expect("a key")
}

const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

const WORDS: [&str; 32] = [
    "bell",
    "lamp",
    "desk",
    "queue",
    "retry",
    "buzzer",
    "solder",
    "kernel",
    "brass",
    "quiet",
    "timer",
    "driver",
    "socket",
    "fsync",
    "mend",
    "keep",
    "drop",
    "rename",
    "measure",
    "before",
    "after",
    "under",
    "load",
    "edge",
    "case",
    "wire",
    "resistor",
    "header",
    "signature",
    "green",
    "amber",
    "night",
];
const NAMES: [&str; 8] = ["otto", "greta", "emil", "frieda", "ines", "bruno", "klara", "anton"];

/// All of a push but its end. Repetitive where GitHub's are, and as full of hashes, so that it compresses like them.
fn push(bytes: usize, random: &mut Random) -> String {
    let name = random.pick(&NAMES);
    let mut text = format!(r#"{{"ref":"refs/heads/main","before":"{}","repository":"#, random.hash());
    let url = "https://github.com/acme/desk-lamp";
    let filler = if bytes < 1024 {
        let _ = write!(text, r#"{{"full_name":"acme/desk-lamp"}},"sender":{{"login":"{name}"}},"compare":""#);
        bytes - 1
    } else {
        let _ = write!(
            text,
            r#"{{"id":{},"name":"desk-lamp","full_name":"acme/desk-lamp","private":false"#,
            random.next() >> 34
        );
        let _ = write!(text, r#","html_url":"{url}","default_branch":"main","language":"Rust","open_issues_count":3"#);
        for what in
            ["forks", "keys", "teams", "hooks", "events", "tags", "languages", "stargazers", "merges", "deployments"]
        {
            let _ = write!(text, r#","{what}_url":"https://api.github.com/repos/acme/desk-lamp/{what}""#);
        }
        let _ = write!(text, r#"}},"pusher":{{"name":"{name}","email":"{name}@example.com"}}"#);
        let _ = write!(text, r#","sender":{{"login":"{name}","id":{},"type":"User"}}"#, random.next() >> 40);
        text.push_str(r#","created":false,"deleted":false,"forced":false,"base_ref":null,"commits":["#);
        let mut is_first = true;
        loop {
            let commit = commit(url, random);
            if text.len() + commit.len() + 64 > bytes {
                break;
            }
            text.push_str(if is_first { "" } else { "," });
            text.push_str(&commit);
            is_first = false;
        }
        text.push_str(r#"],"head_message":""#);
        bytes - 1
    };
    assert!(text.len() <= filler, "a push does not fit into {bytes} bytes");
    while text.len() < filler {
        text.push_str(random.pick(&WORDS));
        text.push(' ');
    }
    text.truncate(filler);
    text.push('"');
    text
}

fn commit(url: &str, random: &mut Random) -> String {
    let (id, tree, name) = (random.hash(), random.hash(), random.pick(&NAMES));
    let (hour, minute) = (random.next() % 24, random.next() % 60);
    let words: Vec<&str> = (0..6 + random.next() % 12).map(|_| random.pick(&WORDS)).collect();
    let files: Vec<String> = (0..1 + random.next() % 5)
        .map(|_| format!(r#""src/{}/{}.rs""#, random.pick(&WORDS), random.pick(&WORDS)))
        .collect();
    let person = format!(r#"{{"name":"{name}","email":"{name}@example.com","username":"{name}"}}"#);
    format!(
        r#"{{"id":"{id}","tree_id":"{tree}","distinct":true,"message":"{}","timestamp":"2026-03-14T{hour:02}:{minute:02}:09+01:00","url":"{url}/commit/{id}","author":{person},"committer":{person},"added":[],"removed":[],"modified":[{}]}}"#,
        words.join(" "),
        files.join(",")
    )
}

/// SplitMix64, from a seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.next() >> 33).unwrap_or(0) % from.len()]
    }

    /// Appends so many hexadecimal digits.
    pub fn digits(&mut self, text: &mut String, count: usize) {
        let mut bits = 0;
        for at in 0..count {
            bits = if at % 16 == 0 { self.next() } else { bits >> 4 };
            text.push(DIGITS[usize::from(bits as u8 & 15)]);
        }
    }

    /// Appends what a delivery is called: as long as a UUID, and of its form.
    pub fn delivery(&mut self, text: &mut String) {
        for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "-" });
            self.digits(text, digits);
        }
    }

    fn hash(&mut self) -> String {
        let mut text = String::with_capacity(40);
        self.digits(&mut text, 40);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hookbell::{
        headers::Headers,
        provider::{Context, Normalised, Options, Provider, normalise},
    };

    use super::*;

    #[test]
    fn noise_is_signed_too_and_is_no_text() {
        let (mut pool, mut request) = (Pool::of_noise("/hook", 1000, 7), Vec::new());
        pool.write(&mut request);
        let head_bytes = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = request.split_at(head_bytes);
        assert_eq!(body.len(), 1000);
        assert!(std::str::from_utf8(body).is_err());
        let mut whole = key();
        whole.update(body);
        let signature: String = whole.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(std::str::from_utf8(head).unwrap().contains(&format!("X-Hub-Signature-256: sha256={signature}\r\n")));
    }

    #[test]
    fn each_is_signed_json_of_that_size_and_like_no_other() {
        for body_bytes in [250, 13 * 1024, 100 * 1024] {
            let mut pool = Pool::new("/hook", body_bytes, 1);
            let mut seen = HashSet::new();
            for _ in 0..3 * BODIES {
                let mut request = Vec::new();
                pool.write(&mut request);
                let text = String::from_utf8(request).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert_eq!(body.len(), body_bytes);
                serde_json::from_str::<serde_json::Value>(body).unwrap();
                let mut whole = key();
                whole.update(body.as_bytes());
                let signature: String =
                    whole.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(head.contains(&format!("X-Hub-Signature-256: sha256={signature}\r\n")));
                let id = head.split_once("X-GitHub-Delivery: ").unwrap().1[..36].to_owned();
                let context = Context { provider: Provider::GitHub, source: "github", options: &Options::NONE };
                let understood = normalise(&context, "push", &Headers::new(), body.as_bytes());
                assert!(!matches!(understood, Normalised::Undecodable(_)), "{understood:?}");
                assert!(seen.insert(id) && seen.insert(body.to_owned()));
            }
        }
    }
}
