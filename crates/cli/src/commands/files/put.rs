//! `countersign put`.

use std::path::Path;

use clap::Args;
use countersign_client::Share;
use countersign_client::location::Location;
use countersign_client::transfer::{
    Direction, Item, Kind, PIECE, Remote, RemoteError, RemoteFile, WriteMode, copy, join, to_remote,
};
use tokio::io::AsyncReadExt;

use crate::Outcome;
use crate::remote::copying::{CopyArguments, ExistingArguments};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct PutArguments {
    /// Files and folders to copy (`-` is standard input), then the location to copy to
    #[arg(required = true, num_args = 2.., value_name = "SOURCE... LOCATION")]
    paths: Vec<String>,
    /// Folders with their content
    #[arg(short, long, short_alias = 'R')]
    recursive: bool,
    #[command(flatten)]
    existing: ExistingArguments,
    #[command(flatten)]
    copying: CopyArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &PutArguments) -> Outcome {
    let Some((target, sources)) = arguments.paths.split_last() else {
        return Err("nothing to copy".to_owned());
    };
    let target: Location = target
        .parse()
        .map_err(|error| format!("{target}: {error}"))?;
    if target.has_wildcards() {
        return Err(format!("{target}: a target cannot have wildcards"));
    }
    let prepared = arguments.connect.prepare(&target)?;
    run_remote(
        async {
            let mut options = arguments.copying.options();
            options.recursive = arguments.recursive;
            arguments.existing.apply(&mut options);
            let single = sources.len() == 1 && !arguments.recursive;
            let number = if single {
                1
            } else {
                arguments.copying.connections()
            };
            let shares = prepared.shares(number).await?;
            let Some(share) = shares.first() else {
                return Err("no connection".to_owned());
            };
            let into = into_folder(share, &target, sources.len()).await?;
            if let [only] = sources
                && only == "-"
            {
                if into {
                    return Err(format!(
                        "{target} is a folder: name a file for standard input"
                    ));
                }
                return from_standard_input(share, &target).await;
            }
            let mut items = Vec::new();
            for source in sources {
                items.push(Item {
                    remote: place(&target, into, Path::new(source))?,
                    local: source.into(),
                    entry: None,
                });
            }
            arguments
                .copying
                .show(|observer| async move {
                    copy(&shares, Direction::Up, items, &options, observer).await
                })
                .await
        },
        "; with --resume it goes on from here",
    )
}

/// Whether what is copied goes into the target; a target with a slash at its end is
/// made if it is not there.
async fn into_folder(share: &Share, target: &Location, sources: usize) -> Result<bool, String> {
    if target.path.is_empty() {
        return Ok(true);
    }
    let path = target.remote_path();
    let must = sources > 1 || target.folder;
    match share.entry(&path).await {
        Ok(entry) if entry.kind == Kind::Folder => Ok(true),
        Ok(_) if must => Err(format!("{target} is not a folder")),
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() && must => {
            make_folders(share, &target.path).await?;
            Ok(true)
        }
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(of_path(&target.to_string(), &error)),
    }
}

/// Makes a folder with those above it.
pub(super) async fn make_folders(share: &Share, parts: &[String]) -> Result<(), String> {
    let mut path = String::new();
    for part in parts {
        path = join(&path, part);
        match share.create_folder(&path).await {
            Ok(()) => {}
            Err(error) if error.is_exists() => {}
            Err(error) => {
                // Who may not make a folder may be let through to one below it.
                let there = share.entry(&path).await;
                if !there.is_ok_and(|entry| entry.kind == Kind::Folder) {
                    return Err(of_path(&path.replace('\\', "/"), &error));
                }
            }
        }
    }
    Ok(())
}

fn place(target: &Location, into: bool, source: &Path) -> Result<String, String> {
    let folder = target.remote_path();
    if !into {
        return Ok(folder);
    }
    // `.` and `..` have names once they are looked up.
    let named = match source.file_name() {
        Some(_) => source.to_owned(),
        None => source
            .canonicalize()
            .map_err(|error| format!("{}: {error}", source.display()))?,
    };
    let name = named
        .file_name()
        .ok_or_else(|| format!("{} has no name", source.display()))?;
    let name = to_remote(name).map_err(|error| format!("{}: {error}", source.display()))?;
    Ok(join(&folder, name))
}

/// Copies standard input, whose length nobody knows.
async fn from_standard_input(share: &Share, target: &Location) -> Outcome {
    use countersign_core::client::Payload;
    let said = |error: countersign_client::Error| of_path(&target.to_string(), &error);
    let path = target.remote_path();
    let (file, _) = share
        .open_write(&path, WriteMode::Replace)
        .await
        .map_err(said)?;
    let piece = PIECE.min(share.write_size());
    let mut input = tokio::io::stdin();
    let mut offset = 0;
    loop {
        let mut data = Payload::with_capacity(piece);
        while data.len() < piece {
            let left = (piece - data.len()) as u64;
            let read = (&mut input).take(left).read_buf(data.buffer_mut()).await;
            if read.map_err(|error| format!("standard input: {error}"))? == 0 {
                break;
            }
        }
        if data.is_empty() {
            break;
        }
        let length = data.len() as u64;
        file.write_at(offset, data).await.map_err(said)?;
        offset += length;
    }
    file.close().await.map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_source_goes() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        let source = Path::new("some/where/file.txt");
        assert_eq!(place(&at("//h/s/d"), true, source).unwrap(), "d\\file.txt");
        assert_eq!(place(&at("//h/s/d"), false, source).unwrap(), "d");
        assert_eq!(place(&at("//h/s"), true, source).unwrap(), "file.txt");
        assert!(place(&at("//h/s"), true, Path::new("a:b")).is_err());
        let here = place(&at("//h/s"), true, Path::new(".")).unwrap();
        assert!(!here.is_empty() && here != ".");
    }
}
