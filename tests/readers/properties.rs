//! What holds for every stream, stated for generated ones.

use hookbell::http::{Framing, Refusal};
use proptest::{prelude::*, sample::Index, test_runner::Config};

use crate::{
    fuzz::{
        body, head,
        portions::uncut,
        request::{self, Limits, Outcome},
    },
    streams::{chunked, sizes, streams, valid},
};

const ROOMY: Limits = Limits { head_bytes_max: 32 * 1024, body_bytes_max: 1024 * 1024 };

fn config() -> Config {
    // Nothing is written beside the sources: a case that failed belongs in a test of its own, or in fuzz/corpus.
    Config { cases: 1000, failure_persistence: None, ..Config::default() }
}

fn limits() -> impl Strategy<Value = Limits> {
    let tight = (0..300usize, 0..100usize);
    let tight = tight.prop_map(|(head_bytes_max, body_bytes_max)| Limits { head_bytes_max, body_bytes_max });
    prop_oneof![Just(ROOMY), tight]
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::None),
        Just(Framing::Chunked),
        (0..400u64).prop_map(Framing::Length),
        any::<u64>().prop_map(Framing::Length),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_head_is_the_same_however_it_is_cut(stream in streams(), limits in limits(), sizes in sizes()) {
        let whole = head::read(&stream, limits.head_bytes_max, uncut());
        head::judge(&stream, &whole);
        prop_assert_eq!(&whole, &head::read(&stream, limits.head_bytes_max, sizes));
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut(
        stream in prop_oneof![chunked(), streams()],
        framing in framings(),
        limits in limits(),
        sizes in sizes(),
    ) {
        let whole = body::read(framing, &stream, limits.body_bytes_max, uncut());
        body::judge(framing, &stream, limits.body_bytes_max, &whole);
        prop_assert_eq!(&whole, &body::read(framing, &stream, limits.body_bytes_max, sizes));
    }

    #[test]
    fn a_request_is_the_same_however_it_is_cut(stream in streams(), limits in limits(), sizes in sizes()) {
        request::check_cut(&stream, limits, sizes);
    }

    #[test]
    fn a_valid_request_is_read_as_what_it_was_made_of(valid in valid(), sizes in sizes()) {
        let Outcome::Complete(head, content, used) = request::read(&valid.stream(), ROOMY, sizes) else {
            panic!("not read: {}", valid.stream().escape_ascii());
        };
        prop_assert_eq!((&head.method, &head.target), (&valid.method, &valid.target));
        let fields: Vec<_> = valid.fields.iter().map(|field| (field.name.as_str(), field.value.as_slice())).collect();
        prop_assert_eq!(head.headers.iter().collect::<Vec<_>>(), fields);
        prop_assert_eq!(head.expects_continue, head.headers.text("expect").is_some());
        prop_assert_eq!(&content, &valid.content);
        prop_assert_eq!(used, valid.request().len());
    }

    #[test]
    fn limits_are_exact(valid in valid(), sizes in sizes()) {
        let exact = Limits { head_bytes_max: valid.head().len(), body_bytes_max: valid.content.len() };
        let status = |limits| match request::read(&valid.stream(), limits, sizes.iter().copied()) {
            Outcome::Complete(..) => Some(200),
            Outcome::Refused(refusal) => Some(refusal.status),
            Outcome::HeadUnfinished | Outcome::BodyUnfinished(..) => None,
        };
        prop_assert_eq!(status(exact), Some(200));
        let short = Limits { head_bytes_max: exact.head_bytes_max - 1, ..exact };
        prop_assert_eq!(status(short), Some(431));
        if let Some(body_bytes_max) = exact.body_bytes_max.checked_sub(1) {
            let short = Limits { body_bytes_max, ..exact };
            prop_assert_eq!(status(short), Some(413));
        }
    }

    #[test]
    fn a_request_is_unfinished_until_its_last_byte(valid in valid(), end in any::<Index>(), sizes in sizes()) {
        let request = valid.request();
        let end = end.index(request.len());
        let expected = match end.checked_sub(valid.head().len()) {
            None => matches!(request::read(&request[..end], ROOMY, sizes), Outcome::HeadUnfinished),
            Some(_) => matches!(request::read(&request[..end], ROOMY, sizes), Outcome::BodyUnfinished(..)),
        };
        prop_assert!(expected, "{}", request[..end].escape_ascii());
    }

    #[test]
    fn two_framings_are_refused(
        valid in valid(),
        length in prop_oneof![Just("Content-Length"), Just("content-length")],
        value in prop_oneof!["[0-9]{1,4}", "[ -~]{0,10}"],
        coding in prop_oneof![Just("Transfer-Encoding: chunked".to_owned()), "transfer-encoding: ?[ -~]{0,12}"],
        places in any::<[Index; 2]>(),
        minor in 0..2u8,
        sizes in sizes(),
    ) {
        let text = String::from_utf8_lossy(&valid.head()).replace("HTTP/1.1\r\n", &format!("HTTP/1.{minor}\r\n"));
        let text = text.trim_start_matches("\r\n").strip_suffix("\r\n").expect("an empty line").to_owned();
        let mut lines: Vec<_> = text.split_inclusive("\r\n").map(str::to_owned).collect();
        for (line, place) in [format!("{length}: {value}\r\n"), format!("{coding}\r\n")].into_iter().zip(places) {
            // After the request line.
            lines.insert(1 + place.index(lines.len()), line);
        }
        let stream = lines.concat() + "\r\n";
        let outcome = request::read(stream.as_bytes(), ROOMY, sizes);
        let is_refused = matches!(outcome, Outcome::Refused(Refusal { status: 400, .. }));
        prop_assert!(is_refused, "{outcome:?}");
    }
}
