//! `countersign sync`.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use countersign_client::Error;
use countersign_client::location::Location;
use countersign_client::transfer::{Compare, Direction, Report, sync};

use crate::Outcome;
use crate::remote::copying::CopyArguments;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, misused, run as run_remote};
use crate::remote::session::Prepared;

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
        _ => misused("one of the two must be a location, the other a local folder"),
    };
    let location: Location = match location.parse() {
        Ok(location) => location,
        Err(error) => misused(&format!("{location}: {error}")),
    };
    if location.has_wildcards() {
        misused(&format!(
            "{location}: one folder is made like another, without wildcards; --include and \
             --exclude choose what is in it"
        ));
    }
    let copying = &arguments.copying;
    let begin = Instant::now();
    let local = Path::new(local);
    if direction == Direction::Up && !local.is_dir() {
        let trouble = Trouble::of(local.display().to_string(), "it is not a folder");
        return copying.end(begin, Err(trouble));
    }
    let prepared = match arguments.connect.prepare(&location) {
        Ok(prepared) => prepared,
        Err(why) => return copying.end(begin, Err(why.into())),
    };
    run_remote(
        async {
            let done = arguments.copy(&prepared, direction, local).await;
            copying.end(begin, done)
        },
        "; what was copied is kept, the next run goes on",
    )
}

impl SyncArguments {
    async fn copy(
        &self,
        prepared: &Prepared,
        direction: Direction,
        local: &Path,
    ) -> Result<Report<Error>, Trouble> {
        let mut options = self.copying.options();
        options.preserve = true;
        options.recursive = true;
        options.delete = self.delete;
        if self.size_only {
            options.compare = Compare::Size;
        }
        let location = &prepared.location;
        let shares = prepared.shares(self.copying.connections()).await?;
        if direction == Direction::Up
            && !options.dry_run
            && let (Some(share), Some((_, above))) = (shares.first(), location.path.split_last())
        {
            super::put::make_folders(share, above).await?;
        }
        let remote = location.remote_path();
        Ok(self
            .copying
            .show(|observer| async move {
                sync(&shares, direction, &remote, local, &options, observer).await
            })
            .await)
    }
}
