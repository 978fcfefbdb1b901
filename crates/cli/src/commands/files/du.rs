//! `countersign du`.

use std::collections::BTreeMap;

use clap::Args;
use countersign_client::Share;
use countersign_client::location::Location;
use countersign_client::transfer::{Found, Kind, join, walk};
use serde_json::json;

use crate::Outcome;
use crate::output::{end_with_reader, say, say_json};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Troubles, or_json, run as run_remote};
use crate::remote::present::{shown, size};

#[derive(Debug, Args)]
pub(crate) struct DuArguments {
    /// Folders to add up
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    /// Only the sum of each location
    #[arg(short, long)]
    summarize: bool,
    /// Folders down to this depth
    #[arg(short = 'd', long, value_name = "N", conflicts_with = "summarize")]
    max_depth: Option<usize>,
    /// Sizes as 1.4M
    #[arg(short = 'H', long)]
    human: bool,
    /// Print JSON: an array of folders
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    files: u64,
    folders: u64,
}

/// Adds up what is below each folder, from what each folder holds itself.
fn add_up(own: &BTreeMap<Vec<String>, Sum>) -> BTreeMap<Vec<String>, Sum> {
    let mut all: BTreeMap<Vec<String>, Sum> = BTreeMap::new();
    for (path, sum) in own {
        for length in 0..=path.len() {
            let above = path.get(..length).unwrap_or_default().to_vec();
            if !own.contains_key(&above) {
                continue;
            }
            let total = all.entry(above).or_default();
            total.bytes = total.bytes.saturating_add(sum.bytes);
            total.files += sum.files;
            total.folders += sum.folders;
        }
    }
    all
}

type Rows = Vec<(String, Sum)>;

impl DuArguments {
    /// Adds up one file or folder.
    async fn one(&self, share: &Share, found: Found, rows: &mut Rows, troubles: &mut Troubles) {
        let root = found.path;
        if found.entry.kind != Kind::Folder {
            let sum = Sum {
                bytes: found.entry.size,
                files: 1,
                folders: 0,
            };
            rows.push((root, sum));
            return;
        }
        let mut own: BTreeMap<Vec<String>, Sum> = BTreeMap::new();
        let start = root.split('\\').filter(|part| !part.is_empty()).count();
        let failures = walk(share, &root, |walked| {
            let parts = walked.path.split('\\').filter(|part| !part.is_empty());
            let relative: Vec<String> = parts.skip(start).map(str::to_owned).collect();
            let sum = own.entry(relative).or_default();
            for entry in walked.entries.iter() {
                if entry.kind == Kind::Folder {
                    sum.folders += 1;
                } else {
                    sum.files += 1;
                    sum.bytes = sum.bytes.saturating_add(entry.size);
                }
            }
        })
        .await;
        troubles.walk(&failures);
        let deepest = if self.summarize {
            0
        } else {
            self.max_depth.unwrap_or(usize::MAX)
        };
        for (relative, sum) in add_up(&own) {
            if relative.len() <= deepest {
                let path = relative
                    .iter()
                    .fold(root.clone(), |path, part| join(&path, part));
                rows.push((path, sum));
            }
        }
    }

    fn show(&self, rows: &Rows) -> Outcome {
        if self.json {
            let rows: Vec<_> = rows
                .iter()
                .map(|(path, sum)| {
                    json!({
                        "path": path.replace('\\', "/"),
                        "bytes": sum.bytes,
                        "files": sum.files,
                        "directories": sum.folders,
                    })
                })
                .collect();
            return say_json(&rows);
        }
        for (path, sum) in rows {
            let path = if path.is_empty() {
                "/".to_owned()
            } else {
                shown(path)
            };
            say(&format!("{:>12}  {path}", size(sum.bytes, self.human)));
        }
        Ok(())
    }
}

pub(crate) fn run(arguments: &DuArguments) -> Outcome {
    end_with_reader();
    let prepared = arguments.connect.prepare_all(&arguments.locations);
    let prepared = or_json(arguments.json, &json!([]), prepared)?;
    run_remote(
        async {
            let mut troubles = Troubles::default();
            let mut rows = Rows::new();
            for prepared in &prepared {
                let Some(share) = troubles.take(prepared.share().await) else {
                    continue;
                };
                for one in troubles.expand(&share, &prepared.location).await {
                    arguments.one(&share, one, &mut rows, &mut troubles).await;
                }
            }
            arguments.show(&rows)?;
            troubles.end("not everything could be read: the sums are too small")
        },
        "",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_hold_what_is_below() {
        let path = |text: &str| -> Vec<String> {
            text.split('/')
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let sum = |bytes, files, folders| Sum {
            bytes,
            files,
            folders,
        };
        let own = BTreeMap::from([
            (path(""), sum(1, 1, 1)),
            (path("a"), sum(10, 2, 1)),
            (path("a/b"), sum(100, 3, 0)),
        ]);
        let all = add_up(&own);
        assert_eq!(all[&path("")], sum(111, 6, 2));
        assert_eq!(all[&path("a")], sum(110, 5, 1));
        assert_eq!(all[&path("a/b")], sum(100, 3, 0));
    }
}
