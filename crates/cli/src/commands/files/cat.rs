//! `countersign cat`.

use std::io::{self, Write};

use clap::Args;
use countersign_client::Share;
use countersign_client::location::Location;
use countersign_client::transfer::{
    Cause, Kind, PIECE, Remote, RemoteFile, SMALL, Sink, WINDOW, Whole, expand, stream_down,
};

use crate::Outcome;
use crate::output::{end_with_reader, no_reader};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, run as run_remote};
use crate::remote::session::Prepared;

#[derive(Debug, Args)]
pub(crate) struct CatArguments {
    /// Files to write to standard output, one after the other
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &CatArguments) -> Outcome {
    let prepared = arguments.connect.prepare_all(&arguments.locations)?;
    run_remote(
        async {
            end_with_reader();
            let mut troubles = Troubles::default();
            for prepared in &prepared {
                let location = std::slice::from_ref(&prepared.location);
                show(prepared, location, &mut troubles).await;
            }
            troubles.end("not everything was written")
        },
        "",
    )
}

/// Writes files of one share to standard output.
pub(super) async fn stream(prepared: &Prepared, locations: &[Location]) -> Outcome {
    end_with_reader();
    let mut troubles = Troubles::default();
    show(prepared, locations, &mut troubles).await;
    troubles.end("not everything was written")
}

async fn show(prepared: &Prepared, locations: &[Location], troubles: &mut Troubles) {
    let Some(share) = troubles.take(prepared.share().await) else {
        return;
    };
    for location in locations {
        let mut paths = vec![location.remote_path()];
        if location.has_wildcards() {
            match expand(&share, &location.path).await {
                Ok(found) => {
                    let files = found.into_iter().filter(|one| one.entry.kind == Kind::File);
                    paths = files.map(|one| one.path).collect();
                    if paths.is_empty() {
                        troubles.add(&Trouble::nothing_fits(location));
                    }
                }
                Err(error) => {
                    paths.clear();
                    troubles.add(&Trouble::caused(location.to_string(), &error));
                }
            }
        }
        for path in paths {
            if let Err(why) = one(&share, &path).await {
                troubles.add(&Trouble::of(path.replace('\\', "/"), why));
            }
        }
    }
}

/// Standard output; a reader that has gone ends the command.
struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).inspect_err(no_reader)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().inspect_err(no_reader)
    }
}

/// Writes a file to standard output.
pub(super) async fn one(share: &Share, path: &str) -> Result<(), String> {
    let mut out: Sink = Box::new(Out);
    let limit = SMALL.min(share.whole_size());
    match share.read_whole(path, limit).await {
        Ok(Whole::Data { data, .. }) => {
            let written = tokio::task::spawn_blocking(move || {
                out.write_all(&data)?;
                out.flush()
            });
            let written = written.await.map_err(|error| error.to_string())?;
            written.map_err(|error| format!("standard output: {error}"))
        }
        Ok(Whole::Large(_)) => {
            let (file, entry) = share
                .open_read(path)
                .await
                .map_err(|error| error.to_string())?;
            let piece = PIECE.min(share.read_size());
            let copied = stream_down(&file, entry.size, piece, WINDOW, out).await;
            let closed = file.close().await;
            copied.map_err(|cause| match cause {
                Cause::Local(error) => format!("standard output: {error}"),
                other => other.to_string(),
            })?;
            closed.map_err(|error| error.to_string())
        }
        Ok(Whole::Folder) => Err("it is a folder: list it with `countersign ls`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
