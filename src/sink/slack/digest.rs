//! Many events in one section. Owns Slack's room for them; the grouping is `sink::digest`'s.

use super::{mrkdwn, wording};
use crate::{
    event::Event,
    sink::digest::{Manner, Room, fit, grouped},
};

const MANNER: Manner = Manner { show: mrkdwn::text, alone: |event, _| wording::line(event) };
const ROOM: Room = Room { max: wording::UNITS_MAX, size: |text| text.encode_utf16().count() };

/// How many there are, and a line for each kind in each repository.
pub fn digest(events: &[&Event]) -> Vec<String> {
    fit(vec![format!("*{} events*", events.len())], grouped(events, MANNER), ROOM)
}

/// A line for each, as far as they fit.
pub fn each(events: &[&Event]) -> Vec<String> {
    fit(Vec::new(), events.iter().map(|event| (wording::line(event), 1)), ROOM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Fact, NO_TITLE, SOMEONE},
        provider::KINDS,
    };

    fn star(actor: &str) -> Event {
        Event { actor: actor.to_owned(), ..Event::of("repo_starred") }
    }

    fn pull(number: i64, title: &str) -> Event {
        let mut event = Event { title: title.to_owned(), ..Event::of("pr_opened") };
        event.extra.insert("number".to_owned(), Fact::Number(number));
        event
    }

    fn lines(events: &[Event]) -> Vec<String> {
        digest(&events.iter().collect::<Vec<_>>())
    }

    #[test]
    fn events_are_grouped_in_the_order_of_first_appearance() {
        let mut events = vec![star("ada"), pull(1, "One"), star("bob"), pull(2, "Two"), pull(3, "*Three*")];
        events.extend(["ada", "carol", "dora", "emil", "fritz", "gert", "hugo"].map(star));
        events.push(Event { repository: "acme/web".to_owned(), ..star("ada") });
        events.extend([Event::of("brand_new"), Event::of("brand_new"), star(SOMEONE)]);
        assert_eq!(
            lines(&events),
            [
                "*16 events*",
                "⭐\u{fe0f} acme/api: 10 stars (ada, bob, carol, dora, emil and 3 more)",
                "🔀 acme/api: 3 pull requests opened (#1 One, #2 Two, #3 ∗Three∗)",
                "⭐\u{fe0f} Repository *acme/web* was starred by @ada",
                "ℹ\u{fe0f} acme/api: 2 × brandˍnew".replace('ˍ', "_").as_str(),
            ]
        );
        let nameless = Event { title: NO_TITLE.to_owned(), ..Event::of("order_paid") };
        assert_eq!(lines(&[nameless.clone(), nameless])[1], "💵 acme/api: 2 orders paid");
    }

    #[test]
    fn every_kind_has_its_plural() {
        for kind in KINDS {
            let two = [Event::of(kind), Event::of(kind)];
            assert!(!lines(&two)[1].contains('×'), "{kind}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        for filler in ["x", "&", "🎉"] {
            let event =
                |number: i64| Event { repository: format!("acme/{number}"), ..pull(number, &filler.repeat(100_000)) };
            let events: Vec<Event> = (0..200).flat_map(|number| [event(number), event(number)]).collect();
            for said in [digest(&events.iter().collect::<Vec<_>>()), each(&events.iter().collect::<Vec<_>>())] {
                let units = said.join("\n").encode_utf16().count();
                assert!((2_000..=wording::UNITS_MAX).contains(&units), "{units}");
                assert!(said.last().unwrap().ends_with(" more events"), "{said:?}");
            }
            let said = digest(&events.iter().collect::<Vec<_>>());
            let told = 2 * (said.len() - 2);
            assert_eq!(said.last(), Some(&format!("and {} more events", 400 - told)));
        }
        let few = [pull(1, "One"), pull(2, "Two")];
        assert_eq!(each(&few.iter().collect::<Vec<_>>()).len(), 2);
    }
}
