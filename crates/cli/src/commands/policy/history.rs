//! `countersign policy history` and `undo`.

use std::collections::BTreeSet;

use countersign_server::store::PolicyStore;
use serde_json::json;

use super::change;
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{date, printable, say, say_json, table};

pub(super) fn history(place: &Place, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let changes = PolicyStore::new(state)
        .history()
        .map_err(|error| error.to_string())?;
    if json {
        return say_json(&json!({ "changes": changes }));
    }
    let undone: BTreeSet<u64> = changes
        .iter()
        .flat_map(|change| change.undoes.iter().copied())
        .collect();
    let shown = |value: Option<countersign_policy::Value>| {
        value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
    };
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            let mut how = printable(&change.how);
            if !change.undoes.is_empty() {
                let numbers: Vec<String> = change.undoes.iter().map(u64::to_string).collect();
                how = format!("{how} {}", numbers.join(", "));
            } else if undone.contains(&change.number) {
                how.push_str(" (undone)");
            }
            vec![
                change.number.to_string(),
                date(change.at / 1000),
                printable(&change.by),
                change.setting.to_string(),
                shown(change.from),
                shown(change.to),
                how,
            ]
        })
        .collect();
    let head = ["NUMBER", "WHEN", "WHO", "SETTING", "FROM", "TO", "HOW"];
    say(&table(&head, &rows));
    Ok(())
}

pub(super) fn undo(place: &Place, count: u16, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let changes = PolicyStore::new(state.clone())
        .undo(usize::from(count))
        .map_err(|error| error.to_string())?;
    change::tell_servers(&state, &changes, json)
}
