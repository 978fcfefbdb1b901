//! `countersign mkdir`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::Remote;

use crate::Outcome;
use crate::output::complain;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};

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
    let prepared = arguments.connect.prepare_all(&arguments.locations)?;
    run_remote(
        async {
            let mut failed = false;
            for prepared in prepared {
                let share = prepared.share().await?;
                let location = &prepared.location;
                let made = if arguments.parents {
                    super::put::make_folders(&share, &location.path).await
                } else {
                    let made = share.create_folder(&location.remote_path()).await;
                    made.map_err(|error| of_path(&location.to_string(), &error))
                };
                if let Err(why) = made {
                    complain(&why);
                    failed = true;
                }
            }
            if failed {
                return Err("not every folder was made".to_owned());
            }
            Ok(())
        },
        "",
    )
}
