//! The reviewed file, read.

use std::fs;

use crate::case::Values;

/// A section of the reviewed file.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) title: String,
    pub(crate) count: usize,
    pub(crate) names: Vec<String>,
    /// For each dimension the values (`*`: all), and the outcome.
    pub(crate) rows: Vec<(Vec<Vec<String>>, String)>,
}

pub(crate) fn reviewed() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decision-table.txt");
    fs::read_to_string(path).unwrap()
}

pub(crate) fn written(text: &str) -> Vec<Written> {
    let mut sections: Vec<Written> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words = |line: &str| -> Vec<String> { line.split(" · ").map(str::to_owned).collect() };
        if let Some(title) = line.strip_prefix("## ") {
            let (title, count) = title
                .strip_suffix(" cases)")
                .unwrap()
                .rsplit_once(" (")
                .unwrap();
            sections.push(Written {
                title: title.to_owned(),
                count: count.parse().unwrap(),
                ..Written::default()
            });
        } else if let Some(section) = sections.last_mut() {
            match line.split_once(" → ") {
                None => section.names = words(line),
                Some((left, outcome)) => {
                    let left = words(left);
                    let cells = left
                        .iter()
                        .map(|cell| cell.split('|').map(str::to_owned).collect::<Vec<_>>());
                    section.rows.push((cells.collect(), outcome.to_owned()));
                }
            }
        }
    }
    sections
}

/// Every combination of the dimensions' values.
pub(crate) fn product(dimensions: &[(&'static str, Values)]) -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    for (_, values) in dimensions {
        all = all
            .iter()
            .flat_map(|start| values.iter().map(|value| [&start[..], &[*value]].concat()))
            .collect();
    }
    all
}
