//! Reading foreign JSON without trusting it. Owns the tolerance and the bounds: whatever is missing, null or of another
//! type reads as absent, so that no change on a provider's side costs a delivery, and no body grows into more than a few
//! megabytes of tree.
//!
//! One reader serves all providers. Types derived for each of them read the same fields and doubled the program: see
//! ARCHITECTURE.md.

use std::{borrow::Cow, fmt, ops::Index};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;

/// Values that are kept of one body. GitHub's largest has 30 000; a value takes 56 bytes besides its text.
const VALUES_MAX: usize = 100_000;

/// Deeper values read as absent. The deepest that a provider's meaning hangs on stands at 8; each level costs stack.
const DEPTH_MAX: usize = 24;

/// A value of a body. What is asked of it and is not there is absent, never an error: `body["issue"]["number"].whole()`.
#[derive(Debug)]
pub(super) enum Json<'b> {
    /// `null`, and what is absent.
    Null,
    Flag(bool),
    Number(Number),
    Text(Cow<'b, str>),
    /// The first values of a list, and how many it really has.
    List(Vec<Json<'b>>, usize),
    /// In the order of the body.
    Map(Vec<(Cow<'b, str>, Json<'b>)>),
}

static ABSENT: Json<'static> = Json::Null;

impl<'b> Json<'b> {
    /// Any body.
    pub(super) fn read(body: &'b [u8]) -> Result<Json<'b>, String> {
        let mut left = VALUES_MAX;
        decode(body, Tree { left: &mut left, depth: 0 })
    }

    /// A body that must be an object.
    pub(super) fn object(body: &'b [u8]) -> Result<Json<'b>, String> {
        opens(body, b'{', "object").and_then(|()| Json::read(body))
    }

    /// A body that must be an array.
    pub(super) fn array(body: &'b [u8]) -> Result<Json<'b>, String> {
        opens(body, b'[', "array").and_then(|()| Json::read(body))
    }

    /// A text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, also where it is written with a point or an exponent: to JavaScript that is the same.
    pub(super) fn whole(&self) -> Option<i64> {
        /// Beyond this (2^53) neighbours are one number to JavaScript.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let Json::Number(number) = self else { return None };
        let is_whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT_MAX;
        number.as_i64().or_else(|| number.as_f64().filter(is_whole).map(|number| number as i64))
    }

    /// `true`; false and whatever else is not.
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Json::Flag(true))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Json::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A text, a number or a flag, as text.
    pub(super) fn plain(&self) -> Option<String> {
        match self {
            Json::Text(text) => Some(text.to_string()),
            Json::Number(number) => Some(number.to_string()),
            Json::Flag(flag) => Some(flag.to_string()),
            Json::Null | Json::List(..) | Json::Map(_) => None,
        }
    }

    /// The values of a list.
    pub(super) fn items(&self) -> &[Json<'b>] {
        match self {
            Json::List(items, _) => items,
            _ => &[],
        }
    }

    /// How many values a list has, also where not all are kept.
    pub(super) fn count(&self) -> usize {
        match self {
            Json::List(_, count) => *count,
            _ => 0,
        }
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Json::List(..))
    }

    /// The fields of an object.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Json<'b>)> {
        let fields = if let Json::Map(fields) = self { fields.as_slice() } else { &[] };
        fields.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Whether it is an object.
    pub(super) fn is_object(&self) -> bool {
        matches!(self, Json::Map(_))
    }

    /// The value that a JSON pointer (RFC 6901) leads to.
    pub(super) fn at(&self, pointer: &str) -> &Json<'b> {
        steps(pointer).fold(self, |json, step| match json {
            Json::List(items, _) => index(&step).and_then(|at| items.get(at)).unwrap_or(&ABSENT),
            _ => &json[step.as_ref()],
        })
    }
}

impl<'b> Index<&str> for Json<'b> {
    type Output = Json<'b>;

    fn index(&self, name: &str) -> &Json<'b> {
        // Of two fields with one name the last counts, as in JavaScript.
        let Json::Map(fields) = self else { return &ABSENT };
        fields.iter().rev().find(|(field, _)| field == name).map_or(&ABSENT, |(_, value)| value)
    }
}

/// The texts, numbers or flags that these JSON pointers lead to, without keeping the rest: what the door reads of a body.
/// None of them when it is not JSON.
pub(super) fn texts<const N: usize>(body: &[u8], pointers: [&str; N]) -> [Option<String>; N] {
    values(body, pointers).map(|value| match value {
        Json::Text(text) => Some(text.into_owned()),
        other => other.plain(),
    })
}

/// The same where it matters which type a value has. Objects and lists are empty.
pub(super) fn values<'b, const N: usize>(body: &'b [u8], pointers: [&str; N]) -> [Json<'b>; N] {
    let mut wanted = pointers.map(|pointer| Wanted { steps: steps(pointer).collect(), found: Json::Null, led: 0 });
    match decode(body, Pick { wanted: &mut wanted, depth: 0 }) {
        Ok(()) => wanted.map(|wanted| wanted.found),
        Err(_) => [const { Json::Null }; N],
    }
}

/// Shows each value of the first two levels with the names that lead to it, for the door where the names are not known
/// before. Objects and lists are empty; what was shown counts only when all of the body is JSON.
pub(super) fn outline(body: &[u8], show: &mut dyn FnMut(&[&str], &Json<'_>)) -> Result<(), String> {
    decode(body, Outline { path: &[], show })
}

/// The name that an [`outline`] gives to each value of a list.
pub(super) const ITEM: &str = "";

/// As far as an [`outline`] goes.
const OUTLINE_DEPTH: usize = 2;

/// Whether a body begins with this bracket, or what it is instead.
pub(super) fn opens(body: &[u8], bracket: u8, what: &str) -> Result<(), String> {
    match body.trim_ascii_start().first() {
        Some(first) if *first == bracket => Ok(()),
        Some(_) => Err(format!("the body is not a JSON {what}")),
        None => Err("the body is empty".to_owned()),
    }
}

fn decode<'b, S: DeserializeSeed<'b>>(body: &'b [u8], seed: S) -> Result<S::Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| format!("the body is not JSON that we can read: {error}"))
}

/// A pointer's names; the empty pointer, which is the whole, has none.
fn steps(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(|step| match step.contains('~') {
        true => Cow::Owned(step.replace("~1", "/").replace("~0", "~")),
        false => Cow::Borrowed(step),
    })
}

/// A pointer's name of a place in a list: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let is_plain = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    is_plain.then(|| step.parse().ok()).flatten()
}

/// Reads one value of a tree.
struct Tree<'l> {
    /// How many values may still be kept.
    left: &'l mut usize,
    depth: usize,
}

impl Tree<'_> {
    /// Keeps a quarter of what is left back while it reads what stands inside, so that no list takes the place of the
    /// fields after it.
    fn inside<T, E>(&mut self, read: impl FnOnce(&mut Tree<'_>) -> Result<T, E>) -> Result<T, E> {
        // The outermost value has nothing after it.
        let kept_back = if self.depth == 0 { 0 } else { *self.left / 4 };
        *self.left -= kept_back;
        let value = read(&mut Tree { left: self.left, depth: self.depth + 1 });
        *self.left += kept_back;
        value
    }

    /// Whether another value may be kept.
    fn takes_one(&mut self) -> bool {
        let takes = *self.left > 0 && self.depth <= DEPTH_MAX;
        *self.left -= usize::from(takes);
        takes
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json<'de>, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Json<'de>, A::Error> {
        self.inside(|inside| {
            let (mut items, mut count) = (Vec::new(), 0);
            loop {
                let is_there = match inside.takes_one() {
                    true => {
                        let item = list.next_element_seed(Tree { left: inside.left, depth: inside.depth })?;
                        let is_there = item.is_some();
                        items.extend(item);
                        is_there
                    }
                    false => list.next_element::<IgnoredAny>()?.is_some(),
                };
                if !is_there {
                    return Ok(Json::List(items, count));
                }
                count += 1;
            }
        })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Json<'de>, A::Error> {
        self.inside(|inside| {
            let mut fields = Vec::new();
            while let Some(name) = map.next_key_seed(Name)? {
                if inside.takes_one() {
                    fields.push((name, map.next_value_seed(Tree { left: inside.left, depth: inside.depth })?));
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(Json::Map(fields))
        })
    }
}

/// Reads a field's name without a copy where it can.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Where a wanted value stands, and the place for it.
struct Wanted<'p, 'b> {
    steps: Vec<Cow<'p, str>>,
    found: Json<'b>,
    /// How many of the steps lead to the value that is being read.
    led: usize,
}

/// Looks for wanted values in the value at `depth`: those that were led here.
struct Pick<'w, 'p, 'b> {
    wanted: &'w mut [Wanted<'p, 'b>],
    depth: usize,
}

impl<'p, 'b> Pick<'_, 'p, 'b> {
    /// Prepares for the value under a name; `None` when nothing wanted is in it.
    fn inside(&mut self, is_next: impl Fn(&str) -> bool) -> Option<Pick<'_, 'p, 'b>> {
        let depth = self.depth;
        let mut is_wanted = false;
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.led >= depth) {
            let leads = wanted.steps.get(depth).is_some_and(|step| is_next(step));
            if leads {
                is_wanted = true;
                // Of two fields with one name the last counts.
                wanted.found = Json::Null;
            }
            wanted.led = depth + usize::from(leads);
        }
        is_wanted.then_some(Pick { wanted: self.wanted, depth: depth + 1 })
    }

    fn found(&mut self, value: impl Fn() -> Json<'b>) {
        let here = |wanted: &&mut Wanted<'_, '_>| wanted.led == self.depth && wanted.steps.len() == self.depth;
        for wanted in self.wanted.iter_mut().filter(here) {
            wanted.found = value();
        }
    }
}

impl<'de> DeserializeSeed<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(mut self, flag: bool) -> Result<(), E> {
        self.found(|| Json::Flag(flag));
        Ok(())
    }

    fn visit_i64<E>(mut self, number: i64) -> Result<(), E> {
        self.found(|| Json::Number(number.into()));
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.found(|| Json::Number(number.into()));
        Ok(())
    }

    fn visit_f64<E>(mut self, number: f64) -> Result<(), E> {
        self.found(|| Number::from_f64(number).map_or(Json::Null, Json::Number));
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, text: &'de str) -> Result<(), E> {
        self.found(|| Json::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.found(|| Json::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.found(|| Json::List(Vec::new(), 0));
        for at in 0.. {
            let is_there = match self.inside(|step| index(step) == Some(at)) {
                Some(inside) => list.next_element_seed(inside)?.is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.found(|| Json::Map(Vec::new()));
        while let Some(name) = map.next_key_seed(Name)? {
            match self.inside(|step| step == name) {
                Some(inside) => map.next_value_seed(inside)?,
                None => map.next_value::<IgnoredAny>().map(|_| ())?,
            }
        }
        Ok(())
    }
}

/// Shows the value that `path` leads to, and what stands inside.
struct Outline<'s, 'n> {
    path: &'n [&'n str],
    show: &'s mut dyn FnMut(&[&str], &Json<'_>),
}

impl Outline<'_, '_> {
    fn show<E>(self, value: &Json<'_>) -> Result<(), E> {
        (self.show)(self.path, value);
        Ok(())
    }

    /// Calls `read` for the value under a name, or without anything where that is too deep.
    fn inside<T>(&mut self, name: &str, read: impl FnOnce(Option<Outline<'_, '_>>) -> T) -> T {
        let mut path = [ITEM; OUTLINE_DEPTH];
        let depth = self.path.len();
        if depth == OUTLINE_DEPTH {
            return read(None);
        }
        path[..depth].copy_from_slice(self.path);
        path[depth] = name;
        read(Some(Outline { path: &path[..=depth], show: self.show }))
    }
}

impl<'de> DeserializeSeed<'de> for Outline<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outline<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.show(&Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        self.show(&Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.show(&Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.show(&Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.show(&Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.show(&Json::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        (self.show)(self.path, &Json::List(Vec::new(), 0));
        while self.inside(ITEM, |inside| match inside {
            Some(inside) => list.next_element_seed(inside).map(|item| item.is_some()),
            None => list.next_element::<IgnoredAny>().map(|item| item.is_some()),
        })? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        (self.show)(self.path, &Json::Map(Vec::new()));
        while let Some(name) = map.next_key_seed(Name)? {
            self.inside(&name, |inside| match inside {
                Some(inside) => map.next_value_seed(inside),
                None => map.next_value::<IgnoredAny>().map(|_| ()),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_not_there_reads_as_absent() {
        let body =
            br#"{"a":{"b":[1,"two",true,null,{"c":-3}]},"n":1.5,"big":18446744073709551615,"a/b":{"~":"x"},"":"e"}"#;
        let json = Json::object(body).unwrap();
        assert_eq!(json["a"]["b"].items()[1].text(), Some("two"));
        assert_eq!((json["a"]["b"].count(), json["a"].count(), json["none"].count()), (5, 0, 0));
        assert_eq!(json["a"]["x"]["y"].text(), None);
        assert_eq!((json["n"].whole(), json["big"].whole(), json["a"]["b"].items()[0].whole()), (None, None, Some(1)));
        assert_eq!(
            (json["n"].plain().as_deref(), json["big"].plain().as_deref()),
            (Some("1.5"), Some("18446744073709551615"))
        );
        let whole = |text: &str| Json::read(text.as_bytes()).unwrap().whole();
        assert_eq!(
            [whole("1.7e12"), whole("-2.0"), whole("0.5"), whole("1e300")],
            [Some(1_700_000_000_000), Some(-2), None, None]
        );
        assert!(json["a"]["b"].items()[2].is_true() && !json["a"].is_true());
        for (pointer, expected) in [
            ("/a/b/4/c", Some("-3")),
            ("/a/b/0", Some("1")),
            ("/a/b/00", None),
            ("/a/b/+1", None),
            ("/a/b/9", None),
            ("/a~1b/~0", Some("x")),
            ("/", Some("e")),
            ("/a/b", None),
            ("", None),
        ] {
            assert_eq!(json.at(pointer).plain().as_deref(), expected, "{pointer}");
            assert_eq!(texts(body, [pointer])[0].as_deref(), expected, "{pointer}");
            let [value] = values(body, [pointer]);
            assert_eq!((value.text(), value.whole()), (json.at(pointer).text(), json.at(pointer).whole()), "{pointer}");
        }
        assert_eq!(
            texts(body, ["/n", "/a/b/1", "/n", "/none"]).map(Option::unwrap_or_default),
            ["1.5", "two", "1.5", ""]
        );
        assert_eq!(texts(body, ["/a/b/1", "/a/b/4/c"]).map(Option::unwrap_or_default), ["two", "-3"]);
    }

    #[test]
    fn of_two_fields_with_one_name_the_last_counts() {
        for (body, expected) in [
            (r#"{"a":"1","a":"2"}"#, Some("2")),
            (r#"{"a":"1","a":{}}"#, None),
            (r#"{"a":"1","a":null}"#, None),
            (r#"{"a":{"b":"1"},"a":"2"}"#, Some("2")),
        ] {
            assert_eq!(Json::object(body.as_bytes()).unwrap()["a"].text(), expected, "{body}");
            assert_eq!(texts(body.as_bytes(), ["/a"])[0].as_deref(), expected, "{body}");
        }
        assert_eq!(texts(br#"{"a":{"b":"1"},"a":"2"}"#, ["/a/b"]), [None]);
    }

    #[test]
    fn values_have_their_type_and_nothing_inside() {
        let [flag, negative] = values(br#"{"a":true,"b":-7}"#, ["/a", "/b"]);
        assert!(flag.is_true() && negative.whole() == Some(-7));
        let [text, number, list, map, inside, none] =
            values(br#"{"a":"1","b":1,"c":[2],"d":{"e":"\n"}}"#, ["/a", "/b", "/c", "/d", "/d/e", "/f"]);
        assert_eq!((text.text(), text.whole(), number.text(), number.whole()), (Some("1"), None, None, Some(1)));
        assert!(matches!((&list, &map, &none), (Json::List(..), Json::Map(_), Json::Null)));
        assert_eq!((list.items().len(), map["e"].text(), inside.text()), (0, None, Some("\n")));
    }

    #[test]
    fn an_outline_has_two_levels() {
        let shown = |body: &str| {
            let mut lines = Vec::new();
            let read = outline(body.as_bytes(), &mut |path, value| {
                lines.push(format!("{} {}", path.join("/"), value.plain().unwrap_or_default()));
            });
            (read.is_ok(), lines.join(","))
        };
        let is = |text: &str| (true, text.to_owned());
        assert_eq!(
            shown(r#"{"a":1,"b":{"c":"x","d":{"e":[2]},"f\n":[3]},"g":[{"h":4}]}"#),
            is(" ,a 1,b ,b/c x,b/d ,b/f\n ,g ,g/ ")
        );
        assert_eq!(shown(r#"[{"a":true,"b":[{}]},[-5],null]"#), is(" , ,/a true,/b , ,/ -5, "));
        assert!(!shown("{\"a\":1").0 && !shown("{}x").0);
    }

    #[test]
    fn what_is_no_json_is_refused_as_a_whole() {
        for body in ["", " ", "{", "{}x", "[]", "nil", "{\"a\":\"\\ud800\"}", "\u{feff}{}"] {
            assert!(Json::object(body.as_bytes()).is_err(), "{body:?}");
        }
        assert_eq!(Json::object(b"").unwrap_err(), "the body is empty");
        assert_eq!(Json::object(b"[]").unwrap_err(), "the body is not a JSON object");
        assert_eq!(Json::array(b" {}").unwrap_err(), "the body is not a JSON array");
        assert_eq!(texts(b"{\"a\":\"1\"", ["/a"]), [None]);
        assert_eq!(texts(b"{\"a\":\"1\"}}", ["/a"]), [None]);
    }

    /// Lists that would fill all the room leave a part of it to what follows.
    #[test]
    fn a_tree_has_a_size_and_a_depth() {
        fn size(json: &Json<'_>) -> usize {
            1 + json.items().iter().chain(json.fields().map(|(_, value)| value)).map(size).sum::<usize>()
        }
        let many = format!("[{}]", vec!["[1,2]"; VALUES_MAX].join(","));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let body = format!(r#"{{"long":{many},"deep":{deep},"last":{{"long":{many},"name":"x"}}}}"#);
        let json = Json::object(body.as_bytes()).unwrap();
        assert_eq!(json["last"]["name"].text(), Some("x"));
        assert_eq!(json["long"].count(), VALUES_MAX);
        assert!(json["long"].items().len() > VALUES_MAX / 10);
        assert!(size(&json) <= VALUES_MAX + 1, "{}", size(&json));
        let mut deep = &json["deep"];
        let mut depth = 1;
        while let Some(inside) = deep.items().first() {
            (deep, depth) = (inside, depth + 1);
        }
        assert_eq!(depth, DEPTH_MAX);
        // A list at the top has nothing after it.
        let top = format!("[{}]", vec!["1"; VALUES_MAX].join(","));
        assert_eq!(Json::array(top.as_bytes()).unwrap().items().len(), VALUES_MAX);
    }

    #[test]
    fn trees_agree_with_a_reader_that_keeps_everything() {
        fn value(json: &Json<'_>) -> Value {
            match json {
                Json::Null => Value::Null,
                Json::Flag(flag) => (*flag).into(),
                Json::Number(number) => number.clone().into(),
                Json::Text(text) => text.as_ref().into(),
                Json::List(items, _) => items.iter().map(value).collect(),
                Json::Map(fields) => fields.iter().map(|(name, field)| (name.to_string(), value(field))).collect(),
            }
        }
        let sample =
            json!({ "a": [1, -2, 2.5, "é\u{1f514}\\ \"", null, true, {}], "ключ": { "b": [[], [[]]] }, "q\"": false });
        let text = format!("{sample:#}");
        assert_eq!(value(&Json::read(text.as_bytes()).unwrap()), sample);
    }
}
