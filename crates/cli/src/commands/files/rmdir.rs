//! `countersign rmdir`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::Remote;

use crate::Outcome;
use crate::output::complain;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct RmdirArguments {
    /// Empty folders to remove
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &RmdirArguments) -> Outcome {
    let prepared = arguments.connect.prepare_all(&arguments.locations)?;
    run_remote(
        async {
            let mut failed = false;
            for prepared in prepared {
                let share = prepared.share().await?;
                let location = &prepared.location;
                if location.path.is_empty() {
                    return Err(format!(
                        "{location} is a share: a share is not removed this way"
                    ));
                }
                if let Err(error) = share.remove_folder(&location.remote_path()).await {
                    complain(&of_path(&location.to_string(), &error));
                    failed = true;
                }
            }
            if failed {
                return Err("not every folder was removed".to_owned());
            }
            Ok(())
        },
        "",
    )
}
