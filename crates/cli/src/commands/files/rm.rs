//! `countersign rm`.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{
    Action, Cause, Done, Found, JOBS, Kind, Observer, RemoteError, Report, expand, remove_one,
    remove_tree,
};
use countersign_client::{Error, Share};

use crate::Outcome;
use crate::output::{complain, say_json};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, misused, report_json, run as run_remote};
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
    let begin = Instant::now();
    for location in &arguments.locations {
        if location.path.is_empty() {
            misused(&format!(
                "{location} is a share or a host: what is in it is named {location}/*"
            ));
        }
    }
    let prepared = match arguments.connect.prepare_all(&arguments.locations) {
        Ok(prepared) => prepared,
        Err(why) => {
            if arguments.json {
                let trouble = Trouble::of("", why.clone());
                say_json(&report_json(&Report::default(), &[trouble], 0.0))?;
            }
            return Err(why);
        }
    };
    run_remote(
        async {
            let verbose = arguments.verbose && !arguments.json;
            let observer: Arc<dyn Observer> = Arc::new(Progress::new(true, verbose));
            let mut removal = Removal {
                arguments,
                observer,
                report: Report::default(),
                troubles: Vec::new(),
            };
            for prepared in &prepared {
                match prepared.share().await {
                    Ok(share) => removal.location(&share, &prepared.location).await,
                    Err(trouble) => removal.trouble(trouble),
                }
            }
            removal.end(begin)
        },
        "",
    )
}

/// What is removed, and what could not be.
struct Removal<'a> {
    arguments: &'a RmArguments,
    observer: Arc<dyn Observer>,
    report: Report<Error>,
    troubles: Vec<Trouble>,
}

impl Removal<'_> {
    fn trouble(&mut self, trouble: Trouble) {
        complain(&trouble.to_string());
        self.troubles.push(trouble);
    }

    async fn location(&mut self, share: &Share, location: &Location) {
        let found = match expand(share, &location.path).await {
            Ok(found) => found,
            Err(Cause::Remote(error)) if self.arguments.force && error.is_not_found() => return,
            Err(cause) => return self.trouble(Trouble::caused(location.to_string(), &cause)),
        };
        if found.is_empty() && !self.arguments.force {
            return self.trouble(Trouble::nothing_fits(location));
        }
        for one in found {
            self.one(share, one).await;
        }
    }

    async fn one(&mut self, share: &Share, one: Found) {
        let path = one.path.replace('\\', "/");
        if one.entry.kind == Kind::Folder {
            if !self.arguments.recursive {
                let text = "it is a folder: add --recursive, or use rmdir";
                return self.trouble(Trouble::of(path, text));
            }
            let observer = Arc::clone(&self.observer);
            let report = remove_tree(share, &one.path, JOBS, observer).await;
            return self.report.add(report);
        }
        match remove_one(share, &one.path, one.entry.kind).await {
            Ok(()) => {
                self.report.removed += 1;
                self.observer.finished(&Done {
                    remote: one.path,
                    local: None,
                    action: Action::Removed,
                    bytes: 0,
                });
            }
            // A pattern may have found it before somebody else removed it.
            Err(error) if self.arguments.force && error.is_not_found() => {}
            Err(error) => self.trouble(Trouble::at(path, &error)),
        }
    }

    fn end(self, begin: Instant) -> Outcome {
        if self.arguments.json {
            let seconds = begin.elapsed().as_secs_f64();
            say_json(&report_json(&self.report, &self.troubles, seconds))?;
        }
        match self.report.failures.len() + self.troubles.len() {
            0 => Ok(()),
            1 => Err("1 thing was not removed".to_owned()),
            many => Err(format!("{many} things were not removed")),
        }
    }
}
