//! A message as Slack would show it: Block Kit and mrkdwn, as far as hookbell writes them. Owns the drawing; refuses to
//! follow anything that is not a web address.

use serde_json::Value;

use super::html::{Html, at, cut, items, word};

/// What Slack allows, and more than hookbell sends.
const BLOCKS_MAX: usize = 50;
const FIELDS_MAX: usize = 10;
const TEXT_CHARS_MAX: usize = 6000;
/// Bold in italic in strikethrough: no deeper.
const NESTING_MAX: usize = 3;

/// One message.
pub(super) fn message(html: &mut Html, message: &Value) {
    html.fill(
        r#"<figure class="slack"><figcaption>As it looks in <bdi>{}</bdi></figcaption><div class="said">"#,
        &[word(message, "sink")],
    );
    let colour = word(message, "color");
    if colour.starts_with('#') {
        html.fill(r#"<svg class="bar" width="4" height="100%" aria-hidden="true"><rect width="4" height="100%" fill="{}"/></svg>"#, &[colour]);
    }
    html.raw("<div>");
    let blocks = items(message, "blocks");
    if blocks.is_empty() {
        html.raw("<p>");
        mrkdwn(html, word(message, "text"));
        html.raw("</p>");
    }
    for block in blocks.iter().take(BLOCKS_MAX) {
        self::block(html, block);
    }
    html.raw("</div></div></figure>");
}

fn block(html: &mut Html, block: &Value) {
    match word(block, "type") {
        "header" => {
            html.raw(r#"<p class="head">"#);
            text(html, at(block, "text"));
            html.raw("</p>");
        }
        "divider" => html.raw("<hr>"),
        "context" => {
            html.raw(r#"<p class="context">"#);
            for element in items(block, "elements").iter().take(FIELDS_MAX) {
                text(html, element);
                html.raw(" ");
            }
            html.raw("</p>");
        }
        "section" => {
            if !at(block, "text").is_null() {
                html.raw("<p>");
                text(html, at(block, "text"));
                html.raw("</p>");
            }
            let fields = items(block, "fields");
            if !fields.is_empty() {
                html.raw(r#"<ul class="plain fields">"#);
                for field in fields.iter().take(FIELDS_MAX) {
                    html.raw("<li>");
                    text(html, field);
                    html.raw("</li>");
                }
                html.raw("</ul>");
            }
        }
        other => html.fill(r#"<p class="quiet">({})</p>"#, &[other]),
    }
}

/// A text object; one of another type is none.
fn text(html: &mut Html, object: &Value) {
    match word(object, "type") {
        "mrkdwn" => mrkdwn(html, word(object, "text")),
        _ => html.fill("<bdi>{}</bdi>", &[cut(word(object, "text"), TEXT_CHARS_MAX)]),
    }
}

/// Slack's markup, line by line.
pub(super) fn mrkdwn(html: &mut Html, text: &str) {
    for (index, line) in cut(text, TEXT_CHARS_MAX).split('\n').enumerate() {
        if index > 0 {
            html.raw("<br>");
        }
        let (is_quote, line) = line.strip_prefix("&gt;").map_or((false, line), |rest| (true, rest.trim_start()));
        html.raw(if is_quote { r#"<span class="cite">"# } else { "<bdi>" });
        spans(html, line, NESTING_MAX);
        html.raw(if is_quote { "</span>" } else { "</bdi>" });
    }
}

/// Pairs of these around a text: the mark, and its markup.
const MARKS: &[(char, &str, &str)] =
    &[('`', "<code>", "</code>"), ('*', "<strong>", "</strong>"), ('_', "<em>", "</em>"), ('~', "<s>", "</s>")];

fn spans(html: &mut Html, line: &str, nesting: usize) {
    let mut plain_from = 0;
    let mut before = ' ';
    let mut chars = line.char_indices();
    while let Some((start, c)) = chars.next() {
        let rest = &line[start + c.len_utf8()..];
        let mut end = None;
        if c == '<' {
            if let Some(length) = rest.find('>') {
                words(html, &line[plain_from..start]);
                angle(html, &rest[..length]);
                end = Some(start + 1 + length + 1);
            }
        } else if let Some((_, open, close)) = MARKS.iter().find(|(mark, ..)| *mark == c)
            && nesting > 0
            && !before.is_alphanumeric()
            && let Some(length) = closing(rest, c)
        {
            words(html, &line[plain_from..start]);
            html.raw(open);
            let inner = &rest[..length];
            if c == '`' {
                words(html, inner)
            } else {
                spans(html, inner, nesting - 1)
            }
            html.raw(close);
            end = Some(start + 1 + length + 1);
        }
        before = c;
        if let Some(end) = end {
            plain_from = end;
            while chars.offset() < end && chars.next().is_some() {}
        }
    }
    words(html, &line[plain_from..]);
}

/// Where the pair ends: not at once, not after a space, not inside a word.
fn closing(rest: &str, mark: char) -> Option<usize> {
    if rest.starts_with(char::is_whitespace) {
        return None;
    }
    rest.match_indices(mark).map(|(at, _)| at).find(|at| {
        let (inner, after) = (&rest[..*at], &rest[at + 1..]);
        !inner.is_empty() && !inner.ends_with(char::is_whitespace) && !after.starts_with(char::is_alphanumeric)
    })
}

/// What stands in angle brackets: a link, a moment, somebody.
fn angle(html: &mut Html, inside: &str) {
    let (target, label) = inside.split_once('|').unwrap_or((inside, inside));
    match target.chars().next() {
        // `!date^1763805600^{date_short_pretty}|fallback`, `!channel`, `@U123`, `#C123|name`.
        Some('!') if inside.contains('|') => html.fill("<span>{}</span>", &[&decoded(label)]),
        Some('!') => html.fill(r#"<span class="at">@{}</span>"#, &[&target[1..]]),
        Some(sign @ ('@' | '#')) => {
            let label = label.trim_start_matches(sign);
            html.fill(r#"<span class="at">{}{}</span>"#, &[if sign == '@' { "@" } else { "#" }, &decoded(label)]);
        }
        _ => html.link(&decoded(target), &decoded(label)),
    }
}

fn words(html: &mut Html, text: &str) {
    if text.contains('&') { html.text(&decoded(text)) } else { html.text(text) }
}

/// The three references that mrkdwn has.
fn decoded(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn mrkdwn_reads_as_in_slack() {
        let cases = [
            ("a *bold* word", "<bdi>a <strong>bold</strong> word</bdi>"),
            ("*bold _both_*", "<bdi><strong>bold <em>both</em></strong></bdi>"),
            ("2*3*4 and * no *", "<bdi>2*3*4 and * no *</bdi>"),
            ("`a *b* c`", "<bdi><code>a *b* c</code></bdi>"),
            ("snake_case_name", "<bdi>snake_case_name</bdi>"),
            ("~gone~", "<bdi><s>gone</s></bdi>"),
            (
                "<https://a.b/?x=1&amp;y|the *page*>",
                "<bdi><a href=\"https://a.b/?x=1&amp;y\" rel=\"noreferrer noopener\"><bdi>the *page*</bdi></a></bdi>",
            ),
            ("<javascript:alert(1)|click>", "<bdi><bdi>click</bdi></bdi>"),
            ("&lt;!channel&gt; &amp;amp;", "<bdi>&lt;!channel&gt; &amp;amp;</bdi>"),
            (
                "<!here> <@U1> <#C1|dev>",
                "<bdi><span class=\"at\">@here</span> <span class=\"at\">@U1</span> <span class=\"at\">#dev</span></bdi>",
            ),
            ("<!date^1763805600^{time}|2025>", "<bdi><span>2025</span></bdi>"),
            ("a\n&gt; b", "<bdi>a</bdi><br><span class=\"cite\">b</span>"),
            ("1 < 2 *", "<bdi>1 &lt; 2 *</bdi>"),
            ("\"><script>", "<bdi>&quot;&gt;<bdi>script</bdi></bdi>"),
            ("*ü*_é_", "<bdi><strong>ü</strong><em>é</em></bdi>"),
        ];
        for (text, expected) in cases {
            let mut html = Html::new(Timestamp::from_ms(0));
            mrkdwn(&mut html, text);
            assert_eq!(html.finish(), expected, "{text}");
        }
    }

    /// Whatever stands in it, what is opened is closed, and nothing else is markup.
    #[test]
    fn any_text_is_well_formed() {
        const PIECES: &[&str] = &[
            "*",
            "_",
            "`",
            "~",
            "<",
            ">",
            "|",
            "!",
            "@",
            "#",
            "a",
            "é",
            " ",
            "\n",
            "&lt;",
            "&",
            "https://a",
            "&gt;",
            "<script>",
            "\"",
        ];
        let mut seed = 1_u32;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..24 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(PIECES[seed as usize / 65_536 % PIECES.len()]);
            }
            let mut html = Html::new(Timestamp::from_ms(0));
            mrkdwn(&mut html, &text);
            let html = html.finish();
            let mut open = Vec::new();
            for tag in html.split('<').skip(1) {
                let name = &tag[..tag.find(['>', ' ']).expect("a tag ends")];
                match name.strip_prefix('/') {
                    Some(name) => assert_eq!(open.pop(), Some(name), "{text:?}: {html}"),
                    None if name == "br" => {}
                    None => {
                        assert!(["bdi", "span", "code", "strong", "em", "s", "a"].contains(&name), "{text:?}: {html}");
                        open.push(name);
                    }
                }
            }
            assert!(open.is_empty(), "{text:?}: {html}");
        }
    }
}
