//! `bell wiring`: what is wired where, drawn from the configuration, and which pins somebody else uses on this machine.
//! Owns looking for the buses that are on; the header's facts and the drawing are `bell::header`'s.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Failure, print_json, print_line};
use crate::bell::{
    self, BoardKind, BuzzerKind, Part,
    header::{self, Buses, Conflict, Ends, Kind, Wire},
};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell bell wiring
  hookbell bell wiring --config hookbell.toml --json

On a Raspberry Pi it also looks which of I2C, SPI and the serial port are on, and exits with 1 when a pin of the
configuration is one of theirs.")]
pub(super) struct Arguments {
    /// One JSON object: `board`, `buses` (null where this is no Raspberry Pi), `wires` and `conflicts`
    #[arg(long)]
    json: bool,
}

/// What to write where nothing is wired yet.
const EXAMPLE: &str = "\
[bell]
leds = { red = 17, green = 27, blue = 22 }
buzzer = { pin = 18, type = \"active\" }";

pub(super) fn wiring(settings: &bell::Settings, arguments: &Arguments) -> Result<(), Failure> {
    let desk = bell::Wires::new(settings);
    let (wires, buses) = (wires(settings, &desk), buses(Path::new("/")));
    let conflicts = header::conflicts(&wires, &buses.unwrap_or_default());
    if arguments.json {
        print_json(&facts(settings, buses, &wires, &conflicts))?;
    } else {
        print_line(&header::draw(&wires))?;
        print_line(&format!("\n{}", about(settings, &wires, buses)))?;
    }
    for conflict in &conflicts {
        eprintln!("conflict: {conflict}");
    }
    match conflicts.len() {
        0 => Ok(()),
        1 => Err(Failure::Failed("a pin is used by something else".to_owned())),
        many => Err(Failure::Failed(format!("{many} pins are used by something else"))),
    }
}

/// Each pin of the configuration that something else on this machine uses, in words.
pub(super) fn conflicts(settings: &bell::Settings) -> Vec<String> {
    let desk = bell::Wires::new(settings);
    let conflicts = header::conflicts(&wires(settings, &desk), &buses(Path::new("/")).unwrap_or_default());
    conflicts.iter().map(ToString::to_string).collect()
}

/// The desk as the header sees it: what is driven, as [`bell::Wires`] names it, and the button.
fn wires<'a>(settings: &bell::Settings, desk: &'a bell::Wires) -> Vec<Wire<'a>> {
    // On an imagined desk nothing goes anywhere.
    let lines: &[bell::Line] = if settings.is_imagined() { &[] } else { &desk.lines };
    let rgb = |place: usize| {
        let is_one = |lamp: &bell::Lamp| matches!(lamp, bell::Lamp::Rgb(lines) if lines.contains(&place));
        desk.lamps.iter().find(|(_, lamp)| is_one(lamp)).map(|(name, _)| name.as_str())
    };
    let lines = lines.iter().enumerate().map(|(place, line)| Wire {
        name: &line.name,
        bcm: line.pin.bcm,
        part: match line.part {
            Part::Led => Kind::Led,
            Part::Buzzer(BuzzerKind::Active) => Kind::ActiveBuzzer,
            Part::Buzzer(BuzzerKind::Passive) => Kind::PassiveBuzzer,
        },
        active_low: line.pin.active_low,
        common: rgb(place),
    });
    let button = settings.button.map(|bell::Button { bcm, active_low, .. }| Wire {
        name: bell::BUTTON,
        bcm,
        part: Kind::Button,
        active_low,
        common: None,
    });
    lines.chain(button).collect()
}

/// What the drawing cannot say: whether any of it is driven, and what this machine uses by itself.
fn about(settings: &bell::Settings, wires: &[Wire<'_>], buses: Option<Buses>) -> String {
    let driven = match (wires.is_empty(), settings.board) {
        (true, _) => format!(
            "The configuration names no pin, so none is driven. Once something is\n\
             wired, write what stands where, by BCM numbers (GPIO17 is 17):\n\n{EXAMPLE}\n\n"
        ),
        (false, BoardKind::Simulated) => format!(
            "The board is simulated, so no pin is driven. Once it is wired, write what stands\n\
             where without `board = \"simulated\"`. This is the desk of the README:\n\n{EXAMPLE}\n\n"
        ),
        (false, BoardKind::Auto | BoardKind::Chip | BoardKind::Pi) => String::new(),
    };
    let machine = match buses {
        None => "This is no Raspberry Pi, so whether I2C, SPI or the serial port use any of these\n\
                 pins could not be looked at. On the Pi this command looks."
            .to_owned(),
        Some(Buses { i2c, spi, uart }) => {
            let state = |is_on| if is_on { "on" } else { "off" };
            format!(
                "On this Raspberry Pi I2C is {}, SPI is {}, and the serial port is {}.",
                state(i2c),
                state(spi),
                state(uart)
            )
        }
    };
    driven + &machine
}

fn facts(settings: &bell::Settings, buses: Option<Buses>, wires: &[Wire<'_>], conflicts: &[Conflict]) -> Value {
    let wires = wires.iter().zip(header::ends(wires)).map(|(wire, ends)| {
        let Wire { name, bcm, part, active_low, common } = wire;
        let Ends { pin, ground, supply } = ends;
        json!({
            "name": name,
            "part": part.name(),
            "pin": bcm,
            "position": pin,
            "active_low": active_low,
            "common": common,
            "ground": ground,
            "supply": supply,
        })
    });
    let told = conflicts.iter().map(|conflict| {
        let Conflict { name, bcm, with, free } = conflict;
        json!({ "name": name, "pin": bcm, "with": with.key(), "free": free, "text": conflict.to_string() })
    });
    json!({
        "board": settings.board.name(),
        "buses": buses.map(|Buses { i2c, spi, uart }| json!({ "i2c": i2c, "spi": spi, "uart": uart })),
        "wires": wires.collect::<Vec<_>>(),
        "conflicts": told.collect::<Vec<_>>(),
    })
}

/// Which buses of the header are on; `None` where this is no Raspberry Pi. `root` is `/`.
///
/// The device tree decides, since a device in `/dev` also needs a module that may not be loaded yet. Its aliases mean
/// the header's buses on every model, whatever the addresses are; on a Pi 5 `/dev/serial0` is another port than
/// theirs. A tree without the alias (a kernel that is not Raspberry Pi's) leaves the devices.
fn buses(root: &Path) -> Option<Buses> {
    let tree = root.join("proc/device-tree");
    if !fs::read(tree.join("model")).is_ok_and(|model| model.starts_with(b"Raspberry Pi")) {
        return None;
    }
    let is_on = |alias: &str, devices: &[&str]| {
        node_is_on(&tree, alias).unwrap_or_else(|| devices.iter().any(|device| root.join("dev").join(device).exists()))
    };
    Some(Buses {
        i2c: is_on("i2c1", &["i2c-1"]),
        spi: is_on("spi0", &["spidev0.0", "spidev0.1"]),
        uart: is_on("serial0", &["serial0"]),
    })
}

/// Whether the node that an alias names is on; `None` without the alias or the node.
fn node_is_on(tree: &Path, alias: &str) -> Option<bool> {
    let path = fs::read_to_string(tree.join("aliases").join(alias)).ok()?;
    let node = tree.join(path.trim_end_matches('\0').trim_start_matches('/'));
    if !node.is_dir() {
        return None;
    }
    // "A node without a status is as one that is okay": Devicetree Specification, 2.3.4.
    let status = fs::read_to_string(node.join("status")).unwrap_or_else(|_| "okay".to_owned());
    Some(matches!(status.trim_end_matches('\0'), "okay" | "ok"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::bell::{Buzzer, Led, Pin, Settings};

    const PI_4: &str = "Raspberry Pi 4 Model B Rev 1.5\0";

    /// Path and content.
    type File = (&'static str, &'static str);

    fn machine(files: &[File]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let file: PathBuf = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        root
    }

    #[test]
    fn the_buses_are_those_that_the_device_tree_has_on() {
        let model = ("proc/device-tree/model", PI_4);
        let alias = [
            ("proc/device-tree/aliases/i2c1", "/soc/i2c@7e804000\0"),
            ("proc/device-tree/aliases/spi0", "/soc/spi@7e204000\0"),
            ("proc/device-tree/aliases/serial0", "/soc/serial@7e215040\0"),
        ];
        let i2c = |status| ("proc/device-tree/soc/i2c@7e804000/status", status);
        let spi = |status| ("proc/device-tree/soc/spi@7e204000/status", status);
        let uart = |status| ("proc/device-tree/soc/serial@7e215040/status", status);
        let buses_of = |more: &[File]| buses(machine(&[&[model], &alias[..], more].concat()).path());
        let on = |i2c, spi, uart| Some(Buses { i2c, spi, uart });

        assert_eq!(buses_of(&[i2c("disabled\0"), spi("disabled\0"), uart("disabled\0")]), on(false, false, false));
        assert_eq!(buses_of(&[i2c("okay\0"), spi("disabled\0"), uart("okay\0")]), on(true, false, true));
        assert_eq!(buses_of(&[i2c("disabled\0"), spi("ok\0"), uart("disabled\0")]), on(false, true, false));
        let bare = ("proc/device-tree/soc/spi@7e204000/reg", "\0");
        assert_eq!(buses_of(&[i2c("fail\0"), bare, uart("disabled\0")]), on(false, true, false), "no status is okay");
        let device = ("dev/serial0", "");
        assert_eq!(
            buses_of(&[i2c("okay\0"), spi("okay\0"), uart("disabled\0"), device]),
            on(true, true, false),
            "the device tree says more than a name in /dev"
        );
    }

    #[test]
    fn a_pi_5_has_its_buses_elsewhere() {
        let root = machine(&[
            ("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
            ("proc/device-tree/aliases/i2c1", "/axi/pcie@1000120000/rp1/i2c@74000\0"),
            ("proc/device-tree/aliases/serial0", "/axi/pcie@1000120000/rp1/serial@30000\0"),
            ("proc/device-tree/aliases/spi0", "/axi/pcie@1000120000/rp1/spi@50000\0"),
            ("proc/device-tree/axi/pcie@1000120000/rp1/i2c@74000/status", "okay\0"),
            ("proc/device-tree/axi/pcie@1000120000/rp1/serial@30000/status", "disabled\0"),
            ("proc/device-tree/axi/pcie@1000120000/rp1/spi@50000/status", "disabled\0"),
            ("dev/serial0", ""),
        ]);
        assert_eq!(buses(root.path()), Some(Buses { i2c: true, spi: false, uart: false }));
    }

    #[test]
    fn without_aliases_the_devices_decide_and_without_a_pi_nothing_does() {
        let model = ("proc/device-tree/model", PI_4);
        let table: [(&[File], Option<Buses>); 6] = [
            (&[], None),
            (&[("dev/i2c-1", "")], None),
            (&[("proc/device-tree/model", "Banana Pi\0"), ("dev/i2c-1", "")], None),
            (&[model], Some(Buses::default())),
            (&[model, ("dev/i2c-1", ""), ("dev/i2c-20", "")], Some(Buses { i2c: true, ..Buses::default() })),
            (
                &[model, ("dev/spidev0.1", ""), ("dev/serial0", ""), ("proc/device-tree/aliases/serial0", "/gone\0")],
                Some(Buses { spi: true, uart: true, i2c: false }),
            ),
        ];
        for (files, expected) in table {
            assert_eq!(buses(machine(files).path()), expected, "{files:?}");
        }
    }

    fn settings(board: BoardKind, leds: &[(&str, u32)], buzzer: Option<u32>) -> Settings {
        let pin = |bcm| Pin { active_low: bcm == 27, ..Pin::plain(bcm) };
        let leds = leds.iter().map(|(name, bcm)| ((*name).to_owned(), Led::Plain(pin(*bcm)))).collect();
        let buzzer = buzzer.map(|bcm| Buzzer { pin: pin(bcm), kind: BuzzerKind::Active, volume: 100 });
        Settings { board, leds, buzzer, ..Settings::default() }
    }

    #[test]
    fn facts_are_for_programs() {
        let settings = settings(BoardKind::Auto, &[("green", 27), ("red", 2)], Some(18));
        let buses = Buses { i2c: true, ..Buses::default() };
        let desk = bell::Wires::new(&settings);
        let wires = wires(&settings, &desk);
        let conflicts = header::conflicts(&wires, &buses);
        let facts = facts(&settings, Some(buses), &wires, &conflicts);
        let wire = |name, part, pin, position, active_low, ground: Option<u8>, supply: Option<u8>| {
            json!({
                "name": name, "part": part, "pin": pin, "position": position, "active_low": active_low, "common": null,
                "ground": ground, "supply": supply,
            })
        };
        assert_eq!(
            facts,
            json!({
                "board": "auto",
                "buses": { "i2c": true, "spi": false, "uart": false },
                "wires": [
                    wire("green", "led", 27, 13, true, None, Some(17)),
                    wire("red", "led", 2, 3, false, Some(6), None),
                    wire("buzzer", "active_buzzer", 18, 12, false, Some(14), Some(4)),
                ],
                "conflicts": [{
                    "name": "red", "pin": 2, "with": "i2c", "free": [17, 22, 23], "text": conflicts[0].to_string(),
                }],
            })
        );
    }

    #[test]
    fn every_part_of_a_desk_is_a_wire() {
        let rgb = Led::Rgb([5, 6, 13].map(Pin::plain));
        let settings = Settings {
            leds: [("desk".to_owned(), rgb)].into(),
            status: Some(Pin::plain(24)),
            button: Some(bell::Button {
                bcm: 23,
                active_low: true,
                pull: bell::Pull::Up,
                debounce: std::time::Duration::from_millis(20),
            }),
            ..settings(BoardKind::Auto, &[], Some(18))
        };
        let desk = bell::Wires::new(&settings);
        let shown: Vec<String> = wires(&settings, &desk)
            .iter()
            .map(|wire| format!("{} {} {} {:?}", wire.name, wire.bcm, wire.part.name(), wire.common))
            .collect();
        let expected = [
            "desk.red 5 led Some(\"desk\")",
            "desk.green 6 led Some(\"desk\")",
            "desk.blue 13 led Some(\"desk\")",
            "status 24 led None",
            "buzzer 18 active_buzzer None",
            "button 23 button None",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn it_says_what_is_driven_and_what_the_machine_uses() {
        let red: &[(&str, u32)] = &[("red", 17)];
        let pi = Some(Buses { i2c: true, ..Buses::default() });
        for (board, leds, buses, says, says_not) in [
            (BoardKind::Auto, red, pi, "I2C is on, SPI is off, and the serial port is off", "[bell]"),
            (BoardKind::Auto, red, None, "could not be looked at", "[bell]"),
            (BoardKind::Auto, &[][..], None, "names no pin, so none is driven", "simulated"),
            (BoardKind::Simulated, red, None, "The board is simulated, so no pin is driven", "names no pin"),
        ] {
            let settings = settings(board, leds, None);
            let desk = bell::Wires::new(&settings);
            let told = about(&settings, &wires(&settings, &desk), buses);
            assert!(told.contains(says) && !told.contains(says_not), "{told}");
            assert!(told.lines().all(|line| line.chars().count() <= 85), "{told}");
        }
    }
}
