//! `countersign rmdir`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Kind, Remote, expand};

use crate::Outcome;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, misused, run as run_remote};
use crate::remote::present::shown;

#[derive(Debug, Args)]
pub(crate) struct RmdirArguments {
    /// Empty folders to remove
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &RmdirArguments) -> Outcome {
    if let Some(share) = arguments.locations.iter().find(|one| one.path.is_empty()) {
        misused(&format!(
            "{share} is a share: a share is not removed this way"
        ));
    }
    let prepared = arguments.connect.prepare_all(&arguments.locations)?;
    run_remote(
        async {
            let mut troubles = Troubles::default();
            for prepared in &prepared {
                let Some(share) = troubles.take(prepared.share().await) else {
                    continue;
                };
                let location = &prepared.location;
                let mut paths = vec![location.remote_path()];
                if location.has_wildcards() {
                    let found = expand(&share, &location.path).await;
                    let found =
                        found.map_err(|cause| Trouble::caused(location.to_string(), &cause));
                    let found = troubles.take(found).unwrap_or_default();
                    let folders = found
                        .into_iter()
                        .filter(|one| one.entry.kind == Kind::Folder);
                    paths = folders.map(|one| one.path).collect();
                    if paths.is_empty() {
                        troubles.add(&Trouble::nothing_fits(location));
                    }
                }
                for path in paths {
                    let removed = share.remove_folder(&path).await;
                    troubles.take(removed.map_err(|error| Trouble::at(shown(&path), &error)));
                }
            }
            troubles.end("not every folder was removed")
        },
        "",
    )
}
