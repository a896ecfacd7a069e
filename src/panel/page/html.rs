//! The one writer of HTML. Owns escaping and how moments, numbers and links are written; refuses to know any page.
//!
//! What is markup is `&'static str`, so nothing that came from outside can be it; everything else goes through
//! [`Html::text`]. That is the whole defence, and there is no second way in.

use serde_json::Value;

use crate::time::Timestamp;

/// A page as it grows.
pub(super) struct Html {
    out: String,
    now: Timestamp,
}

impl Html {
    /// An empty one; relative times are told as of `now`.
    pub(super) fn new(now: Timestamp) -> Html {
        Html { out: String::with_capacity(16 * 1024), now }
    }

    /// Markup of ours.
    #[inline(never)]
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Text from anywhere, in an element or in a quoted attribute.
    #[inline(never)]
    pub(super) fn text(&mut self, text: &str) {
        escape(text, &mut self.out);
    }

    /// Markup of ours with a text for each `{}`.
    #[inline(never)]
    pub(super) fn fill(&mut self, markup: &'static str, texts: &[&str]) {
        let mut texts = texts.iter();
        let mut pieces = markup.split("{}");
        self.out.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            if let Some(text) = texts.next() {
                escape(text, &mut self.out);
            }
            self.out.push_str(piece);
        }
    }

    /// Markup of ours with a member of the value for each `{name}`: its text, for `{#name}` its number, for `{@name}` the
    /// moment.
    #[inline(never)]
    pub(super) fn of(&mut self, value: &Value, markup: &'static str) {
        let mut pieces = markup.split('{');
        self.out.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (name, after) = piece.split_once('}').unwrap_or((piece, ""));
            if let Some(name) = name.strip_prefix('#') {
                self.out.push_str(&count(whole(value, name)));
            } else if let Some(name) = name.strip_prefix('@') {
                self.when(at(value, name));
            } else {
                escape(&plain(at(value, name)), &mut self.out);
            }
            self.out.push_str(after);
        }
    }

    /// The markup with the text, where there is a text.
    #[inline(never)]
    pub(super) fn some(&mut self, markup: &'static str, text: &str) {
        if !text.is_empty() {
            self.fill(markup, &[text]);
        }
    }

    /// What to do, in a paragraph of its own; what stands between backticks is to be typed. Nothing where there is none.
    #[inline(never)]
    pub(super) fn remedy(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.raw(r#"<p class="remedy"><bdi>"#);
        for (index, part) in text.split('`').enumerate() {
            let is_typed = index % 2 == 1;
            self.raw(if is_typed { "<code>" } else { "" });
            self.text(part);
            self.raw(if is_typed { "</code>" } else { "" });
        }
        self.raw("</bdi></p>");
    }

    /// What another writer has made, which is escaped already.
    pub(super) fn append(&mut self, other: Html) {
        self.out.push_str(&other.out);
    }

    /// How much there is so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.out
    }
    /// A moment in RFC 3339, in relative words; nothing where there is none.
    #[inline(never)]
    pub(super) fn when(&mut self, moment: &Value) {
        if let Some((text, at)) = moment.as_str().and_then(|text| Some((text, Timestamp::parse(text)?))) {
            let words = ago(self.now, at);
            self.fill(r#"<time datetime="{}" title="{}">{}</time>"#, &[text, &exact(text), &words]);
        }
    }

    /// A link to somewhere else, when it is one that may be followed; else the text alone.
    #[inline(never)]
    pub(super) fn link(&mut self, url: &str, text: &str) {
        if is_web(url) {
            self.fill(r#"<a href="{}" rel="noreferrer noopener"><bdi>{}</bdi></a>"#, &[url, text]);
        } else {
            self.fill("<bdi>{}</bdi>", &[text]);
        }
    }

    /// A form of one button.
    #[inline(never)]
    pub(super) fn post(&mut self, action: &str, back: &str, field: (&str, &str), button: &str) {
        self.fill(r#"<form method="post" action="{}"><input type="hidden" name="return" value="{}">"#, &[action, back]);
        if !field.0.is_empty() {
            self.fill(r#"<input type="hidden" name="{}" value="{}">"#, &[field.0, field.1]);
        }
        self.fill(r#"<button type="submit">{}</button></form>"#, &[button]);
    }

    /// A word with its mark: the tone picks colour and shape, so that neither is needed to read it.
    #[inline(never)]
    pub(super) fn mark(&mut self, tone: &str, word: &str) {
        self.fill(r#"<span class="mark {}">{}</span>"#, &[tone, word]);
    }

    /// An option of a select.
    #[inline(never)]
    pub(super) fn option(&mut self, value: &str, label: &str, chosen: &str) {
        let is_chosen = if value == chosen {
            r#"<option selected value="{}">{}</option>"#
        } else {
            r#"<option value="{}">{}</option>"#
        };
        self.fill(is_chosen, &[value, label]);
    }
}

/// Everything that HTML reads as its own becomes a reference; what would steer the reader's eye becomes visible.
#[inline(never)]
fn escape(text: &str, out: &mut String) {
    out.reserve(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            // Unicode has pictures of the 32 control characters.
            '\0'..='\x1f' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\x7f' => out.push('\u{2421}'),
            '\u{80}'..='\u{9f}' => out.push('\u{fffd}'),
            _ if steers(c) => {
                out.push_str("[U+");
                let code = u32::from(c);
                out.extend(
                    [12, 8, 4, 0]
                        .iter()
                        .filter_map(|shift| char::from_digit((code >> shift) & 15, 16))
                        .map(|c| c.to_ascii_uppercase()),
                );
                out.push(']');
            }
            _ => out.push(c),
        }
    }
}

/// Whether it turns the direction of what follows, or breaks a line where nothing shows it.
fn steers(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a browser may be sent there: only to the web, whatever else an address can mean.
pub(super) fn is_web(url: &str) -> bool {
    let has = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    (has("http://") || has("https://")) && !url.chars().any(|c| c.is_control() || c.is_whitespace() || steers(c))
}

/// A member; null where there is none.
#[inline(never)]
pub(super) fn at<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or(&Value::Null)
}

/// A member's text; empty where there is none.
#[inline(never)]
pub(super) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    at(value, key).as_str().unwrap_or_default()
}

/// A member's items.
#[inline(never)]
pub(super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    at(value, key).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A member's number.
#[inline(never)]
pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    at(value, key).as_f64()
}

/// A member's whole number; 0 where there is none.
#[inline(never)]
pub(super) fn whole(value: &Value, key: &str) -> i64 {
    at(value, key).as_i64().unwrap_or_default()
}

/// Whether a member is true.
#[inline(never)]
pub(super) fn is(value: &Value, key: &str) -> bool {
    at(value, key).as_bool().unwrap_or_default()
}

/// The texts among these, with this between them.
#[inline(never)]
pub(super) fn joined(list: &[Value], between: &str) -> String {
    let mut all = String::new();
    for text in list.iter().filter_map(Value::as_str) {
        if !all.is_empty() {
            all.push_str(between);
        }
        all.push_str(text);
    }
    all
}

/// These texts behind each other.
#[inline(never)]
pub(super) fn glue(texts: &[&str]) -> String {
    let mut all = String::new();
    for text in texts {
        all.push_str(text);
    }
    all
}

/// Any scalar as text.
#[inline(never)]
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// At most so many characters, with … where there were more.
#[inline(never)]
pub(super) fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// `12 345`: grouped by a narrow space that does not break.
#[inline(never)]
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// The same of how many there are.
#[inline(never)]
pub(super) fn size(number: usize) -> String {
    count(i64::try_from(number).unwrap_or(i64::MAX))
}

/// `1 delivery`, `2 deliveries`.
#[inline(never)]
pub(super) fn counted(number: i64, one: &str, many: &str) -> String {
    let mut text = count(number);
    text.push(' ');
    text.push_str(if number == 1 { one } else { many });
    text
}

/// In the largest of these units in which it is at least one; a tenth below ten.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let unit = units.iter().find(|(size, _)| value >= *size).or(units.last());
    let (size, name) = unit.copied().unwrap_or((1.0, ""));
    // Tenths beyond 9e18 saturate, which no figure of ours reaches.
    let tenths = (value / size * 10.0).round() as i64;
    let mut text = count(if tenths < 100 { tenths / 10 } else { (tenths + 5) / 10 });
    if tenths < 100 && tenths % 10 != 0 {
        text.push('.');
        text.push_str(&(tenths % 10).to_string());
    }
    text.push('\u{a0}');
    text.push_str(name);
    text
}

/// `3.1 ms`, `412 ms`, `1.4 s`, `5 min`.
#[inline(never)]
pub(super) fn duration(ms: f64) -> String {
    const UNITS: &[(f64, &str)] =
        &[(86_400_000.0, "days"), (3_600_000.0, "h"), (60_000.0, "min"), (1000.0, "s"), (1.0, "ms")];
    // One day is better told in hours.
    scaled(ms.max(0.0), if ms < 172_800_000.0 { &UNITS[1..] } else { UNITS })
}

/// `14 KiB`, `1.2 GiB`.
#[inline(never)]
pub(super) fn bytes(number: f64) -> String {
    const KIB: f64 = 1024.0;
    let units =
        [(KIB * KIB * KIB * KIB, "TiB"), (KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB"), (1.0, "bytes")];
    scaled(number.max(0.0), &units)
}

/// A moment seen from `now`: `4 min ago`, `in 2 h`; what is over a month away is a date.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.seconds().saturating_sub(at.seconds());
    let apart = seconds.unsigned_abs();
    let (number, unit) = match apart {
        0..5 if seconds >= 0 => return "just now".to_owned(),
        0..90 => (apart, "s"),
        90..5400 => (apart / 60, "min"),
        5400..172_800 => (apart / 3600, "h"),
        172_800..2_678_400 => (apart / 86_400, "days"),
        _ => return at.to_string().chars().take(10).collect(),
    };
    let mut text = String::from(if seconds < 0 { "in " } else { "" });
    text.push_str(&number.to_string());
    text.push('\u{a0}');
    text.push_str(unit);
    text.push_str(if seconds < 0 { "" } else { " ago" });
    text
}

/// `2026-11-22 10:00:00.042 UTC` of an RFC 3339 text.
fn exact(moment: &str) -> String {
    moment.replacen('T', " ", 1).replacen('Z', " UTC", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let cases = [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("' autofocus '", "&#39; autofocus &#39;"),
            ("a & b", "a &amp; b"),
            ("\u{1b}[2J", "\u{241b}[2J"),
            ("\0\u{7f}\u{85}", "\u{2400}\u{2421}\u{fffd}"),
            ("a\u{202e}b\u{2066}\u{200f}\u{61c}", "a[U+202E]b[U+2066][U+200F][U+061C]"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
            ("\r", "\u{240d}"),
            ("ünï 👩‍🚀", "ünï 👩‍🚀"),
        ];
        for (text, expected) in cases {
            assert_eq!(escaped(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_template_takes_texts_and_nothing_else() {
        let mut html = Html::new(Timestamp::from_ms(0));
        html.fill("<p title=\"{}\">{}</p>{}", &["\"{}", "<b>{}</b>"]);
        assert_eq!(html.finish(), "<p title=\"&quot;{}\">&lt;b&gt;{}&lt;/b&gt;</p>");
    }

    #[test]
    fn a_value_fills_a_template_by_name() {
        let mut html = Html::new(Timestamp::from_ms(0));
        let value = serde_json::json!({ "a": "<{b}>", "b": 1234, "c": null, "d": "1970-01-01T00:00:00Z" });
        html.of(&value, "<p>{a}</p>{#b}{c}{none}|{#none}|{b}|{@c}{@d}");
        let time = r#"<time datetime="1970-01-01T00:00:00Z" title="1970-01-01 00:00:00 UTC">just now</time>"#;
        assert_eq!(html.finish(), ["<p>&lt;{b}&gt;</p>1\u{202f}234|0|1234|", time].concat());
    }

    #[test]
    fn only_the_web_is_linked() {
        for good in ["http://a", "https://example.com/x?y=1#z", "HTTPS://A"] {
            assert!(is_web(good), "{good}");
        }
        let bad = [
            "javascript:alert(1)",
            "data:text/html,x",
            "//example.com",
            "/x",
            "",
            "ftp://a",
            " https://a",
            "https://a\nb",
            "java\nscript:x",
            "https://a\u{202e}b",
            "vbscript:x",
            "http:/a",
        ];
        for bad in bad {
            assert!(!is_web(bad), "{bad:?}");
        }
        let mut html = Html::new(Timestamp::from_ms(0));
        html.link("javascript:alert(1)", "x");
        assert_eq!(html.finish(), "<bdi>x</bdi>");
    }

    #[test]
    fn figures_read_well() {
        let durations = [
            (0.0, "0 ms"),
            (3.12, "3.1 ms"),
            (9.96, "10 ms"),
            (412.4, "412 ms"),
            (1400.0, "1.4 s"),
            (300_000.0, "5 min"),
            (7_200_000.0, "2 h"),
            (259_200_000.0, "3 days"),
        ];
        for (ms, expected) in durations {
            assert_eq!(duration(ms).replace('\u{a0}', " "), expected);
        }
        for (number, expected) in
            [(0.0, "0 bytes"), (1536.0, "1.5 KiB"), (14_500.0, "14 KiB"), (1_073_741_824.0, "1 GiB")]
        {
            assert_eq!(bytes(number).replace('\u{a0}', " "), expected);
        }
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(-12), "−12");
        assert_eq!(counted(1, "delivery", "deliveries"), "1 delivery");
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        let cases = [
            (0, "just now"),
            (-3, "in 3 s"),
            (30, "30 s ago"),
            (240, "4 min ago"),
            (7200, "2 h ago"),
            (-7200, "in 2 h"),
            (259_200, "3 days ago"),
            (9_000_000, "2026-08-10"),
        ];
        for (seconds, expected) in cases {
            let at = Timestamp::from_ms(now.ms() - seconds * 1000);
            assert_eq!(ago(now, at).replace('\u{a0}', " "), expected);
        }
        let mut html = Html::new(now);
        html.when(&Value::from("2026-11-22T09:56:00.042Z"));
        html.when(&Value::Null);
        html.when(&Value::from("<b>"));
        assert_eq!(
            html.finish(),
            "<time datetime=\"2026-11-22T09:56:00.042Z\" title=\"2026-11-22 09:56:00.042 UTC\">4\u{a0}min ago</time>"
        );
    }
}
