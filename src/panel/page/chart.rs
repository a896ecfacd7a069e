//! Small charts of the last day: bars and lines as SVG, with their axes, and the same figures as a table. Owns scales and
//! gaps; refuses to know what is measured.
//!
//! The drawing stretches and the letters do not: axes are HTML around it.

use serde_json::Value;

use super::html::{Html, word};

/// One row of values, an hour each; an hour without any is a gap.
pub(super) struct Series<'a> {
    /// As the legend calls it.
    pub name: &'a str,
    /// Of each hour, the oldest first.
    pub points: Vec<Option<f64>>,
}

/// What a chart shows.
pub(super) struct Chart<'a> {
    /// Its name on the page.
    pub id: &'static str,
    /// What it says.
    pub title: &'static str,
    /// How a value is written.
    pub unit: fn(f64) -> String,
    /// Bars that stand before each other; else lines.
    pub is_bars: bool,
    /// Drawn in this order.
    pub series: &'a [Series<'a>],
}

/// The colours and dashes that the style sheet has; what is more is in the table alone.
const SERIES_MAX: usize = 6;
/// The drawing's own units: an hour is this wide, and everything this high.
const STEP: usize = 10;
const HEIGHT: f64 = 100.0;

/// The smallest of 1, 2, 5, 10, 20, … that reaches it.
fn ceiling(highest: f64) -> f64 {
    let mut power = 0.001;
    // Nothing that is measured here is more than 1e15.
    while power < 1e15 {
        for step in [1.0, 2.0, 5.0] {
            if power * step >= highest {
                return power * step;
            }
        }
        power *= 10.0;
    }
    highest
}

impl Chart<'_> {
    pub(super) fn draw(&self, html: &mut Html, hours: &[Value]) {
        html.fill(r#"<figure class="chart" id="{}" data-live><figcaption><h3>{}</h3>"#, &[self.id, self.title]);
        let all = || self.series.iter().flat_map(|series| series.points.iter().flatten().copied());
        let highest = all().fold(0.0, f64::max);
        if all().next().is_none() || hours.is_empty() {
            html.raw(r#"</figcaption><p class="quiet">Nothing was measured in this time.</p></figure>"#);
            return;
        }
        html.raw(if self.is_bars { r#"<ul class="legend of-bars">"# } else { r#"<ul class="legend">"# });
        for (index, series) in self.series.iter().take(SERIES_MAX).enumerate() {
            html.fill(r#"<li class="s{}"><bdi>{}</bdi></li>"#, &[&index.to_string(), series.name]);
        }
        html.raw("</ul></figcaption>");
        let top = ceiling(highest);
        html.fill(
            r#"<div class="plot"><p class="scale" aria-hidden="true"><span>{}</span><span>{}</span><span>0</span></p>"#,
            &[&(self.unit)(top), &(self.unit)(top / 2.0)],
        );
        html.fill(
            r#"<svg viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}, for each hour of the last day: {} at most. The figures follow as a table.">"#,
            &[&(hours.len() * STEP).to_string(), self.title, &(self.unit)(highest)],
        );
        let width = (hours.len() * STEP).to_string();
        html.fill(r#"<path class="grid" d="M0 0H{}M0 50H{}M0 100H{}"/>"#, &[&width, &width, &width]);
        for (index, series) in self.series.iter().take(SERIES_MAX).enumerate() {
            html.fill(
                r#"<path class="s{}{}" d="{}"/>"#,
                &[
                    &index.to_string(),
                    if self.is_bars { " bars" } else { " line" },
                    &if self.is_bars { bars(&series.points, top) } else { line(&series.points, top, false) },
                ],
            );
        }
        if !self.is_bars {
            for (index, series) in self.series.iter().take(SERIES_MAX).enumerate() {
                html.fill(
                    r#"<path class="s{} dots" d="{}"/>"#,
                    &[&index.to_string(), &line(&series.points, top, true)],
                );
            }
        }
        for (index, hour) in hours.iter().enumerate() {
            html.fill(
                r#"<rect class="hit" x="{}" y="0" width="10" height="100"><title>{}"#,
                &[&(index * STEP).to_string(), clock(hour)],
            );
            for series in self.series {
                let value = series.points.get(index).copied().flatten();
                html.fill("\n{}: {}", &[series.name, &value.map_or("none".to_owned(), self.unit)]);
            }
            html.raw("</title></rect>");
        }
        html.raw(concat!(
            r#"</svg><p class="axis" aria-hidden="true"><span>24 h ago</span><span>18</span><span>12</span><span>6</span><span>now</span></p></div>"#,
            r#"<details><summary>Figures</summary>"#,
        ));
        self.table(html, hours);
        html.raw("</details></figure>");
    }

    /// The same in numbers.
    fn table(&self, html: &mut Html, hours: &[Value]) {
        html.fill(
            r#"<div class="scroll" tabindex="0" role="region" aria-label="{}: figures"><table><thead><tr><th scope="col">Hour (UTC)</th>"#,
            &[self.title],
        );
        for series in self.series {
            html.fill(r#"<th scope="col"><bdi>{}</bdi></th>"#, &[series.name]);
        }
        html.raw("</tr></thead><tbody>");
        for (index, hour) in hours.iter().enumerate().rev() {
            html.fill(r#"<tr><th scope="row"><time datetime="{}">{}</time></th>"#, &[word(hour, "at"), clock(hour)]);
            for series in self.series {
                let value = series.points.get(index).copied().flatten();
                html.fill("<td data-volatile>{}</td>", &[&value.map_or("–".to_owned(), self.unit)]);
            }
            html.raw("</tr>");
        }
        html.raw("</tbody></table></div>");
    }
}

/// `10:00` of an hour.
fn clock(hour: &Value) -> &str {
    word(hour, "at").get(11..16).unwrap_or("?")
}

/// How far from the top, in the drawing's units.
fn depth(value: f64, top: f64) -> String {
    let tenths = ((1.0 - (value / top).clamp(0.0, 1.0)) * HEIGHT * 10.0).round() as i64;
    let mut text = (tenths / 10).to_string();
    text.push('.');
    text.push_str(&(tenths % 10).to_string());
    text
}

fn bars(points: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    for (index, value) in points.iter().enumerate() {
        if let Some(value) = value.filter(|value| *value > 0.0) {
            for part in ["M", &(index * STEP + 1).to_string(), " 100V", &depth(value, top), "h8V100z"] {
                path.push_str(part);
            }
        }
    }
    path
}

/// A stroke through what is next to each other; or only where the values are, so that one that stands alone is seen, too.
fn line(points: &[Option<f64>], top: f64, is_dots: bool) -> String {
    let mut path = String::new();
    let mut is_drawn = false;
    for (index, value) in points.iter().enumerate() {
        if let Some(value) = value {
            let (stroke, end) = if is_dots { ("M", "h0") } else { (if is_drawn { "L" } else { "M" }, "") };
            for part in [stroke, &(index * STEP + STEP / 2).to_string(), " ", &depth(*value, top), end] {
                path.push_str(part);
            }
        }
        is_drawn = value.is_some();
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn scales_end_at_round_figures() {
        for (highest, top) in
            [(0.0, 0.001), (0.7, 1.0), (1.0, 1.0), (3.0, 5.0), (12.0, 20.0), (450.0, 500.0), (501.0, 1000.0)]
        {
            assert!((ceiling(highest) - top).abs() < top * 1e-9, "{highest}");
        }
    }

    #[test]
    fn gaps_are_gaps_and_lone_points_are_dots() {
        assert_eq!(line(&[Some(10.0), None, Some(0.0)], 10.0, true), "M5 0.0h0M25 100.0h0");
        assert_eq!(line(&[None, Some(5.0), None, Some(0.0), Some(10.0)], 10.0, false), "M15 50.0M35 100.0L45 0.0");
        assert_eq!(line(&[None, None], 1.0, false), "");
        assert_eq!(bars(&[Some(0.0), Some(5.0), None], 10.0), "M11 100V50.0h8V100z");
    }

    #[test]
    fn nothing_one_and_zero_are_drawn() {
        let hours = [json!({ "at": "2026-11-22T10:00:00.000Z" })];
        let draw = |points: Vec<Option<f64>>, hours: &[Value]| {
            let mut html = Html::new(Timestamp::from_ms(0));
            let series = [Series { name: "a<b", points }];
            Chart { id: "x", title: "X", unit: |value| value.to_string(), is_bars: false, series: &series }
                .draw(&mut html, hours);
            html.finish()
        };
        assert!(draw(vec![None], &hours).contains("Nothing was measured"));
        assert!(draw(vec![], &[]).contains("Nothing was measured"));
        let one = draw(vec![Some(3.0)], &hours);
        assert!(one.contains(r#"d="M5 40.0h0""#) && one.contains("a&lt;b") && one.contains("10:00"), "{one}");
        let zero = draw(vec![Some(0.0)], &hours);
        assert!(zero.contains(r#"d="M5 100.0h0""#) && !zero.contains("NaN"), "{zero}");
    }
}
