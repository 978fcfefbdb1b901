//! `countersign tree`.

use std::collections::HashMap;

use clap::Args;
use countersign_client::Share;
use countersign_client::location::Location;
use countersign_client::transfer::{Entry, Kind, Remote, join, walk};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{end_with_reader, printable, say, say_json};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, no_wildcards, or_json, run as run_remote};
use crate::remote::present::{human, kind_name};
use crate::remote::session::Prepared;

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
    end_with_reader();
    no_wildcards(&arguments.location);
    let prepared = arguments.connect.prepare(&arguments.location);
    let prepared = or_json(arguments.json, &Json::Null, prepared)?;
    run_remote(
        async {
            let begun = begin(&prepared).await.map_err(String::from);
            let share = or_json(arguments.json, &Json::Null, begun)?;
            let root = prepared.location.remote_path();
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
            let mut troubles = Troubles::default();
            troubles.walk(&failures);
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
            troubles.end("not every folder could be read")
        },
        "",
    )
}

async fn begin(prepared: &Prepared) -> Result<Share, Trouble> {
    let share = prepared.share().await?;
    let location = &prepared.location;
    let entry = share.entry(&location.remote_path()).await;
    let entry = entry.map_err(|error| Trouble::at(location.to_string(), &error))?;
    if entry.kind != Kind::Folder {
        return Err(Trouble::of(location.to_string(), "it is not a folder"));
    }
    Ok(share)
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
