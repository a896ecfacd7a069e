//! The kept corpus of a target as one file of text, a line for each input, because hundreds of small files would be
//! unkind to the repository, and lines can be read and reviewed. Owns the spelling: printable ASCII is itself, all else is
//! an escape; a line that begins with `#` is a comment.
//!
//! A program of one file, which `scripts/fuzz` compiles with rustc alone. `tests/readers` takes it as a module.

use std::{env, error::Error, fs, path::Path};

/// Begins the second half of a file: what the fuzzer found stands before it and is written anew each time, what a person
/// put there after it and stays.
const BY_HAND: &str = "# By hand:";

/// The program: `pack unpack FILE FOLDER`, `pack pack FOLDER FILE`, `pack line INPUT`.
pub fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["unpack", file, folder] => {
            for (number, input) in unpack(&fs::read_to_string(file)?)?.iter().enumerate() {
                fs::write(Path::new(folder).join(format!("kept-{number:04}")), input)?;
            }
        }
        ["pack", folder, file] => {
            let before = fs::read_to_string(file)?;
            let (found, by_hand) = before.split_at(before.find(BY_HAND).ok_or("no line says what is by hand")?);
            let comments: String = found.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect();
            let lasting = unpack(by_hand)?;
            let mut inputs = Vec::new();
            for entry in fs::read_dir(folder)? {
                inputs.push(fs::read(entry?.path())?);
            }
            inputs.retain(|input| !lasting.contains(input));
            fs::write(file, comments + &pack(inputs) + by_hand)?;
        }
        ["line", input] => println!("{}", line(&fs::read(input)?)),
        _ => return Err("the arguments are not known".into()),
    }
    Ok(())
}

/// One line for each input, the shortest first, none twice.
pub fn pack(mut inputs: Vec<Vec<u8>>) -> String {
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    inputs.iter().filter(|input| !input.is_empty()).map(|input| line(input) + "\n").collect()
}

/// The line for one input.
pub fn line(input: &[u8]) -> String {
    let mut line = String::new();
    for (at, byte) in input.iter().enumerate() {
        match byte {
            b'\r' => line.push_str("\\r"),
            b'\n' => line.push_str("\\n"),
            b'\t' => line.push_str("\\t"),
            b'\\' => line.push_str("\\\\"),
            // A comment's sign, and blanks at the end, which editors take away.
            b'#' if at == 0 => line.push_str("\\x23"),
            b' ' if at + 1 == input.len() => line.push_str("\\x20"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => line.push_str(&format!("\\x{byte:02x}")),
        }
    }
    line
}

/// The inputs of a file of lines.
///
/// # Errors
/// The number of a line that is not in this spelling.
pub fn unpack(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|(number, line)| {
            bytes(line).ok_or_else(|| format!("line {} is not spelled as pack spells it", number + 1))
        })
        .collect()
}

fn bytes(line: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (byte, length) = match (first, rest.get(1..2)) {
            ('\\', Some("r")) => (b'\r', 2),
            ('\\', Some("n")) => (b'\n', 2),
            ('\\', Some("t")) => (b'\t', 2),
            ('\\', Some("\\")) => (b'\\', 2),
            ('\\', Some("x")) => (u8::from_str_radix(rest.get(2..4)?, 16).ok()?, 4),
            (' '..='~', _) if first != '\\' => (first as u8, 1),
            _ => return None,
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    Some(bytes)
}
