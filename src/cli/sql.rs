//! `sql`: for those who want to look themselves.

use serde_json::{Map, Value};

use super::{Failure, Global, print_json, print_line, table::printable};
use crate::store::Reader;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell sql \"SELECT status, count(*) FROM webhook_events GROUP BY status\"
  hookbell sql --json \"SELECT id, payload_json->>'action' AS action FROM webhook_events ORDER BY id DESC LIMIT 5\"

The view webhook_events has id, source, event_type, delivery_id, payload_json, received_at, processed_at, status.
The tables are delivery, body, event and dispatch. Nothing can be changed from here.")]
pub(super) struct Arguments {
    /// One SQL query; without it, the tables and views with their columns
    query: Option<String>,
    /// One JSON object per row
    #[arg(long)]
    json: bool,
}

const WHAT_THERE_IS: &str = "
SELECT tables.name AS name, group_concat(columns.name, ' ') AS columns
FROM (SELECT name FROM sqlite_temp_schema WHERE type = 'view'
      UNION ALL SELECT name FROM sqlite_schema WHERE type = 'table') AS tables, pragma_table_info(tables.name) AS columns
GROUP BY tables.name";

pub(super) fn sql(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let settings = global.load_for_reading()?;
    let reader = Reader::open(&settings.store.path)?;
    let query = arguments.query.as_deref().unwrap_or(WHAT_THERE_IS);
    let mut printed = Ok(());
    let mut is_first = true;
    reader.sql(query, |names, values| {
        if printed.is_err() {
            return;
        }
        if !arguments.json && is_first {
            printed = print_line(&names.join("|"));
        }
        is_first = false;
        if printed.is_ok() {
            printed = print_row(names, values, arguments.json);
        }
    })?;
    printed
}

fn print_row(names: &[String], values: &[Value], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let object: Map<String, Value> = names.iter().cloned().zip(values.iter().cloned()).collect();
        return print_json(&object);
    }
    let cells: Vec<String> = values
        .iter()
        .map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => printable(text),
            other => other.to_string(),
        })
        .collect();
    print_line(&cells.join("|"))
}
