//! `countersign get`.

use std::path::{Path, PathBuf};

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Direction, Item, NameError, check_from_remote, copy, expand};

use crate::Outcome;
use crate::remote::copying::{CopyArguments, ExistingArguments};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// Locations to copy, then the file or folder to copy to [default: here]; `-` is
    /// standard output
    #[arg(required = true, value_name = "LOCATION... [TARGET]")]
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

pub(crate) fn run(arguments: &GetArguments) -> Outcome {
    let (sources, target) = take_apart(&arguments.paths)?;
    let Some(first) = sources.first() else {
        return Err("no location to copy from".to_owned());
    };
    if let Some(other) = sources.iter().find(|one| !same_share(one, first)) {
        return Err(format!(
            "{other} is not on the share of {first}: copy from one share at a time"
        ));
    }
    let prepared = arguments.connect.prepare(first)?;
    if target == Path::new("-") {
        return run_remote(super::cat::stream(&prepared, &sources), "");
    }
    run_remote(
        async {
            let mut options = arguments.copying.options();
            options.recursive = arguments.recursive;
            arguments.existing.apply(&mut options);
            let single = sources.len() == 1 && !first.has_wildcards() && !arguments.recursive;
            let number = if single {
                1
            } else {
                arguments.copying.connections()
            };
            let shares = prepared.shares(number).await?;
            let Some(share) = shares.first() else {
                return Err("no connection".to_owned());
            };
            let into = into_folder(&target, &sources)?;
            let mut items = Vec::new();
            for source in &sources {
                if !source.has_wildcards() {
                    items.push(Item {
                        remote: source.remote_path(),
                        local: place(&target, into, source.name())?,
                        entry: None,
                    });
                    continue;
                }
                let found = expand(share, &source.path)
                    .await
                    .map_err(|error| of_path(&source.to_string(), &error))?;
                if found.is_empty() {
                    return Err(format!("{source}: nothing fits"));
                }
                for one in found {
                    items.push(Item {
                        local: place(&target, true, Some(&one.entry.name))?,
                        remote: one.path,
                        entry: Some(one.entry),
                    });
                }
            }
            if into {
                std::fs::create_dir_all(&target)
                    .map_err(|error| format!("{}: {error}", target.display()))?;
            }
            arguments
                .copying
                .show(|observer| async move {
                    copy(&shares, Direction::Down, items, &options, observer).await
                })
                .await
        },
        "; with --resume it goes on from here",
    )
}

/// The last path is the target, unless it is a location.
fn take_apart(paths: &[String]) -> Result<(Vec<Location>, PathBuf), String> {
    let (sources, target) = match paths.split_last() {
        Some((last, rest)) if !Location::is_one(last) => (rest, PathBuf::from(last)),
        _ => (paths, PathBuf::from(".")),
    };
    let sources = sources
        .iter()
        .map(|text| text.parse().map_err(|error| format!("{text}: {error}")))
        .collect::<Result<Vec<Location>, String>>()?;
    Ok((sources, target))
}

pub(super) fn same_share(a: &Location, b: &Location) -> bool {
    use countersign_client::glob::same_name;
    same_name(&a.host, &b.host)
        && a.port == b.port
        && a.user == b.user
        && same_name(
            a.share.as_deref().unwrap_or(""),
            b.share.as_deref().unwrap_or(""),
        )
}

/// Whether what is copied goes into the target rather than becoming it.
fn into_folder(target: &Path, sources: &[Location]) -> Result<bool, String> {
    let slash = target.as_os_str().to_string_lossy().ends_with('/');
    let many = sources.len() > 1 || sources.iter().any(Location::has_wildcards);
    let is_folder = target.is_dir();
    if target.exists() && !is_folder && (many || slash) {
        return Err(format!("{} is not a folder", target.display()));
    }
    Ok(is_folder || many || slash)
}

/// Where a source goes. The root of a share has no name of its own: its content goes
/// to the target itself.
fn place(target: &Path, into: bool, name: Option<&str>) -> Result<PathBuf, String> {
    match name {
        Some(name) if into => {
            check_from_remote(name).map_err(|error: NameError| format!("{name}: {error}"))?;
            Ok(target.join(name))
        }
        _ => Ok(target.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn sources_and_target() {
        let (sources, target) = take_apart(&strings(&["//h/s/a", "//h/s/b", "out"])).unwrap();
        assert_eq!((sources.len(), target), (2, PathBuf::from("out")));
        let (sources, target) = take_apart(&strings(&["smb://h/s/a"])).unwrap();
        assert_eq!((sources.len(), target), (1, PathBuf::from(".")));
        assert!(take_apart(&strings(&["local", "out"])).is_err());
    }

    #[test]
    fn into_a_folder_or_as_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |text: &str| text.parse::<Location>().unwrap();
        let one = [at("//h/s/a")];
        let two = [at("//h/s/a"), at("//h/s/b")];
        let wild = [at("//h/s/*")];
        let new = folder.path().join("new");
        assert!(into_folder(folder.path(), &one).unwrap());
        assert!(!into_folder(&new, &one).unwrap());
        assert!(into_folder(&new, &two).unwrap());
        assert!(into_folder(&new, &wild).unwrap());
        assert!(into_folder(&folder.path().join("new/"), &one).unwrap());
        std::fs::write(&new, b"").unwrap();
        assert!(!into_folder(&new, &one).unwrap());
        assert!(into_folder(&new, &two).is_err());
        assert_eq!(place(&new, true, Some("a")).unwrap(), new.join("a"));
        assert_eq!(place(&new, true, None).unwrap(), new);
        assert!(place(&new, true, Some("..")).is_err());
    }

    #[test]
    fn one_share_at_a_time() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        assert!(same_share(&at("//H/S/a"), &at("smb://h/s/b")));
        assert!(!same_share(&at("//h/s/a"), &at("//h/t/b")));
        assert!(!same_share(&at("//h/s/a"), &at("//h:1/s/b")));
    }
}
