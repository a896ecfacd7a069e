//! The desk: what the running service says of it, else what would be in the way of taking it. No pin is driven.

use serde_json::Value;

use super::{Check, Verdict};
use crate::bell::{self, board};

const NAME: &str = "bell";
const WIRING: &str = "`hookbell bell wiring` draws what is wired where";

/// `state` is the running service's; null where none runs. `conflicts` are pins that a bus of this machine uses.
pub(super) fn look(settings: &bell::Settings, state: &Value, conflicts: &[String], tell: &mut dyn FnMut(Check)) {
    let (board, troubles) = match state["board"].as_str() {
        Some(board) => (board.to_owned(), broken(state)),
        None => {
            let (board, troubles) = board::look(settings);
            (board, troubles.iter().map(ToString::to_string).collect())
        }
    };
    for trouble in &troubles {
        tell(Check::told(NAME, Verdict::Fail, trouble, WIRING));
    }
    for conflict in conflicts {
        tell(Check::told(NAME, Verdict::Warn, conflict, WIRING));
    }
    if troubles.is_empty() {
        // An imagined desk has lines, and no wires.
        let wired = if settings.is_imagined() { 0 } else { bell::Wires::new(settings).lines.len() };
        let count = wired + usize::from(settings.button.is_some());
        tell(match (board.as_str(), count) {
            ("simulated", 0) => Check::ok(NAME, "simulated: nothing is wired"),
            ("simulated", _) if settings.board != bell::BoardKind::Simulated => Check::warn(
                NAME,
                "pins are named, and here is no Raspberry Pi to drive them, so they are simulated",
                WIRING,
            ),
            (_, 1) => Check::ok(NAME, format!("{board}, one line")),
            _ => Check::ok(NAME, format!("{board}, {count} lines")),
        });
    }
}

/// Everything that the service finds wrong, each once.
fn broken(state: &Value) -> Vec<String> {
    let parts = state["lines"].as_array().into_iter().flatten().chain([&state["button"], state]);
    let mut errors: Vec<String> = Vec::new();
    for error in parts.filter_map(|part| part["error"].as_str()) {
        if !errors.iter().any(|known| known == error) {
            errors.push(error.to_owned());
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(settings: &bell::Settings, state: &Value, conflicts: &[String]) -> Vec<(Verdict, String)> {
        let mut found = Vec::new();
        look(settings, state, conflicts, &mut |check| found.push((check.result, check.said)));
        found
    }

    #[test]
    fn the_service_knows_what_is_broken() {
        let settings = bell::Settings::default();
        let busy = "pin 17 of red is held by `other`; stop that program";
        let state = json!({
            "board": "chip pinctrl-bcm2711", "error": busy,
            "lines": [{ "name": "red", "error": busy }, { "name": "green", "error": null }],
            "button": { "presses": 0, "error": "no button; wire one" },
        });
        let expected = ["pin 17 of red is held by `other`", "no button"].map(|said| (Verdict::Fail, said.to_owned()));
        assert_eq!(found(&settings, &state, &[]), expected);

        let well = json!({ "board": "simulated", "error": null, "lines": [], "button": null });
        assert_eq!(found(&settings, &well, &[]), [(Verdict::Ok, "simulated: nothing is wired".to_owned())]);
        let conflict = "pin 2 of red is one of I2C's".to_owned();
        assert_eq!(found(&settings, &well, std::slice::from_ref(&conflict))[0], (Verdict::Warn, conflict));
    }

    #[test]
    fn without_a_service_the_board_is_looked_at() {
        let simulated = bell::Settings { board: bell::BoardKind::Simulated, ..bell::Settings::default() };
        assert_eq!(found(&simulated, &Value::Null, &[])[0].0, Verdict::Ok);
        let chip = Some("no such chip".to_owned());
        let absent = bell::Settings { board: bell::BoardKind::Chip, chip, ..bell::Settings::default() };
        let found = found(&absent, &Value::Null, &[]);
        assert!(found[0].0 == Verdict::Fail && found[0].1.contains("no such chip"), "{found:?}");
    }
}
