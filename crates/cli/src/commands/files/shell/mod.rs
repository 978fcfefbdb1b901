//! `countersign shell`.

mod completion;
mod line;
mod verbs;

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use countersign_client::location::Location;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::Outcome;
use crate::output::{complain, say};
use crate::remote::login::ConnectArguments;

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
    Quit,
}

pub(crate) fn run(arguments: &ShellArguments) -> Outcome {
    let prepared = arguments.connect.prepare(&arguments.location)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let share = runtime.block_on(prepared.share())?;
    let mut session = Session::new(share, prepared.location.path.clone());
    let once = |session: &mut Session, text: &str| -> After {
        runtime.block_on(async {
            tokio::select! {
                after = command(session, text) => after,
                _ = tokio::signal::ctrl_c() => {
                    complain("interrupted");
                    After::Failed
                }
            }
        })
    };
    if let Some(commands) = &arguments.command {
        return all(commands.split(';'), |text| once(&mut session, text));
    }
    if !std::io::stdin().is_terminal() {
        let lines = std::io::stdin().lock().lines();
        let lines: Vec<String> = lines
            .collect::<Result<_, _>>()
            .map_err(|error| format!("standard input: {error}"))?;
        return all(lines.iter().map(String::as_str), |text| {
            once(&mut session, text)
        });
    }
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<Names, FileHistory> =
        Editor::with_history(config, FileHistory::new()).map_err(|error| error.to_string())?;
    editor.set_helper(Some(Names::new(runtime.handle().clone(), &session)));
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
                if once(&mut session, &text) == After::Quit {
                    break;
                }
                if let Some(names) = editor.helper_mut() {
                    names.moved(&session);
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    if let Some(file) = &history {
        let _ = editor.save_history(file);
    }
    Ok(())
}

/// Runs commands that nobody types: all of them must succeed.
fn all<'a>(lines: impl Iterator<Item = &'a str>, mut once: impl FnMut(&str) -> After) -> Outcome {
    let mut failed = 0;
    for text in lines {
        match once(text) {
            After::Done => {}
            After::Failed => failed += 1,
            After::Quit => break,
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err("1 command failed".to_owned()),
        many => Err(format!("{many} commands failed")),
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
