//! `countersign watch`.

use std::time::{Duration, SystemTime};

use clap::Args;
use countersign_client::ChangeKind;
use countersign_client::location::Location;
use serde_json::json;

use crate::Outcome;
use crate::output::{end_with_reader, printable, say};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, no_wildcards, run as run_remote};
use crate::remote::present::{time, time_json};

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// The folder to watch
    #[arg(value_name = "LOCATION")]
    location: Location,
    /// Folders within it too
    #[arg(short, long, short_alias = 'R')]
    recursive: bool,
    /// End after so many changes
    #[arg(short = 'c', long, value_name = "N")]
    count: Option<u64>,
    /// End after this time: 90s, 30m, 12h
    #[arg(long, value_name = "SPAN", value_parser = super::find::parse_span)]
    r#for: Option<Duration>,
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) fn word(kind: ChangeKind) -> String {
    match kind {
        ChangeKind::Added => "added".to_owned(),
        ChangeKind::Removed => "removed".to_owned(),
        ChangeKind::Modified => "modified".to_owned(),
        ChangeKind::RenamedFrom => "renamed-from".to_owned(),
        ChangeKind::RenamedTo => "renamed-to".to_owned(),
        ChangeKind::Overflow => "overflow".to_owned(),
        ChangeKind::Other(number) => format!("other-{number}"),
    }
}

pub(crate) fn run(arguments: &WatchArguments) -> Outcome {
    end_with_reader();
    no_wildcards(&arguments.location);
    let prepared = arguments.connect.prepare(&arguments.location)?;
    run_remote(
        async {
            let share = prepared.share().await?;
            let path = prepared.location.remote_path();
            let named = prepared.location.to_string();
            let mut watch = share
                .watch(&path, arguments.recursive)
                .await
                .map_err(|error| Trouble::at(&named, &error))?;
            let changes = async {
                let mut left = arguments.count.unwrap_or(u64::MAX);
                while left > 0 {
                    let change = watch
                        .next_change()
                        .await
                        .map_err(|error| Trouble::at(&named, &error))?;
                    let Some(change) = change else {
                        return Err(Trouble::of(&named, "the folder is gone").into());
                    };
                    let now = Some(SystemTime::now());
                    let word = word(change.kind);
                    if arguments.json {
                        let line = json!({
                            "time": time_json(now),
                            "action": word,
                            "path": change.path.replace('\\', "/"),
                        });
                        say(&line.to_string());
                    } else {
                        let path = printable(&change.path.replace('\\', "/"));
                        say(&format!("{}  {word:<12}  {path}", time(now)));
                    }
                    left -= 1;
                }
                Ok(())
            };
            match arguments.r#for {
                None => changes.await,
                Some(span) => match tokio::time::timeout(span, changes).await {
                    Ok(ended) => ended,
                    Err(_) if arguments.count.is_none() => Ok(()),
                    Err(_) => Err("fewer changes than were waited for".to_owned()),
                },
            }
        },
        "",
    )
}
