//! `countersign shell`.

mod completion;
mod line;
mod verbs;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use countersign_client::location::Location;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::output::{complain, say};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{INTERRUPTED, Trouble, interrupted, no_wildcards};
use crate::remote::session::Prepared;

use completion::Names;
use verbs::Session;

#[derive(Debug, Args)]
pub(crate) struct ShellArguments {
    /// The share, or a folder on it to begin in
    #[arg(value_name = "LOCATION")]
    location: Location,
    /// Run these commands, divided by `;`, instead of asking for some
    #[arg(short, long, value_name = "COMMANDS")]
    command: Option<String>,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// What becomes of the shell after a command.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Done,
    Failed,
    Interrupted,
    Quit,
}

pub(crate) fn run(arguments: &ShellArguments) -> Outcome {
    no_wildcards(&arguments.location);
    let prepared = arguments.connect.prepare(&arguments.location)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let begun = runtime.block_on(async {
        tokio::select! {
            session = begin(&prepared) => session,
            _ = tokio::signal::ctrl_c() => interrupted(""),
        }
    });
    let mut session = begun?;
    if let Some(commands) = &arguments.command {
        let commands = line::commands(commands);
        let outcome = runtime.block_on(async {
            let mut script = Script::default();
            for text in commands {
                if script.run(&mut session, text).await {
                    break;
                }
            }
            script.end()
        });
        runtime.shutdown_timeout(AT_END);
        return outcome;
    }
    if !std::io::stdin().is_terminal() {
        let outcome = runtime.block_on(piped(&mut session));
        // What still reads standard input must not hold the process.
        runtime.shutdown_timeout(AT_END);
        return outcome;
    }
    typed(&runtime, &mut session)
}

/// How long is waited at the end for what still runs.
const AT_END: Duration = Duration::from_millis(500);

/// The share, in the location's folder, if that is one.
async fn begin(prepared: &Prepared) -> Result<Session, Trouble> {
    let share = prepared.share().await?;
    let mut session = Session::new(share, Vec::new());
    let location = &prepared.location;
    if !location.path.is_empty() {
        let path = format!("/{}", location.path.join("/"));
        let gone = session.run("cd", &[path]).await;
        gone.map_err(|why| Trouble::of(location.to_string(), why))?;
    }
    Ok(session)
}

/// Commands from a pipe or a file, each run as soon as it is there.
async fn piped(session: &mut Session) -> Outcome {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut script = Script::default();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            _ = tokio::signal::ctrl_c() => interrupted(""),
        };
        match line.map_err(|error| format!("standard input: {error}"))? {
            Some(text) => {
                if script.run(session, &text).await {
                    break;
                }
            }
            None => break,
        }
    }
    script.end()
}

/// Commands that nobody types: all of them must succeed.
#[derive(Debug, Default)]
struct Script {
    failed: u64,
}

impl Script {
    /// Runs a command; whether it was the last.
    async fn run(&mut self, session: &mut Session, text: &str) -> bool {
        match once(session, text).await {
            After::Done => {}
            After::Failed => self.failed += 1,
            After::Interrupted => std::process::exit(INTERRUPTED),
            After::Quit => return true,
        }
        false
    }

    fn end(&self) -> Outcome {
        match self.failed {
            0 => Ok(()),
            1 => Err("1 command failed".to_owned()),
            many => Err(format!("{many} commands failed")),
        }
    }
}

/// Commands from a terminal.
fn typed(runtime: &Runtime, session: &mut Session) -> Outcome {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<Names, FileHistory> =
        Editor::with_history(config, FileHistory::new()).map_err(|error| error.to_string())?;
    editor.set_helper(Some(Names::new(runtime.handle().clone(), session)));
    let history = history_file();
    if let Some(file) = &history {
        let _ = editor.load_history(file);
    }
    say(&format!(
        "{}; `help` tells the commands",
        session.describe()
    ));
    loop {
        let prompt = format!("{}> ", session.place());
        match editor.readline(prompt.as_str()) {
            Ok(text) => {
                // What is typed is kept whatever becomes of the program.
                if let Some(file) = &history {
                    let _ = editor.append_history(file);
                }
                if runtime.block_on(once(session, &text)) == After::Quit {
                    break;
                }
                if let Some(names) = editor.helper_mut() {
                    names.moved(session);
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Runs a command until it is done or Ctrl-C comes.
async fn once(session: &mut Session, text: &str) -> After {
    tokio::select! {
        after = command(session, text) => after,
        _ = tokio::signal::ctrl_c() => {
            complain("interrupted");
            After::Interrupted
        }
    }
}

async fn command(session: &mut Session, text: &str) -> After {
    let words = match line::words(text) {
        Ok(words) => words,
        Err(why) => {
            complain(why);
            return After::Failed;
        }
    };
    let Some((verb, rest)) = words.split_first() else {
        return After::Done;
    };
    if verb.starts_with('#') {
        return After::Done;
    }
    if matches!(verb.as_str(), "quit" | "exit" | "q" | "bye") {
        return After::Quit;
    }
    match session.run(verb, rest).await {
        Ok(()) => After::Done,
        Err(why) => {
            complain(&why);
            After::Failed
        }
    }
}

/// In the state folder, for its owner alone; without one nothing is kept.
fn history_file() -> Option<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt;
    let state = countersign_server::state::State::at(None);
    state.create().ok()?;
    let file = state.file("shell-history");
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&file)
        .ok()?;
    Some(file)
}
