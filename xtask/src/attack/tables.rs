//! Results as tables.

use std::fmt::Write;

use super::bench::{Outcome, Results};
use super::design::{Nature, succeeds};
use super::man::{ALL, Attack};
use super::{DIALECTS, SETTINGS};

/// The tables, one for each setting.
pub(super) fn markdown(results: &Results, nature: Nature) -> String {
    let mut out = String::new();
    for setting in SETTINGS {
        let rows: Vec<Attack> = ALL
            .iter()
            .copied()
            .filter(|a| *a != Attack::None)
            .filter(|a| {
                DIALECTS
                    .iter()
                    .any(|d| results.contains_key(&(setting, *a, *d)))
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n### {}\n", capital(setting.words()));
        out.push_str("| attack | SMB1 | 2.0.2 | 2.1 | 3.0 | 3.0.2 | 3.1.1 |\n|---|---|---|---|---|---|---|\n");
        for attack in rows {
            let _ = write!(out, "| {} |", attack.words());
            for dialect in DIALECTS {
                let design = succeeds(nature, attack, dialect, setting);
                let cell = match results.get(&(setting, attack, dialect)) {
                    None => "",
                    Some(Outcome::Failed) if design => "fails (better than by design)",
                    Some(Outcome::Failed) => "fails",
                    Some(Outcome::NotTried(_)) => "not possible",
                    Some(Outcome::Succeeded(_)) if design => "succeeds",
                    Some(Outcome::Succeeded(_)) => "**SUCCEEDS**",
                };
                let _ = write!(out, " {cell} |");
            }
            out.push('\n');
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
