//! How figures are written, and what is made of several.

pub(super) fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

pub(super) fn size(body_bytes: usize) -> String {
    if body_bytes < 1024 { format!("{body_bytes} B") } else { format!("{} KB", body_bytes / 1024) }
}

/// Three digits, more only before the point.
pub(super) fn short(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// From and to.
pub(super) fn range(figures: &[f64]) -> String {
    let lowest = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", short(lowest), short(highest))
}

pub(super) fn middle(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// A list in as many lines as it needs, the others below the first.
pub(super) fn wrapped(list: &str, before: usize, columns: usize) -> String {
    let (mut text, mut taken) = (String::new(), before);
    for item in list.split(", ") {
        let width = item.chars().count();
        if text.is_empty() {
            taken += width;
        } else if taken + 3 + width > columns {
            text.push_str(",\n");
            text.push_str(&" ".repeat(before));
            taken = before + width;
        } else {
            text.push_str(", ");
            taken += 2 + width;
        }
        text.push_str(item);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(middle(vec![]), None);
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<_> = [0.0, 0.123, 9.994, 9.996, 99.94, 99.96, 12345.6].into_iter().map(short).collect();
        assert_eq!(shown, ["0", "0.12", "9.99", "10.0", "99.9", "100", "12346"]);
        assert_eq!(range(&[2.0, 12345.6, 1.0]), "1.00 to 12346");
    }

    #[test]
    fn long_lists_are_wrapped() {
        assert_eq!(wrapped("one, two, three", 2, 11), "one, two,\n  three");
        assert_eq!(wrapped("one", 2, 4), "one");
    }
}
