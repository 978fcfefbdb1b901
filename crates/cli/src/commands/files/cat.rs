//! `countersign cat`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{
    Kind, PIECE, Remote, RemoteFile, SMALL, Sink, WINDOW, Whole, stream_down,
};

use crate::Outcome;
use crate::output::complain;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};
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
    let mut prepared = Vec::new();
    for location in &arguments.locations {
        prepared.push((arguments.connect.prepare(location)?, location));
    }
    run_remote(
        async {
            for (prepared, location) in &prepared {
                stream(prepared, std::slice::from_ref(*location)).await?;
            }
            Ok(())
        },
        "",
    )
}

/// Writes files to standard output.
pub(super) async fn stream(prepared: &Prepared, locations: &[Location]) -> Outcome {
    let share = prepared.share().await?;
    let mut failed = false;
    for location in locations {
        let mut paths = vec![location.remote_path()];
        if location.has_wildcards() {
            let found = countersign_client::transfer::expand(&share, &location.path)
                .await
                .map_err(|error| of_path(&location.to_string(), &error))?;
            if found.is_empty() {
                return Err(format!("{location}: nothing fits"));
            }
            let files = found.into_iter().filter(|one| one.entry.kind == Kind::File);
            paths = files.map(|one| one.path).collect();
        }
        for path in paths {
            if let Err(why) = one(&share, &path).await {
                complain(&format!("{}: {why}", path.replace('\\', "/")));
                failed = true;
            }
        }
    }
    if failed {
        return Err("not everything was written".to_owned());
    }
    Ok(())
}

async fn one(share: &countersign_client::Share, path: &str) -> Result<(), String> {
    let mut out: Sink = Box::new(std::io::stdout());
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
            copied.map_err(|cause| cause.to_string())?;
            closed.map_err(|error| error.to_string())
        }
        Ok(Whole::Folder) => Err("it is a folder: list it with `countersign ls`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
