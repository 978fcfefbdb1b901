//! `countersign ls`.

use clap::Args;
use countersign_client::Share;
use countersign_client::location::Location;
use countersign_client::transfer::{Entry, Found, Kind, Remote, expand, join, walk};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{end_with_reader, printable, say, say_json, table};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, or_json, run as run_remote};
use crate::remote::present::{attributes, entry_json, kind_name, shown, size, time};

#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// `smb://[USER@]HOST[:PORT]/SHARE/PATH` or `//HOST/SHARE/PATH`; `*`, `?` and `**` are
    /// wildcards; a host alone lists its shares
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    /// Type, attributes, size and time too
    #[arg(short, long)]
    long: bool,
    /// Sizes as 1.4M (with --long)
    #[arg(short = 'H', long)]
    human: bool,
    /// Hidden files too
    #[arg(short, long)]
    all: bool,
    /// A folder itself, not what is in it
    #[arg(short, long)]
    directory: bool,
    /// Folders within folders too
    #[arg(short = 'R', short_alias = 'r', long)]
    recursive: bool,
    /// Print JSON: an array of entries
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &LsArguments) -> Outcome {
    end_with_reader();
    if let [location] = arguments.locations.as_slice()
        && location.share.is_none()
    {
        return super::shares::list(location, &arguments.connect, arguments.json, true);
    }
    let prepared = arguments.connect.prepare_all(&arguments.locations);
    let prepared = or_json(arguments.json, &json!([]), prepared)?;
    run_remote(
        async {
            let mut listing = Listing::new(arguments);
            for prepared in prepared {
                if let Some(share) = listing.troubles.take(prepared.share().await) {
                    listing.location(&share, &prepared.location).await;
                }
            }
            listing.end()
        },
        "",
    )
}

/// What is listed, and what could not be.
struct Listing<'a> {
    arguments: &'a LsArguments,
    json: Vec<Json>,
    troubles: Troubles,
}

impl<'a> Listing<'a> {
    fn new(arguments: &'a LsArguments) -> Self {
        Listing {
            arguments,
            json: Vec::new(),
            troubles: Troubles::default(),
        }
    }

    async fn location(&mut self, share: &Share, location: &Location) {
        let found = match expand(share, &location.path).await {
            Ok(found) => found,
            Err(error) => {
                let trouble = Trouble::caused(location.to_string(), &error);
                return self.troubles.add(&trouble);
            }
        };
        if found.is_empty() {
            return self.troubles.add(&Trouble::nothing_fits(location));
        }
        let many = self.arguments.locations.len() > 1 || found.len() > 1;
        let mut plain = Vec::new();
        let mut folders = Vec::new();
        for one in found {
            if one.entry.kind == Kind::Folder && !self.arguments.directory {
                folders.push(one.path);
            } else {
                plain.push(one);
            }
        }
        self.rows(plain, true);
        for folder in folders {
            self.folder(share, &folder, many).await;
        }
    }

    async fn folder(&mut self, share: &Share, folder: &str, headed: bool) {
        if self.arguments.recursive {
            let mut all = Vec::new();
            let hidden = self.arguments.all;
            let failures = walk(share, folder, |walked| {
                walked.entries.retain(|entry| hidden || !is_hidden(entry));
                for entry in walked.entries.iter() {
                    all.push(Found {
                        path: join(walked.path, &entry.name),
                        entry: entry.clone(),
                    });
                }
            })
            .await;
            self.troubles.walk(&failures);
            all.sort_by(|a, b| a.path.cmp(&b.path));
            self.rows(all, true);
            return;
        }
        match share.list(folder).await {
            Ok(mut entries) => {
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                let all = entries.into_iter().map(|entry| Found {
                    path: join(folder, &entry.name),
                    entry,
                });
                if headed && !self.arguments.json {
                    say(&format!("/{}:", shown(folder)));
                }
                self.rows(all.collect(), false);
            }
            Err(error) => self.troubles.add(&Trouble::at(shown(folder), &error)),
        }
    }

    fn rows(&mut self, all: Vec<Found>, paths: bool) {
        let hidden = self.arguments.all || paths;
        let all: Vec<Found> = all
            .into_iter()
            .filter(|one| hidden || !is_hidden(&one.entry))
            .collect();
        if self.arguments.json {
            let rows = all.iter().map(|one| entry_json(&one.path, &one.entry));
            self.json.extend(rows);
            return;
        }
        let name = |one: &Found| {
            if paths {
                shown(&one.path)
            } else {
                printable(&one.entry.name)
            }
        };
        if !self.arguments.long {
            for one in &all {
                let slash = if one.entry.kind == Kind::Folder {
                    "/"
                } else {
                    ""
                };
                say(&format!("{}{slash}", name(one)));
            }
            return;
        }
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|one| {
                vec![
                    kind_name(one.entry.kind).to_owned(),
                    attributes(one.entry.attributes),
                    format!("{:>12}", size(one.entry.size, self.arguments.human)),
                    time(one.entry.modified),
                    name(one),
                ]
            })
            .collect();
        if !rows.is_empty() {
            say(&table(
                &["TYPE", "ATTR", "        SIZE", "MODIFIED", "NAME"],
                &rows,
            ));
        }
    }

    fn end(self) -> Outcome {
        if self.arguments.json {
            say_json(&self.json)?;
        }
        self.troubles.end("not everything could be listed")
    }
}

/// Hidden by its attribute; a dot at the beginning is a name like any other on a share.
fn is_hidden(entry: &Entry) -> bool {
    use countersign_client::FileAttributes;
    entry.attributes.contains(FileAttributes::HIDDEN)
}
