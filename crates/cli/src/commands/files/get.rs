//! `countersign get`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use countersign_client::Error;
use countersign_client::glob::folded;
use countersign_client::location::Location;
use countersign_client::transfer::{Direction, Item, Report, check_from_remote, copy, expand};

use crate::Outcome;
use crate::remote::copying::{CopyArguments, ExistingArguments};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, misused, run as run_remote};
use crate::remote::session::Prepared;

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
    let (sources, target) = match take_apart(&arguments.paths) {
        Ok(parts) => parts,
        Err(why) => misused(&why),
    };
    let Some(first) = sources.first() else {
        misused("no location to copy from");
    };
    if let Some(other) = sources.iter().find(|one| !same_share(one, first)) {
        misused(&format!(
            "{other} is not on the share of {first}: copy from one share at a time"
        ));
    }
    let first = named_best(&sources).unwrap_or(first);
    let copying = &arguments.copying;
    let begin = Instant::now();
    if target == Path::new("-") {
        arguments.to_standard_output();
        let prepared = arguments.connect.prepare(first)?;
        return run_remote(super::cat::stream(&prepared, &sources), "");
    }
    let prepared = match arguments.connect.prepare(first) {
        Ok(prepared) => prepared,
        Err(why) => return copying.end(begin, Err(why.into())),
    };
    run_remote(
        async {
            let done = arguments.copy(&prepared, &sources, &target).await;
            copying.end(begin, done)
        },
        "; with --resume it goes on from here",
    )
}

impl GetArguments {
    /// What has no meaning there is not passed over in silence.
    fn to_standard_output(&self) {
        let without = [
            (self.copying.json, "--json"),
            (self.copying.dry_run, "--dry-run"),
            (self.existing.resume, "--resume"),
            (self.existing.keep, "--keep"),
            (self.existing.preserve, "--preserve"),
            (self.recursive, "--recursive"),
        ];
        if let Some((_, option)) = without.iter().find(|(given, _)| *given) {
            misused(&format!("{option} has no meaning for standard output"));
        }
    }

    async fn copy(
        &self,
        prepared: &Prepared,
        sources: &[Location],
        target: &Path,
    ) -> Result<Report<Error>, Trouble> {
        let mut options = self.copying.options();
        options.recursive = self.recursive;
        self.existing.apply(&mut options);
        let single = match sources {
            [one] => !one.has_wildcards() && !self.recursive,
            _ => false,
        };
        let number = if single {
            1
        } else {
            self.copying.connections()
        };
        let shares = prepared.shares(number).await?;
        let Some(share) = shares.first() else {
            return Err(Trouble::of("", "no connection"));
        };
        let into = into_folder(target, sources)?;
        let mut items = Vec::new();
        for source in sources {
            if !source.has_wildcards() {
                items.push(Item {
                    remote: source.remote_path(),
                    local: place(target, into, source.name())?,
                    entry: None,
                });
                continue;
            }
            let found = expand(share, &source.path)
                .await
                .map_err(|error| Trouble::caused(source.to_string(), &error))?;
            if found.is_empty() {
                return Err(Trouble::nothing_fits(source));
            }
            for one in found {
                items.push(Item {
                    local: place(target, true, Some(&one.entry.name))?,
                    remote: one.path,
                    entry: Some(one.entry),
                });
            }
        }
        all_different(Direction::Down, &items)?;
        if into && !options.dry_run {
            std::fs::create_dir_all(target)
                .map_err(|error| Trouble::of(target.display().to_string(), error.to_string()))?;
        }
        Ok(self
            .copying
            .show(|observer| async move {
                copy(&shares, Direction::Down, items, &options, observer).await
            })
            .await)
    }
}

/// Two things that would become one file are a mistake, found before anything is
/// copied. A share does not tell apart what differs in case alone.
pub(crate) fn all_different(direction: Direction, items: &[Item]) -> Result<(), Trouble> {
    let mut seen = std::collections::HashSet::new();
    for item in items {
        let (key, source) = match direction {
            Direction::Down => (
                item.local.display().to_string(),
                item.remote.replace('\\', "/"),
            ),
            Direction::Up => (folded(&item.remote), item.local.display().to_string()),
        };
        if !seen.insert(key) {
            return Err(Trouble::of(
                source,
                "another of the things to copy has the same name: copy them to different folders",
            ));
        }
    }
    Ok(())
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

/// Whether two locations are on one share, as one user. Who is not named is nobody else.
pub(super) fn same_share(a: &Location, b: &Location) -> bool {
    use countersign_client::glob::same_name;
    let user = match (&a.user, &b.user) {
        (Some(one), Some(other)) => one == other && a.domain == b.domain,
        _ => true,
    };
    user && same_name(&a.host, &b.host)
        && a.port == b.port
        && same_name(
            a.share.as_deref().unwrap_or(""),
            b.share.as_deref().unwrap_or(""),
        )
}

/// Of locations on one share the one that says most about who logs on.
pub(super) fn named_best(locations: &[Location]) -> Option<&Location> {
    let with = |test: fn(&Location) -> bool| locations.iter().find(|one| test(one));
    with(|one| one.password.is_some()).or_else(|| with(|one| one.user.is_some()))
}

/// Whether what is copied goes into the target rather than becoming it.
fn into_folder(target: &Path, sources: &[Location]) -> Result<bool, Trouble> {
    let slash = target.as_os_str().to_string_lossy().ends_with('/');
    let many = sources.len() > 1 || sources.iter().any(Location::has_wildcards);
    let is_folder = target.is_dir();
    if target.exists() && !is_folder && (many || slash) {
        let path = target.display().to_string();
        return Err(Trouble::of(path, "it is not a folder"));
    }
    Ok(is_folder || many || slash)
}

/// Where a source goes. The root of a share has no name of its own: its content goes
/// to the target itself.
fn place(target: &Path, into: bool, name: Option<&str>) -> Result<PathBuf, Trouble> {
    match name {
        Some(name) if into => {
            check_from_remote(name).map_err(|error| Trouble::of(name, error.to_string()))?;
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
        assert!(same_share(&at("smb://a@h/s/a"), &at("//h/s/b")));
        assert!(!same_share(&at("smb://a@h/s/a"), &at("smb://b@h/s/b")));
        let both = [at("//h/s"), at("smb://a@h/s"), at("smb://a:p@h/s")];
        assert_eq!(named_best(&both), both.get(2));
    }

    #[test]
    fn two_files_do_not_become_one() {
        let item = |remote: &str| Item {
            remote: remote.to_owned(),
            local: Path::new("out").join(remote.rsplit('\\').next().unwrap()),
            entry: None,
        };
        let (one, other) = (item("a\\x"), item("b\\y"));
        assert!(all_different(Direction::Down, &[one.clone(), other.clone()]).is_ok());
        let twin = item("b\\x");
        let error = all_different(Direction::Down, &[one, other, twin]).unwrap_err();
        assert!(error.to_string().starts_with("b/x: "), "{error}");
        let (one, other) = (item("d\\x"), item("D\\X"));
        assert!(all_different(Direction::Up, &[one, other]).is_err());
    }
}
