//! Columns for people. Owns alignment; refuses control characters, which a sender may have chosen.

/// Lines of aligned columns under a head. The last column is not padded.
pub(super) fn lines(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let head: Vec<String> = head.iter().map(|name| name.to_uppercase()).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    std::iter::once(&head)
        .chain(&rows)
        .map(|row| {
            let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// The text with every control character made visible, so that it cannot steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_steer_nothing() {
        let rows = vec![vec!["1".to_owned(), "a\u{1b}[2J".to_owned()], vec!["10".to_owned(), "ü".to_owned()]];
        assert_eq!(lines(&["id", "title"], &rows), ["ID  TITLE", "1   a\u{fffd}[2J", "10  ü"]);
    }
}
