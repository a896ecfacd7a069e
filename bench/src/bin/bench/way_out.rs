//! How soon somebody hears of it: from a POST to its light, and to the moment at which a Slack on this machine has its
//! message; alone, and while five hundred others a second come in that nobody hears of.

use std::{io, path::Path, time::Duration};

use hookbell_bench::{
    first_edge::{self, Course},
    load::percentile,
};

use crate::turn::Figures;

/// POSTs that are heard of: slow enough that each finds the desk free.
pub(crate) const PER_SECOND: u32 = 25;
/// POSTs that are not, by what they are called in a figure's name.
pub(crate) const BESIDE: [(&str, Option<u32>); 2] = [("quiet", None), ("busy", Some(500))];

/// # Errors
/// When anything lied; see [`first_edge::take`].
pub(crate) fn take(hookbell: &Path, data: &Path, span: Duration, seed: u64) -> io::Result<Figures> {
    let mut figures = Figures::new();
    for (name, beside_per_second) in BESIDE {
        let course = Course { per_second: PER_SECOND, span, beside_per_second, has_slack: true };
        let turn = first_edge::take(hookbell, data, course, seed)?;
        for (what, latencies_us) in [("light", &turn.own_us), ("slack", &turn.slack_us)] {
            for (share_name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99)] {
                figures.insert(format!("{name}.{what}.{share_name}"), percentile(latencies_us, share) / 1000.0);
            }
        }
        figures.insert(format!("{name}.posts"), turn.slack_us.len() as f64);
    }
    Ok(figures)
}
