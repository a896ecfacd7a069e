//! Email by SMTP. Owns the message's shape and what a mail server's answers mean; refuses to know how SMTP is spoken (that
//! is lettre's) and when to try again. The only place that names lettre.
//!
//! The `Message-ID` follows from the parcel's reference, so that a message that was sent twice, because the server's answer
//! was lost, is one message to whoever sorts by it.
//!
//! Source of the rules: RFC 5321 (replies), 3463 (enhanced status codes), 4954 (authentication), 5322 (messages), 3834 (automatic ones).

use std::{
    error::Error as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use lettre::{
    Message, SmtpTransport, Transport,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};

use super::{
    Bundle, Outcome, Parcel, Sink,
    answers::{configuration, harmless, transient, without},
    plain,
    words::{self, Words},
};
use crate::{secret::Secret, time::Clock};

/// For each of: connecting, the greeting, each command's answer.
const TIMEOUT: Duration = Duration::from_secs(20);

const REASON_CHARS_MAX: usize = 300;
/// A list beyond this is cut.
const LIST_BYTES_MAX: usize = 64 * 1024;
const SUBJECT_UNITS_MAX: usize = 250;
/// Of a `Message-ID`.
const ID_CHARS_MAX: usize = 120;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name, which its certificate has to show.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is kept to ourselves.
    pub security: Security,
    /// Who we are to the server, where it asks.
    pub login: Option<(String, Secret)>,
    /// The sender, one that [`check_mailbox`] has passed.
    pub from: String,
    /// The recipients, the same.
    pub to: Vec<String>,
}

/// How the way to a mail server is kept to ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte: `smtps://`.
    Tls,
    /// TLS after STARTTLS, and nothing without: `smtp://`.
    StartTls,
    /// None, because it never leaves this machine: `smtp://localhost`.
    Loopback,
}

/// Whether `text` is an address that mail can be from or to: `a@example.com`, `Desk <a@example.com>`.
///
/// # Errors
/// What is wrong, for people.
pub fn check_mailbox(text: &str) -> Result<(), String> {
    text.parse::<Mailbox>().map(|_| ()).map_err(|_| format!("`{text}` is not an email address"))
}

/// A mail server as a sink.
pub struct Email {
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Made for the first message, because it reads the system's certificates.
    transport: Option<SmtpTransport>,
}

/// What a message says.
struct Letter {
    subject: String,
    text: String,
    reference: String,
}

impl Email {
    /// Sends as `settings` say.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Email {
        Email { settings, clock, transport: None }
    }

    fn send(&mut self, letter: Letter) -> Outcome {
        let message = match self.message(letter) {
            Ok(message) => message,
            // The configuration has tried the addresses, and a subject is a subject.
            Err(cause) => return Outcome::Dead { reason: format!("this makes no message: {cause}") },
        };
        let transport = match self.transport.take().map_or_else(|| self.connectable(), Ok) {
            Ok(transport) => self.transport.insert(transport),
            Err(error) => return no_certificates(&error),
        };
        match transport.send(&message) {
            Ok(response) => {
                let said: Vec<&str> = response.message().collect();
                Outcome::Done { receipt: Some(harmless(&format!("{} {}", response.code(), said.join(" ")), 100)) }
            }
            Err(error) => self.judge(&error),
        }
    }

    /// Whether the server lets us in: connects, and logs in where there is a login; no mail is sent.
    pub fn probe(&self) -> Outcome {
        let transport = match self.connectable() {
            Ok(transport) => transport,
            Err(error) => return no_certificates(&error),
        };
        let Settings { host, port, login, .. } = &self.settings;
        match transport.test_connection() {
            Ok(true) => {
                let as_whom = login.as_ref().map(|(user, _)| format!(" as {user}")).unwrap_or_default();
                Outcome::Done { receipt: Some(format!("{host}:{port} lets us in{as_whom}")) }
            }
            Ok(false) => transient(format!("{host}:{port} does not answer to NOOP")),
            Err(error) => self.judge(&error),
        }
    }

    fn connectable(&self) -> Result<SmtpTransport, Error> {
        let Settings { host, port, security, login, .. } = &self.settings;
        let tls = match security {
            Security::Tls => Tls::Wrapper(TlsParameters::new(host.clone())?),
            Security::StartTls => Tls::Required(TlsParameters::new(host.clone())?),
            Security::Loopback => Tls::None,
        };
        let made = SmtpTransport::builder_dangerous(host.as_str()).port(*port).tls(tls).timeout(Some(TIMEOUT));
        Ok(match login {
            Some((user, password)) => {
                made.credentials(Credentials::new(user.clone(), password.expose().to_owned())).build()
            }
            None => made.build(),
        })
    }

    fn message(&self, letter: Letter) -> Result<Message, Box<dyn std::error::Error>> {
        let Letter { subject, text, reference } = letter;
        let from: Mailbox = self.settings.from.parse()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        let id: String = reference.chars().take(ID_CHARS_MAX).map(|c| if is_plain(c) { c } else { '-' }).collect();
        let id = format!("<{id}@hookbell.{}>", from.email.domain());
        let now = Duration::from_millis(u64::try_from(self.clock.wall().ms()).unwrap_or(0));
        let mut message = Message::builder().from(from);
        for to in &self.settings.to {
            message = message.to(to.parse()?);
        }
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        let message = message
            .subject(subject)
            .date(SystemTime::UNIX_EPOCH + now)
            .message_id(Some(id))
            // So that nobody's "I am on holiday" comes back.
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN)
            .body(text)?;
        Ok(message)
    }

    fn judge(&self, error: &Error) -> Outcome {
        let Settings { host, port, login, .. } = &self.settings;
        let password = login.as_ref().map_or("", |(_, password)| password.expose());
        // The server's own words, or what went wrong on the way.
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let cause = without(&harmless(&cause, REASON_CHARS_MAX), password);
        let code = error.status().map(u16::from);
        let reason = match code {
            Some(code) => format!("{host} answered {code}: {cause}"),
            None => format!("no mail through {host}:{port}: {cause}"),
        };
        match code {
            // Who we are is missing, wrong, or not to be told in this way.
            Some(530 | 534 | 535 | 538) => configuration(format!("{reason}; mend `user` and `password`")),
            Some(code) if code >= 500 => refused(reason, enhanced(&cause)),
            None if error.is_client() => configuration(format!(
                "{reason}; does `smtp` name the right server and port, and does it ask for a password?"
            )),
            // 4xx, the network, TLS: it may be well again the next time.
            _ => transient(reason),
        }
    }
}

fn no_certificates(error: &Error) -> Outcome {
    configuration(format!("no certificates to trust ({error}); install ca-certificates"))
}

/// The enhanced status code that a refusal begins with: `5.1.1`.
fn enhanced(said: &str) -> Option<(u32, u32)> {
    let mut parts = said.split_whitespace().next()?.strip_prefix("5.")?.split('.');
    let (subject, detail) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((subject, detail))
}

/// What a server refuses for good. Only for the recipient's or the message's own sake is it the message's end; what it has
/// against us or the sender, and what it does not explain, somebody has to mend, and nothing is lost meanwhile.
fn refused(reason: String, code: Option<(u32, u32)>) -> Outcome {
    let remedy = match code {
        // The sender's address; the rest of 5.1 are the recipient's.
        Some((1, 7 | 8)) => "mend `from`",
        Some((1 | 2 | 6, _)) => return Outcome::Dead { reason },
        Some((4, 5)) => "its limit is reached: it is tried again by itself, or use another server",
        Some((7, _)) => "does it let this machine and `user` send as `from`, and to all of `to`?",
        _ => "check `smtp`, `user`, `from` and `to`, and what the server wants",
    };
    configuration(format!("{reason}; {remedy}"))
}

impl Sink for Email {
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.send(letter(parcel))
    }

    fn deliver_bundle(&mut self, bundle: Bundle<'_>) -> Outcome {
        self.send(list(bundle))
    }
}

fn letter(parcel: &Parcel) -> Letter {
    let event = &parcel.event;
    let Words { emoji, one: what, .. } = words::of(&event.kind);
    let (place, detail) = (plain::place(event, plain::text), plain::detail(event, plain::text));
    let subject = plain::text(&format!("[{place}] {emoji} {what}: {detail}"), SUBJECT_UNITS_MAX);
    let mut text = plain::sentence(event, plain::text) + "\n";
    if let Some(link) = plain::link(event) {
        text += &format!("\n{link}\n");
    }
    text += &format!("\n-- \n{} · {}\n", parcel.received, plain::footer(parcel, plain::text));
    Letter { subject, text, reference: parcel.reference.clone() }
}

fn list(bundle: Bundle<'_>) -> Letter {
    let (count, reference) = (plain::count(bundle), plain::reference(bundle));
    let first = bundle.parcels.first().map(|parcel| parcel.received.to_string()).unwrap_or_default();
    let list = plain::list(bundle, plain::text, LIST_BYTES_MAX);
    let text = format!("{count} since {first}\n\n{list}\n\n-- \n{}\n", plain::text(&reference, 200));
    Letter { subject: format!("[hookbell] {count}"), text, reference }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::{TcpListener, TcpStream},
        thread::JoinHandle,
    };

    use super::*;
    use crate::{
        event::{Event, Extra, Fact},
        sink::Fault,
        threads::{STACK_BYTES, spawn},
        time::{ManualClock, Timestamp},
    };

    const NOW: Timestamp = Timestamp::from_ms(1_763_805_600_042);
    const PASSWORD: &str = "correct horse";

    /// A mail server on loopback for one connection: answers what begins with one of these words so, and everything else
    /// as a server that takes all. Returns what was said to it.
    fn server(answers: &'static [(&str, &str)]) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (port, spawn("mail", STACK_BYTES, move || serve(&listener.accept().unwrap().0, answers)).unwrap())
    }

    fn serve(mut stream: &TcpStream, answers: &[(&str, &str)]) -> Vec<String> {
        let of = |line: &str| answers.iter().find(|(word, _)| line.starts_with(word)).map(|(_, answer)| *answer);
        let mut said = Vec::new();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        write!(stream, "{}\r\n", of("").unwrap_or("220 mail.example.com ESMTP")).unwrap();
        while let Some(line) = lines.next() {
            let answer = of(&line).unwrap_or(match line.split(' ').next().unwrap_or_default() {
                "EHLO" => "250-mail.example.com\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
                "AUTH" => "235 2.7.0 Authentication successful",
                "DATA" => "354 End data with <CR><LF>.<CR><LF>",
                "QUIT" => "221 2.0.0 Bye",
                _ => "250 2.1.0 Ok",
            });
            let is_data = answer.starts_with("354");
            said.push(line);
            if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                break;
            }
            if is_data {
                said.extend(lines.by_ref().take_while(|line| line != "."));
                let answer = of(".").unwrap_or("250 2.0.0 Ok: queued as 4cXyZ");
                if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                    break;
                }
            }
        }
        said
    }

    fn email(port: u16, security: Security) -> Email {
        let settings = Settings {
            host: "localhost".to_owned(),
            port,
            security,
            login: Some(("desk".to_owned(), Secret::new(PASSWORD.to_owned()).unwrap())),
            from: "Desk bell <bell@example.com>".to_owned(),
            to: vec!["ada@example.com".to_owned(), "Otto <otto@example.org>".to_owned()],
        };
        Email::new(settings, Arc::new(ManualClock::new(NOW)))
    }

    fn parcel(title: &str) -> Parcel {
        let event = Event {
            title: title.to_owned(),
            url: Some("https://github.com/acme/api/issues/7".to_owned()),
            extra: Extra::from([("number".to_owned(), Fact::Number(7))]),
            ..Event::of("issue_opened")
        };
        Parcel { received: NOW, reference: "3f9c1a-7-0-0".to_owned(), ..Parcel::of(event) }
    }

    fn deliver(answers: &'static [(&str, &str)]) -> (Outcome, Vec<String>) {
        let (port, server) = server(answers);
        let outcome = email(port, Security::Loopback).deliver(&parcel("T"));
        (outcome, server.join().unwrap())
    }

    #[test]
    fn a_message_goes_to_everybody_and_names_itself() {
        let (outcome, said) = deliver(&[]);
        assert_eq!(outcome, Outcome::Done { receipt: Some("250 2.0.0 Ok: queued as 4cXyZ".to_owned()) });
        for line in [
            "MAIL FROM:<bell@example.com>",
            "RCPT TO:<ada@example.com>",
            "RCPT TO:<otto@example.org>",
            "Message-ID: <3f9c1a-7-0-0@hookbell.example.com>",
            "Auto-Submitted: auto-generated",
            "Date: Sat, 22 Nov 2025 10:00:00 +0000",
        ] {
            assert!(said.iter().any(|said| said.starts_with(line)), "{line}: {said:#?}");
        }
        assert!(said.iter().any(|line| line.starts_with("AUTH PLAIN ")), "{said:#?}");
        let message = email(1, Security::Loopback).message(letter(&parcel("T"))).unwrap();
        assert_eq!(message.headers().get_raw("Subject"), Some("[acme/api] 🐛 New issue: #7 T by octocat"));
        assert_eq!(
            letter(&parcel("T")).text,
            "🐛 New issue in acme/api: #7 T by octocat\n\nhttps://github.com/acme/api/issues/7\n\n-- \n\
             2025-11-22T10:00:00.042Z · github · 3f9c1a-7-0-0\n"
        );
    }

    #[test]
    fn nobody_adds_a_header_or_ends_the_message() {
        let hostile = parcel("x\r\nBcc: everybody@example.com\r\n\r\n.\r\nQUIT\u{202e}");
        let message = email(1, Security::Loopback).message(letter(&hostile)).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.to_ascii_lowercase().contains("\r\nbcc:"), "{text}");
        let subject = message.headers().get_raw("Subject").unwrap();
        assert!(subject.contains("x Bcc: everybody@example.com . QUIT by"), "{subject}");
        let odd = Letter { reference: "a>\r\nBcc: x".to_owned(), ..letter(&hostile) };
        let message = email(1, Security::Loopback).message(odd).unwrap();
        assert_eq!(message.headers().get_raw("Message-ID"), Some("<a---Bcc--x@hookbell.example.com>"));
    }

    #[test]
    fn answers_are_judged_as_mail_servers_mean_them() {
        let (Outcome::Retry { reason, fault: Fault::Configuration, .. }, _) =
            deliver(&[("AUTH", "535 5.7.8 Error: authentication failed: correct horse")])
        else {
            panic!()
        };
        assert!(reason.starts_with("localhost answered 535: ") && reason.contains("mend `user`"), "{reason}");
        assert!(!reason.contains(PASSWORD), "{reason}");
        for answers in [
            &[("RCPT", "451 4.7.1 Greylisted, come back later")] as &'static [(&str, &str)],
            &[("", "421 4.3.2 Busy")],
            &[("MAIL", "452 4.3.1 Insufficient system storage")],
            &[(".", "451 4.3.0 Queue file write error")],
            &[("AUTH", "454 4.7.0 Temporary authentication failure")],
        ] {
            let (outcome, _) = deliver(answers);
            assert!(matches!(outcome, Outcome::Retry { fault: Fault::Transient, .. }), "{answers:?}: {outcome:?}");
        }
        for answers in [
            &[("RCPT", "550 5.1.1 <ada@example.com>: Recipient address rejected")] as &'static [(&str, &str)],
            &[("RCPT", "552 5.2.2 Mailbox full: rejected")],
            &[(".", "554 5.6.0 Message rejected: malformed")],
        ] {
            let (outcome, _) = deliver(answers);
            let Outcome::Dead { reason } = outcome else { panic!("{answers:?}: {outcome:?}") };
            assert!(reason.contains("rejected"), "{reason}");
        }
        for (answers, remedy) in [
            (&[("", "554 5.7.1 Your host is blocklisted")] as &'static [(&str, &str)], "send as `from`"),
            (&[("", "554 No SMTP service here")], "check `smtp`"),
            (&[("MAIL", "550 5.7.60 Client does not have permissions to send as this sender")], "send as `from`"),
            (&[("MAIL", "550 5.4.5 Daily user sending limit exceeded")], "its limit is reached"),
            (&[("MAIL", "553 5.1.8 Sender's domain does not exist")], "mend `from`"),
            (&[("RCPT", "554 5.7.1 <ada@example.com>: Relay access denied")], "to all of `to`?"),
            (&[("RCPT", "550 5.1 no such code")], "check `smtp`"),
            (&[(".", "554 5.7.1 Message rejected as spam")], "send as `from`"),
        ] {
            let (outcome, _) = deliver(answers);
            let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else {
                panic!("{answers:?}: {outcome:?}")
            };
            assert!(reason.starts_with("localhost answered 55") && reason.contains(remedy), "{reason}");
        }
        let (Outcome::Retry { reason, fault: Fault::Configuration, .. }, _) =
            deliver(&[("EHLO", "250 mail.example.com")])
        else {
            panic!()
        };
        assert!(reason.contains("authentication mechanism"), "{reason}");
    }

    #[test]
    fn without_a_server_or_without_tls_nothing_is_sent() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let outcome = email(closed, Security::Loopback).deliver(&parcel("T"));
        assert!(matches!(outcome, Outcome::Retry { fault: Fault::Transient, .. }), "{outcome:?}");

        let (port, mail) = server(&[]);
        let outcome = email(port, Security::StartTls).deliver(&parcel("T"));
        let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("STARTTLS"), "{reason}");
        let said = mail.join().unwrap();
        assert!(said.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{said:?}");
    }

    #[test]
    fn many_are_told_in_one() {
        let parcels = [parcel("T"), parcel("T"), parcel("U")];
        let Letter { subject, text, reference } = list(Bundle { parcels: &parcels });
        assert_eq!((subject.as_str(), reference.as_str()), ("[hookbell] 3 events", "3f9c1a-7-0-0+2"));
        assert!(text.contains("\n• 🐛 acme/api: 3 issues opened (#7 T, #7 U)\n"), "{text}");
        let (port, server) = server(&[]);
        let outcome = email(port, Security::Loopback).deliver_bundle(Bundle { parcels: &parcels });
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
        assert!(server.join().unwrap().iter().any(|line| line.starts_with("Message-ID: <3f9c1a-7-0-0+2@hookbell")));
    }

    #[test]
    fn what_an_address_may_be() {
        for good in
            ["a@example.com", "Desk <a@example.com>", "\"Desk, bell\" <a.b+c@sub.example.com>", "root@localhost"]
        {
            assert_eq!(check_mailbox(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "a@", "@b", "a@b@c", "a b@c", "a@example.com\r\nBcc: x@y"] {
            assert!(check_mailbox(bad).is_err(), "{bad}");
        }
    }
}
