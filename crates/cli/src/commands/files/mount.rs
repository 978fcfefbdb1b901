//! `countersign mount`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use countersign_client::location::Location;
use countersign_mount::{MountOptions, Mounted, mount};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Outcome;
use crate::output::{complain, say};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, interrupted, no_wildcards};
use crate::remote::session::Prepared;
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
    no_wildcards(&arguments.location);
    if !arguments.point.is_dir() {
        return Err(format!(
            "{} is not a folder, or was left by a mount that ended badly (`umount` it)",
            arguments.point.display()
        ));
    }
    let prepared = arguments.connect.prepare(&arguments.location)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let ended = runtime.block_on(arguments.mounted(&prepared));
    runtime.shutdown_timeout(Duration::from_secs(2));
    ended
}

impl MountArguments {
    fn options(&self, named: &str) -> MountOptions {
        MountOptions {
            name: named.to_owned(),
            read_only: self.read_only,
            allow_other: self.allow_other,
            uid: self.uid.unwrap_or(rustix::process::geteuid().as_raw()),
            gid: self.gid.unwrap_or(rustix::process::getegid().as_raw()),
            file_mode: self.file_mode,
            folder_mode: self.folder_mode,
            attribute_timeout: Duration::from_secs(self.cache),
        }
    }

    async fn mounted(&self, prepared: &Prepared) -> Outcome {
        let mut ends = Ends::new().map_err(|error| error.to_string())?;
        let named = prepared.location.to_string();
        let root = prepared.location.remote_path();
        let share = tokio::select! {
            share = prepared.share() => share?,
            _ = ends.next() => interrupted(""),
        };
        let entry = share.entry(&root).await;
        let entry = entry.map_err(|error| Trouble::at(&named, &error))?;
        if entry.kind != Kind::Folder {
            return Err(format!("{named} is not a folder"));
        }
        let (point, options) = (self.point.clone(), self.options(&named));
        let handle = tokio::runtime::Handle::current();
        let mounted =
            tokio::task::spawn_blocking(move || mount(share, &root, &point, options, handle))
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| {
                    format!(
                        "{} cannot be mounted: {error}; mounting needs /dev/fuse, and root or \
                         fusermount3 (package fuse3)",
                        self.point.display()
                    )
                })?;
        say(&format!("{named} is mounted on {}", self.point.display()));
        let mounted = Arc::new(mounted);
        let mut asked = false;
        loop {
            let end = tokio::select! {
                end = ends.next() => end,
                () = tokio::time::sleep(LOOK) => {
                    if mounted.is_over() {
                        return Ok(());
                    }
                    continue;
                }
            };
            // Asked a second time, or by who does not ask again.
            let detach = asked || end == End::Now;
            asked = true;
            let gone = {
                let mounted = Arc::clone(&mounted);
                tokio::task::spawn_blocking(move || mounted.unmount(detach))
            };
            match gone.await.map_err(|error| error.to_string())? {
                // What has it open still may keep it for ever.
                Ok(()) if detach => return Ok(()),
                Ok(()) => {
                    let last = Arc::into_inner(mounted);
                    let end = tokio::task::spawn_blocking(move || last.map(Mounted::join));
                    let ended = end.await.map_err(|error| error.to_string())?;
                    return match ended {
                        Some(Err(error)) => Err(format!("{}: {error}", self.point.display())),
                        _ => Ok(()),
                    };
                }
                Err(error) if error.kind() == ErrorKind::ResourceBusy => complain(&format!(
                    "{error}: somebody uses it (`fuser -m` or `lsof` tell who); once more Ctrl-C \
                     takes it away all the same"
                )),
                Err(error) => return Err(format!("{}: {error}", self.point.display())),
            }
        }
    }
}

/// How it is to end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// If nobody uses it.
    IfIdle,
    /// Whoever uses it.
    Now,
}

/// What ends a mount: Ctrl-C, SIGTERM, and a terminal that is closed unless that was
/// told not to matter (`nohup`).
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl Ends {
    fn new() -> std::io::Result<Ends> {
        let hang_up = (!hang_up_is_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Ends {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: hang_up.transpose()?,
        })
    }

    async fn next(&mut self) -> End {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => End::IfIdle,
            _ = self.terminate.recv() => End::Now,
            _ = hang_up => End::Now,
        }
    }
}

/// As proc(5) tells it: a mask with the lowest bit for SIGHUP.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
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
