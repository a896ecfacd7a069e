//! Makes foreign text harmless in Slack's mrkdwn. Owns the escaping, the look-alikes and the cutting; refuses to know
//! what is said.
//!
//! Everything in a payload was typed by a stranger: whoever may open an issue may write `<!channel>` into its title.
//! Slack's page "Formatting text for app surfaces" names three characters to escape, `&`, `<` and `>`; for the marks of
//! bold, strike-through, code and italics there is no escape, so they become characters that look like them.

/// Breaks a word for Slack's parser and shows nothing.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Names that call many people at once. `group` is the old name of `channel` in private channels.
const CALLS: &[&str] = &["channel", "everyone", "group", "here"];

/// Longest link as written, `&amp;` included. Browsers and servers grow unreliable above about this.
const LINK_UNITS_MAX: usize = 2_000;

/// `raw` as one line that mrkdwn shows as it stands, at most `units_max` UTF-16 units long; what is cut ends in `…`.
/// Empty when nothing visible is left.
///
/// Slack does not say what its "characters" are. UTF-16 units are the strictest reading: an emoji counts two.
pub(super) fn text(raw: &str, units_max: usize) -> String {
    let mut out = String::new();
    let mut units = 0;
    // Up to here `…` still fits behind.
    let mut keep_bytes = 0;
    let mut space_pending = false;
    let mut before = None;
    let mut chars = raw.chars().filter(|c| !turns_text(*c)).peekable();
    while let Some(c) = chars.next() {
        let previous = before.replace(c);
        if c.is_whitespace() || c.is_control() {
            space_pending = !out.is_empty();
            continue;
        }
        let mut buffer = [0; 4];
        let piece = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '*' => "∗",
            '~' => "∼",
            '`' => "ˋ",
            // Inside a word an underscore neither opens nor closes italics, and snake_case wants to stay readable.
            '_' if !(is_word(previous) && is_word(chars.peek().copied())) => "ˍ",
            '@' => "@\u{200b}",
            // Neither a channel's name nor a stranger's address becomes a link.
            '#' if chars.peek().is_some_and(|next| next.is_alphabetic()) => "#\u{200b}",
            ':' if chars.peek() == Some(&'/') => ":\u{200b}",
            other => other.encode_utf8(&mut buffer),
        };
        let piece_units = usize::from(space_pending) + piece.encode_utf16().count();
        if units + piece_units > units_max {
            out.truncate(keep_bytes);
            // A joiner (as in 👩‍🚒) with nothing to join would take the `…` for its partner.
            out.truncate(out.trim_end_matches('\u{200d}').len());
            out.push('…');
            return out;
        }
        if std::mem::take(&mut space_pending) {
            out.push(' ');
        }
        out.push_str(piece);
        units += piece_units;
        if units < units_max {
            keep_bytes = out.len();
        }
    }
    out
}

/// `raw` as it stands behind an `@`: a person's name unchanged, a name that calls a whole channel broken.
pub(super) fn actor(raw: &str, units_max: usize) -> String {
    let name = text(raw.trim_start_matches('@'), units_max);
    // Slack reads a name up to the first character that no name has: `@here[bot]` would still call.
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(name.len());
    let called = name[..end].trim_end_matches(['.', '_', '-']);
    if CALLS.iter().any(|call| call.eq_ignore_ascii_case(called)) { format!("{ZERO_WIDTH_SPACE}{name}") } else { name }
}

/// `raw` as a link on a line of its own, where it is one that people may click.
pub(super) fn link(raw: &str) -> Option<String> {
    let (scheme, rest) = raw.split_once("://")?;
    let web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let foreign = |c: char| c.is_whitespace() || c.is_control() || turns_text(c) || "<>|".contains(c);
    if !web || rest.is_empty() || rest.starts_with(['/', '?', '#']) || rest.contains(foreign) {
        return None;
    }
    // A backtick is not a URL's character (RFC 3986), but git allows it in branch names: as %60 it opens no code.
    let link = raw.replace('&', "&amp;").replace('`', "%60");
    (link.encode_utf16().count() <= LINK_UNITS_MAX).then_some(link)
}

/// Characters that reorder what is shown: with them `gnp.exe` reads `exe.png` (Unicode Technical Report 36).
pub(in crate::sink) fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_word(neighbour: Option<char>) -> bool {
    neighbour.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_shows_as_it_stands() {
        for (raw, shown) in [
            ("plain words, Grüße, 日本語 🎉", "plain words, Grüße, 日本語 🎉"),
            ("<!channel> <@U123> <#C1|x>", "&lt;!channel&gt; &lt;@\u{200b}U123&gt; &lt;#\u{200b}C1|x&gt;"),
            ("#general is #1, see https://evil.example", "#\u{200b}general is #1, see https:\u{200b}//evil.example"),
            ("already &lt;escaped&gt;", "already &amp;lt;escaped&amp;gt;"),
            ("*bold* ~gone~ `code`", "∗bold∗ ∼gone∼ ˋcodeˋ"),
            ("snake_case_word my_repo-x", "snake_case_word my_repo-x"),
            ("_italic_ __init__ a_ _b", "ˍitalicˍ ˍˍinitˍˍ aˍ ˍb"),
            ("@here and a@example.com", "@\u{200b}here and a@\u{200b}example.com"),
            ("one\r\n> quote\n\n• list\u{2028}end\u{7}", "one &gt; quote • list end"),
            ("  inner   space  ", "inner space"),
            ("exe.\u{202e}gnp\u{202c} \u{2066}x\u{2069}\u{200e}\u{200f}", "exe.gnp x"),
            ("a_\u{202e}b", "a_b"),
            ("\0\u{1b}\n", ""),
            ("", ""),
        ] {
            assert_eq!(text(raw, 1_000), shown, "{raw:?}");
        }
    }

    #[test]
    fn a_cut_leaves_whole_characters_and_whole_entities() {
        for (raw, units_max, shown) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("abcdef  ", 6, "abcdef"),
            ("abcd&", 9, "abcd&amp;"),
            ("abcd&e", 9, "abcd…"),
            ("abcd&ef", 8, "abcd…"),
            ("abc🎉", 5, "abc🎉"),
            ("abc🎉x", 5, "abc…"),
            ("abcd efgh", 6, "abcd…"),
            ("ab👩\u{200d}🚒cd", 6, "ab👩…"),
            ("&&&", 0, "…"),
        ] {
            assert_eq!(text(raw, units_max), shown, "{raw:?} in {units_max}");
        }
    }

    #[test]
    fn every_cut_of_a_hostile_text_fits_and_breaks_nothing() {
        let raw = "&<>🎉@é_*`~ ".repeat(20);
        for units_max in 1..400 {
            let shown = text(&raw, units_max);
            assert!(shown.encode_utf16().count() <= units_max, "{units_max}: {shown}");
            let bare = shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
            assert!(!bare.contains(['&', '<', '>', '*', '`', '~', '_']), "{units_max}: {shown}");
        }
    }

    #[test]
    fn only_names_that_call_everybody_are_broken() {
        for plain in ["octocat", "dependabot[bot]", "here-bot", "channels", "snake_case", "someone"] {
            assert_eq!(actor(plain, 80), plain);
        }
        for call in ["here", "Channel", "EVERYONE", "group", "here[bot]", "channel now", "here.", "he\u{202e}re"] {
            assert!(actor(call, 80).starts_with(ZERO_WIDTH_SPACE), "{call}");
        }
        assert_eq!(actor("@octocat", 80), "octocat");
        assert_eq!(actor("@@here", 80), "\u{200b}here");
    }

    #[test]
    fn a_link_is_http_and_nothing_else() {
        for (raw, shown) in [
            ("https://github.com/acme/api/issues/7", Some("https://github.com/acme/api/issues/7")),
            ("HTTP://x/a_b?c=1&d=*", Some("HTTP://x/a_b?c=1&amp;d=*")),
            ("https://x/`y`", Some("https://x/%60y%60")),
            ("javascript:alert(1)", None),
            ("javascript://x/%0aalert(1)", None),
            ("ftp://x/", None),
            ("mailto:a@b", None),
            ("https://", None),
            ("https:///x", None),
            ("//x/y", None),
            ("", None),
            ("https://x/a b", None),
            ("https://x/\n> y", None),
            ("https://x/\u{202e}y", None),
            ("https://x|<!channel>", None),
            ("https://x>y", None),
        ] {
            assert_eq!(link(raw).as_deref(), shown, "{raw:?}");
        }
        let longest = format!("https://x/{}", "y".repeat(LINK_UNITS_MAX - 10));
        assert_eq!(link(&longest).as_ref(), Some(&longest));
        assert_eq!(link(&format!("{longest}y")), None);
    }
}
