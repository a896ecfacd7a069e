//! The header in characters. Owns the picture and what it says about each part; refuses colours and anything but ASCII
//! of its own, so that it reads the same on every terminal and in every ticket.

use super::{Ends, Kind, Role, Wire, alternate, ends, position, positions, role};

/// Of a name, so that no line has more than 80.
const NAME_CHARS_MAX: usize = 18;
/// Of every line, a plain terminal.
#[cfg(test)]
pub(super) const WIDTH_MAX: usize = 80;
/// Of what stands beside a position: a name, a wire and the pin.
const SIDE_CHARS: usize = 34;
/// Of the wire and the pin alone.
const PIN_CHARS: usize = 14;

/// Draws the header with what is wired to it, then each part with what goes between, then what to mind.
pub fn draw(wires: &[Wire<'_>]) -> String {
    let ends = ends(wires);
    let mut lines = vec![
        "The header from above, with the USB ports at the bottom: 1 is at the top left".to_owned(),
        "(a square pad underneath), and the even numbers stand at the board's edge.".to_owned(),
        String::new(),
    ];
    let all: Vec<(u8, Role)> = positions().collect();
    for pair in all.chunks_exact(2) {
        let (left, left_number) = side(pair[0], wires, &ends, Side::Left);
        let (right, right_number) = side(pair[1], wires, &ends, Side::Right);
        lines.push(format!("{left:>SIDE_CHARS$}  {left_number} {right_number}  {right}").trim_end().to_owned());
    }
    if !wires.is_empty() {
        lines.push(String::new());
        lines.extend(parts(wires, &ends));
        lines.push(String::new());
        lines.extend(notes(wires));
    }
    lines.join("\n")
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// What stands beside a position, and the position itself: in brackets where something is wired to it.
fn side((place, role): (u8, Role), wires: &[Wire<'_>], ends: &[Ends], side: Side) -> (String, String) {
    let mut names: Vec<&str> = Vec::new();
    for (wire, ends) in wires.iter().zip(ends) {
        let name = match ends.pin == Some(place) {
            true => wire.name,
            false if ends.ground == Some(place) || ends.supply == Some(place) => wire.common.unwrap_or(wire.name),
            false => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let pin = label(role);
    if names.is_empty() {
        let signal = if let Role::Gpio(bcm) = role { alternate(bcm).map_or("", |(_, signal)| signal) } else { "" };
        let text = match side {
            Side::Left => format!("{signal} {pin:>6}"),
            Side::Right => format!("{pin:<6} {signal}"),
        };
        return (text, format!(" {place:>2} "));
    }
    let names = short(&names.join(", "));
    let text = match side {
        Side::Left => format!("{names} {:->PIN_CHARS$}", format!(" {pin}")),
        Side::Right => format!("{:-<PIN_CHARS$} {names}", format!("{pin} ")),
    };
    (text, format!("[{place:>2}]"))
}

fn label(role: Role) -> String {
    match role {
        Role::Power3v3 => "3V3".to_owned(),
        Role::Power5v => "5V".to_owned(),
        Role::Ground => "GND".to_owned(),
        Role::Gpio(bcm) => format!("GPIO{bcm}"),
    }
}

/// A name that neither steers the terminal nor breaks the columns.
fn short(name: &str) -> String {
    let printable = name.chars().map(|c| if c.is_control() { '?' } else { c });
    match name.chars().count() > NAME_CHARS_MAX {
        true => printable.take(NAME_CHARS_MAX - 2).chain("..".chars()).collect(),
        false => printable.collect(),
    }
}

/// Each part with what goes between, in the order of the header. Arrows go with the current.
fn parts(wires: &[Wire<'_>], ends: &[Ends]) -> Vec<String> {
    let mut order: Vec<(&Wire<'_>, &Ends)> = wires.iter().zip(ends).collect();
    order.sort_by_key(|(wire, _)| position(wire.bcm));
    let width = wires.iter().map(|wire| short(wire.name).chars().count()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (wire, ends) in order {
        for (index, between) in between(wire, ends).into_iter().enumerate() {
            let name = if index == 0 { short(wire.name) } else { String::new() };
            lines.push(format!("{name:<width$}  {between}"));
        }
    }
    lines
}

/// What goes between a part's ends.
fn between(wire: &Wire<'_>, ends: &Ends) -> Vec<String> {
    let at = |place: Option<u8>| {
        let role = place.and_then(role);
        place.zip(role).map_or("nowhere".to_owned(), |(place, role)| format!("{} ({place})", label(role)))
    };
    let (pin, ground, supply) = (at(ends.pin), at(ends.ground), at(ends.supply));
    if ends.pin.is_none() {
        return vec![format!("GPIO{} is not on the header", wire.bcm)];
    }
    match (wire.part, wire.active_low, wire.common) {
        (Kind::Led, false, None) => vec![format!("{pin} -> 330 ohm -> LED -> {ground}")],
        (Kind::Led, true, None) => vec![format!("{supply} -> LED -> 330 ohm -> {pin}, lit by low")],
        (Kind::Led, false, Some(_)) => vec![format!("{pin} -> 330 ohm -> LED -> its common leg -> {ground}")],
        (Kind::Led, true, Some(_)) => {
            vec![format!("{supply} -> its common leg -> LED -> 330 ohm -> {pin}")]
        }
        (Kind::ActiveBuzzer, false, _) => vec![
            format!("{supply} -> (+) buzzer (-) -> collector of an NPN transistor"),
            format!("{pin} -> 1 kohm -> its base"),
            format!("its emitter -> {ground}"),
            "a diode across the buzzer, its stripe at (+)".to_owned(),
        ],
        (Kind::ActiveBuzzer, true, _) => vec![
            "a buzzer module that sounds at a low level:".to_owned(),
            format!("VCC to {supply}, never 5V; GND to {ground}"),
            format!("I/O to {pin}"),
        ],
        (Kind::PassiveBuzzer, false, _) => vec![format!("{pin} -> 100 ohm -> piezo buzzer -> {ground}")],
        (Kind::PassiveBuzzer, true, _) => vec![format!("{supply} -> piezo buzzer -> 100 ohm -> {pin}")],
        (Kind::Button, true, _) => vec![format!("{pin} - button - {ground}")],
        (Kind::Button, false, _) => vec![format!("{supply} - button - {pin}")],
    }
}

/// What to mind, for the parts there are.
fn notes(wires: &[Wire<'_>]) -> Vec<String> {
    let has = |part: Kind| wires.iter().any(|wire| wire.part == part);
    let mut notes = vec![
        "Arrows go with the current. Any GND is as good as another, and one wire from any",
        "of them to a breadboard's rail does for all.",
    ];
    if has(Kind::Led) {
        notes.push("An LED's long leg (+) is where the current enters. Turned round, it stays dark.");
    }
    if wires.iter().any(|wire| wire.part == Kind::ActiveBuzzer && !wire.active_low) {
        notes.push("NPN: 2N2222, BC547 or the like, whose data sheet says which leg is which.");
        notes.push("Diode: 1N4148 or the like.");
    }
    if has(Kind::PassiveBuzzer) {
        notes.push("100 ohm is for a piezo. A magnetic buzzer takes more than a pin may give: put a");
        notes.push("transistor and a diode between, as for an active one (hookbell's README has it).");
    }
    if has(Kind::Button) {
        notes.push("A button needs no resistor: the pin has one inside, as `pull` says.");
    }
    notes.push("Wire it with the power off, and never connect 5V to a GPIO pin.");
    notes.into_iter().map(str::to_owned).collect()
}
