//! `countersign mkdir`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::Remote;

use crate::Outcome;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, misused, new_name, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct MkdirArguments {
    /// Folders to make
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    /// Those above it too; one that is there is no failure
    #[arg(short, long)]
    parents: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &MkdirArguments) -> Outcome {
    if let Some(wild) = arguments.locations.iter().find(|one| one.has_wildcards()) {
        misused(&format!(
            "{wild}: a new folder cannot have wildcards in its name"
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
                if troubles.take(new_name(location)).is_none() {
                    continue;
                }
                troubles.take(if arguments.parents {
                    super::put::make_folders(&share, &location.path).await
                } else {
                    let made = share.create_folder(&location.remote_path()).await;
                    made.map_err(|error| Trouble::at(location.to_string(), &error))
                });
            }
            troubles.end("not every folder was made")
        },
        "",
    )
}
