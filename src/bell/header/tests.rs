//! The header's facts, names, drawing and conflicts.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    Alternate, Buses, Ends, Kind, Role, Wire, alternate, conflicts, draw, drawing::WIDTH_MAX, ends, nearest_ground,
    parse, position, role,
};

fn wire(name: &str, bcm: u32, part: Kind) -> Wire<'_> {
    Wire { name, bcm, part, active_low: false, common: None }
}

fn low(wire: Wire<'_>) -> Wire<'_> {
    Wire { active_low: true, ..wire }
}

#[test]
fn every_pin_stands_once_and_power_where_it_is() {
    let mut places: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut pins = Vec::new();
    for place in 1..=40 {
        match role(place).unwrap() {
            Role::Power3v3 => places.entry("3V3").or_default().push(place),
            Role::Power5v => places.entry("5V").or_default().push(place),
            Role::Ground => places.entry("GND").or_default().push(place),
            Role::Gpio(bcm) => {
                pins.push(bcm);
                assert_eq!(position(bcm), Some(place));
            }
        }
    }
    pins.sort_unstable();
    assert_eq!(pins, (0..=27).collect::<Vec<u32>>());
    assert_eq!(places["3V3"], [1, 17]);
    assert_eq!(places["5V"], [2, 4]);
    assert_eq!(places["GND"], [6, 9, 14, 20, 25, 30, 34, 39]);
    assert_eq!((role(0), role(41), position(28)), (None, None, None));
}

/// As printed in Raspberry Pi's documentation, by position.
#[test]
fn pins_stand_where_the_documentation_has_them() {
    let odd = [2, 3, 4, 17, 27, 22, 10, 9, 11, 0, 5, 6, 13, 19, 26];
    let odd_places = [3, 5, 7, 11, 13, 15, 19, 21, 23, 27, 29, 31, 33, 35, 37];
    let even = [14, 15, 18, 23, 24, 25, 8, 7, 1, 12, 16, 20, 21];
    let even_places = [8, 10, 12, 16, 18, 22, 24, 26, 28, 32, 36, 38, 40];
    for (bcm, place) in odd.into_iter().zip(odd_places).chain(even.into_iter().zip(even_places)) {
        assert_eq!(position(bcm), Some(place), "GPIO{bcm}");
    }
}

#[test]
fn buses_have_their_pins() {
    let of = |wanted: Alternate| -> Vec<u32> {
        (0..=27).filter(|bcm| alternate(*bcm).is_some_and(|(alternate, _)| alternate == wanted)).collect()
    };
    assert_eq!(of(Alternate::Eeprom), [0, 1]);
    assert_eq!(of(Alternate::I2c), [2, 3]);
    assert_eq!(of(Alternate::Spi), [7, 8, 9, 10, 11]);
    assert_eq!(of(Alternate::Uart), [14, 15]);
    assert_eq!(of(Alternate::Pwm), [12, 13, 18, 19]);
}

#[test]
fn the_nearest_ground_is_the_nearest_on_the_board() {
    for (place, ground) in [(1, 6), (3, 6), (7, 9), (8, 6), (11, 9), (12, 14), (15, 14), (22, 20), (31, 30), (40, 39)] {
        assert_eq!(nearest_ground(place), Some(ground), "from {place}");
    }
}

#[test]
fn names_are_read_as_people_write_them() {
    for (text, bcm) in [
        ("17", 17),
        ("GPIO17", 17),
        ("gpio17", 17),
        ("BCM17", 17),
        (" 17 ", 17),
        ("GPIO04", 4),
        ("0", 0),
        ("BOARD11", 17),
        ("board40", 21),
        ("J8:11", 17),
        ("j8:3", 2),
    ] {
        assert_eq!(parse(text), Ok(bcm), "{text}");
    }
    let unknown = "is no pin; write a BCM number (17, GPIO17 or BCM17) or a position on the header (BOARD11 or J8:11)";
    for (text, expected) in [
        ("", format!("\"\" {unknown}")),
        ("red", format!("\"red\" {unknown}")),
        ("+17", format!("\"+17\" {unknown}")),
        ("-1", format!("\"-1\" {unknown}")),
        ("GPIO", format!("\"GPIO\" {unknown}")),
        ("J8:", format!("\"J8:\" {unknown}")),
        ("BOARD 11", format!("\"BOARD 11\" {unknown}")),
        ("17\u{1b}[2J", format!("\"17\\u{{1b}}[2J\" {unknown}")),
        ("28", "28 is not on the header, which has GPIO0 to GPIO27".to_owned()),
        ("GPIO99999999999", "GPIO99999999999 is not on the header, which has GPIO0 to GPIO27".to_owned()),
        ("BOARD0", "BOARD0 is not on the header, which has positions 1 to 40".to_owned()),
        ("J8:41", "J8:41 is not on the header, which has positions 1 to 40".to_owned()),
        ("BOARD267", "BOARD267 is not on the header, which has positions 1 to 40".to_owned()),
        ("BOARD6", "BOARD6 is ground, which cannot be driven; GPIO4 near it can".to_owned()),
        ("BOARD9", "BOARD9 is ground, which cannot be driven; GPIO4 near it can".to_owned()),
        ("J8:2", "J8:2 is 5 V, which cannot be driven; GPIO4 near it can".to_owned()),
        ("BOARD17", "BOARD17 is 3.3 V, which cannot be driven; GPIO22 near it can".to_owned()),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

/// The default desk with a button; everything the other way round, with names that are a trial.
fn desks() -> [(&'static str, Vec<Wire<'static>>); 3] {
    let rgb = |name, bcm| Wire { common: Some("lamp"), ..wire(name, bcm, Kind::Led) };
    [
        ("empty", Vec::new()),
        (
            "desk",
            vec![
                wire("blue", 22, Kind::Led),
                wire("green", 27, Kind::Led),
                wire("red", 17, Kind::Led),
                wire("buzzer", 18, Kind::ActiveBuzzer),
                low(wire("button", 23, Kind::Button)),
            ],
        ),
        (
            "all",
            vec![
                rgb("lamp.red", 5),
                rgb("lamp.green", 6),
                rgb("lamp.blue", 13),
                low(wire("a name that is far too long for any desk", 2, Kind::Led)),
                low(wire("also low", 25, Kind::ActiveBuzzer)),
                wire("tune", 12, Kind::PassiveBuzzer),
                low(wire("tune low", 20, Kind::PassiveBuzzer)),
                wire("gr\u{fc}n\u{1b}[2J", 21, Kind::Led),
                low(Wire { common: Some("bulb"), ..wire("bulb.red", 10, Kind::Led) }),
                wire("loud and very, very long", 26, Kind::ActiveBuzzer),
                wire("nowhere", 44, Kind::Led),
            ],
        ),
    ]
}

#[test]
fn drawings_look_like_the_golden_files() {
    for (name, wires) in desks() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bell/header/golden").join(format!("{name}.txt"));
        let actual = draw(&wires) + "\n";
        if std::env::var_os("HOOKBELL_ACCEPT").is_some() {
            fs::write(&file, &actual).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            actual == expected,
            "{} differs\n--- expected\n{expected}\n--- actual\n{actual}\n\
             if the new one is right: HOOKBELL_ACCEPT=1 cargo test --lib header",
            file.display(),
        );
    }
}

#[test]
fn drawings_fit_on_a_terminal() {
    let kinds = [Kind::Led, Kind::ActiveBuzzer, Kind::PassiveBuzzer, Kind::Button];
    let name = "W".repeat(100);
    let crowds = kinds.into_iter().flat_map(|kind| [(kind, false, None), (kind, true, None), (kind, true, Some(""))]);
    let crowd = crowds.map(|(part, active_low, common)| {
        (0..=28).map(|bcm| Wire { name: &name, bcm, part, active_low, common }).collect::<Vec<_>>()
    });
    for wires in desks().into_iter().map(|(_, wires)| wires).chain(crowd) {
        for line in draw(&wires).lines() {
            assert!(line.chars().count() <= WIDTH_MAX, "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
    assert!(draw(&desks()[1].1).is_ascii());
}

#[test]
fn each_wire_gets_a_ground_of_its_own_while_there_are_any() {
    let wires: Vec<Wire<'_>> = [17, 27, 22, 18, 23, 24, 25, 5].map(|bcm| wire("led", bcm, Kind::Led)).to_vec();
    let mut grounds: Vec<u8> = ends(&wires).iter().filter_map(|ends| ends.ground).collect();
    grounds.sort_unstable();
    assert_eq!(grounds, [6, 9, 14, 20, 25, 30, 34, 39]);

    let many: Vec<Wire<'_>> = (2..=27).map(|bcm| wire("led", bcm, Kind::Led)).collect();
    assert!(ends(&many).iter().all(|ends| ends.ground.is_some()), "then they share");

    let lamp = ["r", "g", "b"].into_iter().zip([17, 27, 22]);
    let lamp: Vec<Wire<'_>> =
        lamp.map(|(name, bcm)| Wire { common: Some("lamp"), ..wire(name, bcm, Kind::Led) }).collect();
    assert!(ends(&lamp).iter().all(|ends| ends.ground == Some(9)), "one leg, one ground");

    let table = [
        (wire("", 18, Kind::ActiveBuzzer), Ends { pin: Some(12), ground: Some(14), supply: Some(4) }),
        (low(wire("", 18, Kind::ActiveBuzzer)), Ends { pin: Some(12), ground: Some(14), supply: Some(17) }),
        (low(wire("", 17, Kind::Led)), Ends { pin: Some(11), ground: None, supply: Some(17) }),
        (low(wire("", 23, Kind::Button)), Ends { pin: Some(16), ground: Some(14), supply: None }),
        (wire("", 23, Kind::Button), Ends { pin: Some(16), ground: None, supply: Some(17) }),
        (wire("", 28, Kind::Led), Ends::default()),
    ];
    for (wire, expected) in table {
        assert_eq!(ends(&[wire]), [expected], "{wire:?}");
    }
}

#[test]
fn who_else_uses_a_pin_is_said_with_what_to_do() {
    let all = Buses { i2c: true, spi: true, uart: true };
    let off = Buses::default();
    let boot = "in /boot/firmware/config.txt, and restart the Pi";
    let free = "; move it to a pin that is free, such as GPIO17, GPIO27, GPIO22";
    for (bcm, buses, expected) in [
        (17, all, None),
        (18, all, None),
        (3, off, None),
        (10, Buses { spi: false, ..all }, None),
        (15, Buses { uart: false, ..all }, None),
        (
            0,
            off,
            Some(format!(
                "x on GPIO0 (position 27): the pin is ID_SD, reserved for the EEPROM of an add-on board{free}"
            )),
        ),
        (
            2,
            Buses { i2c: true, ..off },
            Some(format!(
                "x on GPIO2 (position 3): the pin is SDA of I2C, which is on{free}; or switch I2C off: \
                 `sudo raspi-config nonint do_i2c 1`, or `dtparam=i2c_arm=off` {boot}"
            )),
        ),
        (
            7,
            Buses { spi: true, ..off },
            Some(format!(
                "x on GPIO7 (position 26): the pin is CE1 of SPI, which is on{free}; or switch SPI off: \
                 `sudo raspi-config nonint do_spi 1`, or `dtparam=spi=off` {boot}"
            )),
        ),
        (
            14,
            Buses { uart: true, ..off },
            Some(format!(
                "x on GPIO14 (position 8): the pin is TXD of the serial port, which is on{free}; or switch the serial \
                 port off: Interface Options in `sudo raspi-config`, or `enable_uart=0` (Pi 5: `dtparam=uart0=off`) {boot}"
            )),
        ),
    ] {
        let told: Vec<String> =
            conflicts(&[wire("x", bcm, Kind::Led)], &buses).iter().map(ToString::to_string).collect();
        assert_eq!(told, Vec::from_iter(expected), "GPIO{bcm}");
    }

    let crowd: Vec<Wire<'_>> = (0..=27).map(|bcm| wire("x", bcm, Kind::Led)).collect();
    let crowded = conflicts(&crowd, &all);
    assert_eq!(crowded.len(), 11);
    assert!(crowded[0].to_string().ends_with("; move it to another pin"), "{}", crowded[0]);
    let busy = [wire("a", 2, Kind::Led), wire("b", 17, Kind::Led), wire("c", 22, Kind::Led)];
    assert_eq!(conflicts(&busy, &all)[0].free, [27, 23, 24]);
}
