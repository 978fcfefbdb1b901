//! `countersign mount`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use countersign_client::location::Location;
use countersign_mount::{MountOptions, mount};
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;
use crate::output::say;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::of_path;
use countersign_client::transfer::{Kind, Remote};

/// How often is looked whether somebody else unmounted it.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(crate) struct MountArguments {
    /// The share, or a folder on it
    #[arg(value_name = "LOCATION")]
    location: Location,
    /// The folder to mount it on
    #[arg(value_name = "FOLDER")]
    point: PathBuf,
    /// Nothing may be changed
    #[arg(short, long)]
    read_only: bool,
    /// Other users of this machine may use it (everybody with this logon)
    #[arg(long)]
    allow_other: bool,
    /// Whose the files are shown to be [default: who mounts]
    #[arg(long, value_name = "ID")]
    uid: Option<u32>,
    /// Whose group [default: the group of who mounts]
    #[arg(long, value_name = "ID")]
    gid: Option<u32>,
    /// Permissions of files, octal
    #[arg(long, value_name = "MODE", value_parser = parse_mode, default_value = "644")]
    file_mode: u16,
    /// Permissions of folders, octal
    #[arg(long, value_name = "MODE", value_parser = parse_mode, default_value = "755")]
    folder_mode: u16,
    /// Seconds for which names and attributes are kept
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    cache: u64,
    #[command(flatten)]
    connect: ConnectArguments,
}

fn parse_mode(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "octal permissions from 0 to 777".to_owned())
}

pub(crate) fn run(arguments: &MountArguments) -> Outcome {
    if !arguments.point.is_dir() {
        return Err(format!("{} is not a folder", arguments.point.display()));
    }
    let prepared = arguments.connect.prepare(&arguments.location)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let ended = runtime.block_on(async {
        let mut hang_up = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let share = prepared.share().await?;
        let root = prepared.location.remote_path();
        let entry = share.entry(&root).await;
        let named = prepared.location.to_string();
        let entry = entry.map_err(|error| of_path(&named, &error))?;
        if entry.kind != Kind::Folder {
            return Err(format!("{named} is not a folder"));
        }
        let options = MountOptions {
            name: named.clone(),
            read_only: arguments.read_only,
            allow_other: arguments.allow_other,
            uid: arguments.uid.unwrap_or(rustix::process::geteuid().as_raw()),
            gid: arguments.gid.unwrap_or(rustix::process::getegid().as_raw()),
            file_mode: arguments.file_mode,
            folder_mode: arguments.folder_mode,
            attribute_timeout: Duration::from_secs(arguments.cache),
        };
        let point = arguments.point.clone();
        let handle = tokio::runtime::Handle::current();
        let mounted =
            tokio::task::spawn_blocking(move || mount(share, &root, &point, options, handle))
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| {
                    format!(
                        "{} cannot be mounted: {error}; mounting needs /dev/fuse, and root or \
                         fusermount3 (package fuse3)",
                        arguments.point.display()
                    )
                })?;
        say(&format!(
            "{named} is mounted on {}",
            arguments.point.display()
        ));
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                _ = hang_up.recv() => break,
                () = tokio::time::sleep(LOOK) => {
                    if mounted.is_over() {
                        return Ok(());
                    }
                }
            }
        }
        tokio::task::spawn_blocking(move || mounted.unmount())
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{}: {error}", arguments.point.display()))
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("640"), Ok(0o640));
        assert!(parse_mode("8").is_err() && parse_mode("1777").is_err());
    }
}
