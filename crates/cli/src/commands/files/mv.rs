//! `countersign mv`.

use clap::Args;
use countersign_client::Share;
use countersign_client::glob::same_name;
use countersign_client::location::Location;
use countersign_client::transfer::{Kind, Remote, RemoteError, expand, join};

use super::get::{named_best, same_share};
use crate::Outcome;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, misused, new_name, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct MvArguments {
    /// What to move, then where to: a new name, or a folder, of the same share
    #[arg(required = true, value_name = "LOCATION... TARGET")]
    locations: Vec<Location>,
    /// Replace a file that has the name
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &MvArguments) -> Outcome {
    let Some((target, sources @ [_, ..])) = arguments.locations.split_last() else {
        misused("name what is moved, and where to");
    };
    if let Some(other) = sources.iter().find(|one| !same_share(one, target)) {
        misused(&format!(
            "{other} is on another share than {target}: use get and put"
        ));
    }
    if target.has_wildcards() {
        misused(&format!("{target}: a target cannot have wildcards"));
    }
    if let Some(share) = sources.iter().find(|one| one.path.is_empty()) {
        misused(&format!("{share} is a share: it cannot be moved"));
    }
    let who = named_best(&arguments.locations).unwrap_or(target);
    let prepared = arguments.connect.prepare(who)?;
    run_remote(
        async {
            let share = prepared.share().await?;
            let mut troubles = Troubles::default();
            let many = sources.len() > 1 || sources.iter().any(Location::has_wildcards);
            let into = match share.entry(&target.remote_path()).await {
                Ok(entry) => entry.kind == Kind::Folder,
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(Trouble::at(target.to_string(), &error).into()),
            };
            if (many || target.folder) && !into {
                return Err(Trouble::of(target.to_string(), "it is not a folder").into());
            }
            if !into {
                new_name(target)?;
            }
            for source in sources {
                match expand(&share, &source.path).await {
                    Ok(found) if found.is_empty() => troubles.add(&Trouble::nothing_fits(source)),
                    Ok(found) => {
                        for one in found {
                            let moved = arguments.one(&share, &one.path, target, into).await;
                            troubles.take(moved);
                        }
                    }
                    Err(cause) => troubles.add(&Trouble::caused(source.to_string(), &cause)),
                }
            }
            troubles.end("not everything was moved")
        },
        "",
    )
}

impl MvArguments {
    async fn one(
        &self,
        share: &Share,
        from: &str,
        target: &Location,
        into: bool,
    ) -> Result<(), Trouble> {
        let target = target.remote_path();
        let name = from.rsplit('\\').next().unwrap_or(from);
        // A folder that is only written differently does not go into itself.
        let to = if into && !same_name(from, &target) {
            join(&target, name)
        } else {
            target
        };
        let renamed = share.rename_with(from, &to, self.force).await;
        renamed.map_err(|error| {
            let mut text = error.to_string();
            if error.is_exists() && !self.force {
                text.push_str("; --force replaces it");
            }
            Trouble::of(from.replace('\\', "/"), text)
        })
    }
}
