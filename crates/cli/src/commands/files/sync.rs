//! `countersign sync`.

use std::path::Path;

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Compare, Direction, sync};

use crate::Outcome;
use crate::remote::copying::CopyArguments;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::run as run_remote;

#[derive(Debug, Args)]
pub(crate) struct SyncArguments {
    /// The folder that is right: a location or a local folder
    source: String,
    /// The folder that is made like it: the other of the two
    target: String,
    /// Remove what the source does not have
    #[arg(long)]
    delete: bool,
    /// Compare sizes alone, not the times of the last change
    #[arg(long)]
    size_only: bool,
    #[command(flatten)]
    copying: CopyArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &SyncArguments) -> Outcome {
    let (source, target) = (&arguments.source, &arguments.target);
    let (direction, location, local) = match (Location::is_one(source), Location::is_one(target)) {
        (true, false) => (Direction::Down, source, target),
        (false, true) => (Direction::Up, target, source),
        _ => return Err("one of the two must be a location, the other a local folder".to_owned()),
    };
    let location: Location = location
        .parse()
        .map_err(|error| format!("{location}: {error}"))?;
    let local = Path::new(local);
    if direction == Direction::Up && !local.is_dir() {
        return Err(format!("{} is not a folder", local.display()));
    }
    let prepared = arguments.connect.prepare(&location)?;
    run_remote(
        async {
            let mut options = arguments.copying.options();
            options.preserve = true;
            options.recursive = true;
            options.delete = arguments.delete;
            if arguments.size_only {
                options.compare = Compare::Size;
            }
            let shares = prepared.shares(arguments.copying.connections()).await?;
            if direction == Direction::Up
                && !options.dry_run
                && let (Some(share), Some((_, above))) =
                    (shares.first(), location.path.split_last())
            {
                super::put::make_folders(share, above).await?;
            }
            let remote = location.remote_path();
            arguments
                .copying
                .show(|observer| async move {
                    sync(&shares, direction, &remote, local, &options, observer).await
                })
                .await
        },
        "; what was copied is kept, the next run goes on",
    )
}
