//! `countersign policy history` and `undo`.

use std::collections::BTreeSet;

use countersign_server::change as effects;
use countersign_server::store::PolicyStore;
use serde_json::json;

use super::change;
use crate::Outcome;
use crate::arguments::Place;
use crate::output::{date, printable, say, say_json, table};

pub(super) fn history(place: &Place, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let changes = PolicyStore::new(state.clone())
        .history()
        .map_err(|error| error.to_string())?;
    let effects = effects::load(&state);
    if json {
        return say_json(&json!({ "changes": changes, "effects": effects }));
    }
    let effect = |at: u64| -> String {
        let of_change: Vec<String> = effects
            .iter()
            .filter(|one| one.at == at && one.cause.contains("local policy"))
            .map(|one| {
                let first = one
                    .first_connection_ms
                    .map_or_else(String::new, |ms| format!(", first connection {ms} ms"));
                format!(
                    "{} satisfied, {} kept, {} ended; in force {} ms{first}",
                    one.satisfied, one.kept, one.ended, one.in_force_ms
                )
            })
            .collect();
        if of_change.is_empty() {
            "-".to_owned()
        } else {
            of_change.join("; ")
        }
    };
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
                effect(change.at),
            ]
        })
        .collect();
    let head = [
        "NUMBER", "WHEN", "WHO", "SETTING", "FROM", "TO", "HOW", "SESSIONS",
    ];
    say(&table(&head, &rows));
    Ok(())
}

pub(super) fn undo(place: &Place, count: u16, json: bool) -> Outcome {
    let (state, _) = place.state()?;
    let changes = PolicyStore::new(state)
        .undo(usize::from(count))
        .map_err(|error| error.to_string())?;
    change::tell_servers(place, &changes, json)
}
