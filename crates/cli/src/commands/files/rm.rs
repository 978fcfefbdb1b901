//! `countersign rm`.

use std::sync::Arc;

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{
    Cause, JOBS, Kind, Observer, Remote, RemoteError, Report, expand, remove_tree,
};

use crate::Outcome;
use crate::output::say_json;
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{conclude, of_path, report_json, run as run_remote};
use crate::remote::progress::Progress;

#[derive(Debug, Args)]
pub(crate) struct RmArguments {
    /// Files to remove; wildcards are followed
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    /// Folders with their content
    #[arg(short, long, short_alias = 'R')]
    recursive: bool,
    /// What is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// A line for each thing removed
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &RmArguments) -> Outcome {
    let prepared = arguments.connect.prepare_all(&arguments.locations)?;
    run_remote(
        async {
            let start = std::time::Instant::now();
            let mut report = Report::default();
            let progress: Arc<dyn Observer> =
                Arc::new(Progress::new(true, arguments.verbose && !arguments.json));
            for prepared in prepared {
                let share = prepared.share().await?;
                let location = &prepared.location;
                if location.path.is_empty() {
                    return Err(format!(
                        "{location} is a share: what is in it is named {location}/*"
                    ));
                }
                let found = match expand(&share, &location.path).await {
                    Ok(found) => found,
                    Err(error) if arguments.force && error.is_not_found() => continue,
                    Err(error) => return Err(of_path(&location.to_string(), &error)),
                };
                if found.is_empty() && !arguments.force {
                    return Err(format!("{location}: nothing fits"));
                }
                for one in found {
                    let folder = one.entry.kind == Kind::Folder;
                    if folder && !arguments.recursive {
                        let path = one.path.replace('\\', "/");
                        progress.failed(&path, "it is a folder: add --recursive, or use rmdir");
                        let mut failed = Report::default();
                        failed.failures.push(countersign_client::transfer::Failure {
                            path,
                            cause: Cause::Folder,
                        });
                        report.add(failed);
                    } else if folder {
                        let observer = Arc::clone(&progress);
                        report.add(remove_tree(&share, &one.path, JOBS, observer).await);
                    } else {
                        match Remote::remove_file(&share, &one.path).await {
                            Ok(()) => {
                                report.removed += 1;
                                progress.finished(&countersign_client::transfer::Done {
                                    remote: one.path,
                                    local: None,
                                    action: countersign_client::transfer::Action::Removed,
                                    bytes: 0,
                                });
                            }
                            Err(error) => {
                                let path = one.path.replace('\\', "/");
                                progress.failed(&path, &error.to_string());
                                report.failures.push(countersign_client::transfer::Failure {
                                    path,
                                    cause: Cause::Remote(error),
                                });
                            }
                        }
                    }
                }
            }
            if arguments.json {
                say_json(&report_json(&report, start.elapsed().as_secs_f64()))?;
            }
            conclude(&report, "removed")
        },
        "",
    )
}
