//! Who delivers to a source.

use super::*;

#[test]
fn who_delivers_is_looked_for_among_the_source_s_own() {
    let fixture = Fixture::new();
    for id in ["a", "b", "c"] {
        fixture.accept(id, &format!("{{\"id\":\"{id}\"}}"));
    }
    for id in ["x", "y", "z"] {
        let other = Arrival { source: "other".to_owned(), ..arrival(Repeats::Limit) };
        fixture.store().accept(delivery(id, "{}"), other).unwrap();
    }
    let reader = fixture.store().reader().unwrap();
    let check = |header: &str, limit: u32, expected: &[(&str, i64)]| {
        let found = reader.callers("github", header, limit).unwrap();
        let found: Vec<(&str, i64)> = found.iter().map(|(caller, last)| (caller.as_str(), last.id)).collect();
        assert_eq!(found, expected, "{header} {limit}");
    };
    check("X-GitHub-Delivery", 100, &[("a", 1), ("b", 2), ("c", 3)]);
    check("X-GitHub-Delivery", 2, &[("b", 2), ("c", 3)]);
    check("X-GitHub-Event", 100, &[("issues", 3)]);
    check("X-Nobody-Sends", 100, &[]);
}
