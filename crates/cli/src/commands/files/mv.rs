//! `countersign mv`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Kind, Remote, RemoteError, expand, join};

use super::get::same_share;
use crate::Outcome;
use crate::output::complain;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct MvArguments {
    /// What to move, then where to: a new name, or a folder, of the same share
    #[arg(required = true, num_args = 2.., value_name = "LOCATION... TARGET")]
    locations: Vec<Location>,
    /// Replace a file that has the name
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &MvArguments) -> Outcome {
    let Some((target, sources)) = arguments.locations.split_last() else {
        return Err("nothing to move".to_owned());
    };
    if let Some(other) = sources.iter().find(|one| !same_share(one, target)) {
        return Err(format!(
            "{other} is on another share than {target}: use get and put"
        ));
    }
    let prepared = arguments.connect.prepare(target)?;
    run_remote(
        async {
            let share = prepared.share().await?;
            let target_path = target.remote_path();
            let many = sources.len() > 1 || sources.iter().any(Location::has_wildcards);
            let into = match share.entry(&target_path).await {
                Ok(entry) if entry.kind == Kind::Folder => true,
                Ok(_) => false,
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(of_path(&target.to_string(), &error)),
            };
            if (many || target.folder) && !into {
                return Err(format!("{target} is not a folder"));
            }
            let mut failed = false;
            for source in sources {
                if source.path.is_empty() {
                    return Err(format!("{source} is a share: it cannot be moved"));
                }
                let found = expand(&share, &source.path)
                    .await
                    .map_err(|error| of_path(&source.to_string(), &error))?;
                if found.is_empty() {
                    return Err(format!("{source}: nothing fits"));
                }
                for one in found {
                    let name = one.path.rsplit('\\').next().unwrap_or(&one.path);
                    let to = if into {
                        join(&target_path, name)
                    } else {
                        target_path.clone()
                    };
                    if let Err(error) = share.rename_with(&one.path, &to, arguments.force).await {
                        let hint = if error.is_exists() && !arguments.force {
                            "; --force replaces it"
                        } else {
                            ""
                        };
                        let path = one.path.replace('\\', "/");
                        complain(&format!("{path}: {error}{hint}"));
                        failed = true;
                    }
                }
            }
            if failed {
                return Err("not everything was moved".to_owned());
            }
            Ok(())
        },
        "",
    )
}
