//! `countersign tree`.

use std::collections::HashMap;

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Entry, Kind, Remote, join, walk};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{complain, printable, say, say_json};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};
use crate::remote::present::{human, kind_name};

#[derive(Debug, Args)]
pub(crate) struct TreeArguments {
    /// The folder to draw
    #[arg(value_name = "LOCATION")]
    location: Location,
    /// Not deeper than this
    #[arg(short = 'L', long, value_name = "N", alias = "level")]
    max_depth: Option<usize>,
    /// Only folders
    #[arg(short, long)]
    directories: bool,
    /// Sizes too
    #[arg(short, long)]
    size: bool,
    /// Print JSON: nested objects
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

type Folders = HashMap<String, Vec<Entry>>;

pub(crate) fn run(arguments: &TreeArguments) -> Outcome {
    let prepared = arguments.connect.prepare(&arguments.location)?;
    run_remote(
        async {
            let share = prepared.share().await?;
            let root = prepared.location.remote_path();
            let entry = share
                .entry(&root)
                .await
                .map_err(|error| of_path(&prepared.location.to_string(), &error))?;
            if entry.kind != Kind::Folder {
                return Err(format!("{} is not a folder", prepared.location));
            }
            let deepest = arguments.max_depth.unwrap_or(usize::MAX);
            let mut folders = Folders::new();
            let failures = walk(&share, &root, |walked| {
                if walked.depth >= deepest {
                    walked.entries.clear();
                }
                if arguments.directories {
                    walked.entries.retain(|entry| entry.kind == Kind::Folder);
                }
                folders.insert(walked.path.to_owned(), walked.entries.clone());
            })
            .await;
            for failure in &failures {
                complain(&format!("{}: {}", failure.path, failure.cause));
            }
            if arguments.json {
                say_json(&json!({
                    "name": prepared.location.name().unwrap_or(""),
                    "path": root.replace('\\', "/"),
                    "type": "directory",
                    "children": to_json(&folders, &root),
                }))?;
            } else {
                say(&prepared.location.to_string());
                let mut counts = (0, 0);
                draw(&folders, &root, "", arguments.size, &mut counts);
                say(&format!("\n{} folders, {} files", counts.0, counts.1));
            }
            if failures.is_empty() {
                return Ok(());
            }
            Err("not every folder could be read".to_owned())
        },
        "",
    )
}

/// Depth is bounded by the walk.
fn draw(folders: &Folders, path: &str, indent: &str, sizes: bool, counts: &mut (u64, u64)) {
    let entries = folders.get(path).map_or(&[][..], Vec::as_slice);
    for (at, entry) in entries.iter().enumerate() {
        let last = at + 1 == entries.len();
        let branch = if last { "└── " } else { "├── " };
        let size = if sizes && entry.kind == Kind::File {
            format!("[{}] ", human(entry.size))
        } else {
            String::new()
        };
        let mark = match entry.kind {
            Kind::Folder => "/",
            Kind::Link => "@",
            Kind::File => "",
        };
        say(&format!(
            "{indent}{branch}{size}{}{mark}",
            printable(&entry.name)
        ));
        if entry.kind == Kind::Folder {
            counts.0 += 1;
            let further = if last { "    " } else { "│   " };
            let indent = format!("{indent}{further}");
            draw(folders, &join(path, &entry.name), &indent, sizes, counts);
        } else {
            counts.1 += 1;
        }
    }
}

fn to_json(folders: &Folders, path: &str) -> Vec<Json> {
    let entries = folders.get(path).map_or(&[][..], Vec::as_slice);
    entries
        .iter()
        .map(|entry| {
            let below = join(path, &entry.name);
            let mut object = json!({
                "name": entry.name,
                "path": below.replace('\\', "/"),
                "type": kind_name(entry.kind),
                "size": entry.size,
            });
            if entry.kind == Kind::Folder
                && let Some(object) = object.as_object_mut()
            {
                object.insert("children".to_owned(), Json::Array(to_json(folders, &below)));
            }
            object
        })
        .collect()
}
