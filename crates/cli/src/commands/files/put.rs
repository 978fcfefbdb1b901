//! `countersign put`.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{
    Action, Direction, Done, Item, Kind, PIECE, Remote, RemoteError, RemoteFile, Report, WriteMode,
    copy, join, to_remote,
};
use countersign_client::{Error, Share};
use tokio::io::AsyncReadExt;

use super::get::all_different;
use crate::Outcome;
use crate::remote::copying::{CopyArguments, ExistingArguments};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, misused, new_name, run as run_remote};
use crate::remote::session::Prepared;

#[derive(Debug, Args)]
pub(crate) struct PutArguments {
    /// Files and folders to copy (`-` is standard input), then the location to copy to
    #[arg(required = true, value_name = "SOURCE... LOCATION")]
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
    let Some((target, sources @ [_, ..])) = arguments.paths.split_last() else {
        misused("name what is copied, and the location to copy to");
    };
    let target: Location = match target.parse() {
        Ok(target) => target,
        Err(error) => misused(&format!("{target}: {error}")),
    };
    if target.has_wildcards() {
        misused(&format!("{target}: a target cannot have wildcards"));
    }
    let stream = sources.iter().any(|source| source == "-");
    if stream {
        arguments.only_a_stream(sources.len());
    }
    let begin = Instant::now();
    let copying = &arguments.copying;
    let prepared = match arguments.connect.prepare(&target) {
        Ok(prepared) => prepared,
        Err(why) => return copying.end(begin, Err(why.into())),
    };
    let hint = if stream {
        "; what is there is not complete"
    } else {
        "; with --resume it goes on from here"
    };
    run_remote(
        async {
            let done = arguments.copy(&prepared, sources, &target).await;
            copying.end(begin, done)
        },
        hint,
    )
}

impl PutArguments {
    /// What has no meaning there is not passed over in silence.
    fn only_a_stream(&self, sources: usize) {
        let without = [
            (sources > 1, "another source"),
            (self.existing.resume, "--resume"),
            (self.existing.preserve, "--preserve"),
            (self.connect.password_stdin, "--password-stdin"),
        ];
        if let Some((_, other)) = without.iter().find(|(given, _)| *given) {
            misused(&format!("{other} cannot be had with standard input (`-`)"));
        }
    }

    async fn copy(
        &self,
        prepared: &Prepared,
        sources: &[String],
        target: &Location,
    ) -> Result<Report<Error>, Trouble> {
        let mut options = self.copying.options();
        options.recursive = self.recursive;
        self.existing.apply(&mut options);
        let single = sources.len() == 1 && !self.recursive;
        let number = if single {
            1
        } else {
            self.copying.connections()
        };
        let shares = prepared.shares(number).await?;
        let Some(share) = shares.first() else {
            return Err(Trouble::of("", "no connection"));
        };
        let into = into_folder(share, target, sources.len(), options.dry_run).await?;
        if !into {
            new_name(target)?;
        }
        if let [only] = sources
            && only == "-"
        {
            if into {
                return Err(Trouble::of(
                    target.to_string(),
                    "it is a folder: name a file for standard input",
                ));
            }
            return self.stream(share, target).await;
        }
        let mut items = Vec::new();
        for source in sources {
            items.push(Item {
                remote: place(target, into, Path::new(source))?,
                local: source.into(),
                entry: None,
            });
        }
        all_different(Direction::Up, &items)?;
        Ok(self
            .copying
            .show(|observer| async move {
                copy(&shares, Direction::Up, items, &options, observer).await
            })
            .await)
    }

    /// Copies standard input, whose length nobody knows.
    async fn stream(&self, share: &Share, target: &Location) -> Result<Report<Error>, Trouble> {
        let path = target.remote_path();
        let mut report = Report::default();
        let mode = if self.existing.keep {
            WriteMode::New
        } else {
            WriteMode::Replace
        };
        if self.copying.dry_run {
            report.files = 1;
        } else {
            match copy_stream(share, &path, mode).await {
                Ok(bytes) => {
                    report.files = 1;
                    report.bytes = bytes;
                }
                Err(Stopped::There) => report.skipped = 1,
                Err(Stopped::Remote(error)) => return Err(Trouble::at(target.to_string(), &error)),
                Err(Stopped::Full) => {
                    return Err(Trouble::of(target.to_string(), "the server writes nothing"));
                }
                Err(Stopped::Local(error)) => {
                    return Err(Trouble::of("standard input", error.to_string()));
                }
            }
        }
        let action = if report.skipped > 0 {
            Action::Skipped
        } else {
            Action::Copied
        };
        self.copying.tell(&Done {
            remote: path,
            local: None,
            action,
            bytes: report.bytes,
        });
        Ok(report)
    }
}

/// Whether what is copied goes into the target; a target with a slash at its end is
/// made if it is not there.
async fn into_folder(
    share: &Share,
    target: &Location,
    sources: usize,
    dry_run: bool,
) -> Result<bool, Trouble> {
    if target.path.is_empty() {
        return Ok(true);
    }
    let path = target.remote_path();
    let must = sources > 1 || target.folder;
    match share.entry(&path).await {
        Ok(entry) if entry.kind == Kind::Folder => Ok(true),
        Ok(_) if must => Err(Trouble::of(target.to_string(), "it is not a folder")),
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() && must => {
            new_name(target)?;
            if !dry_run {
                make_folders(share, &target.path).await?;
            }
            Ok(true)
        }
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(Trouble::at(target.to_string(), &error)),
    }
}

/// Makes a folder with those above it.
pub(super) async fn make_folders(share: &Share, parts: &[String]) -> Result<(), Trouble> {
    let mut path = String::new();
    for (at, part) in parts.iter().enumerate() {
        path = join(&path, part);
        match share.create_folder(&path).await {
            Ok(()) => {}
            Err(error) if error.is_exists() && at + 1 < parts.len() => {}
            Err(error) => {
                // It may be a folder already; and who may not make a folder may be let
                // through to one below it.
                let there = share.entry(&path).await;
                if !there.is_ok_and(|entry| entry.kind == Kind::Folder) {
                    return Err(Trouble::at(path.replace('\\', "/"), &error));
                }
            }
        }
    }
    Ok(())
}

fn place(target: &Location, into: bool, source: &Path) -> Result<String, Trouble> {
    let folder = target.remote_path();
    if !into {
        return Ok(folder);
    }
    let shown = || source.display().to_string();
    // `.` and `..` have names once they are looked up.
    let named = match source.file_name() {
        Some(_) => source.to_owned(),
        None => source
            .canonicalize()
            .map_err(|error| Trouble::of(shown(), error.to_string()))?,
    };
    let name = named
        .file_name()
        .ok_or_else(|| Trouble::of(shown(), "it has no name"))?;
    let name = to_remote(name).map_err(|error| Trouble::of(shown(), error.to_string()))?;
    Ok(join(&folder, name))
}

/// Why a stream was not copied.
enum Stopped {
    /// The file is there, and was to be kept.
    There,
    Remote(Error),
    Local(std::io::Error),
    /// The server takes no more.
    Full,
}

async fn copy_stream(share: &Share, path: &str, mode: WriteMode) -> Result<u64, Stopped> {
    use countersign_core::client::Payload;
    let (file, _) = match share.open_write(path, mode).await {
        Err(error) if mode == WriteMode::New && error.is_exists() => return Err(Stopped::There),
        other => other.map_err(Stopped::Remote)?,
    };
    let piece = PIECE.min(share.write_size());
    let mut input = tokio::io::stdin();
    let mut offset = 0;
    loop {
        let mut data = Vec::with_capacity(piece);
        while data.len() < piece {
            let left = (piece - data.len()) as u64;
            let read = (&mut input).take(left).read_buf(&mut data).await;
            if read.map_err(Stopped::Local)? == 0 {
                break;
            }
        }
        if data.is_empty() {
            break;
        }
        // A stream cannot be read again: what is not taken at once is kept.
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let written = file.write_at(offset, Payload::copy_of(rest)).await;
            let count = written.map_err(Stopped::Remote)?;
            if count == 0 {
                return Err(Stopped::Full);
            }
            offset += count as u64;
            rest = rest.get(count..).unwrap_or_default();
        }
    }
    file.close().await.map_err(Stopped::Remote)?;
    Ok(offset)
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
