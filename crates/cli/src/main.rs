//! The Countersign binary.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod output;
mod password;
mod remote;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use commands::serve::ServeArguments;

/// Replies of 64 KiB and more come and go with every request; this allocator keeps
/// their pages, where the system's gives them back and faults them in anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A command that failed: what is said on standard error. Exit code 1; bad usage is 2.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments
        .command
        .unwrap_or(Command::Serve(Box::<ServeArguments>::default()));
    let outcome = match command {
        Command::Serve(arguments) => commands::serve::run(*arguments),
        Command::User(command) => commands::user::run(command),
        Command::Policy(command) => commands::policy::run(command),
        Command::Exception(command) => commands::exception::run(command),
        Command::Audit(command) => commands::audit::run(command),
        Command::Join(arguments) => commands::join::run(&arguments),
        Command::Sessions(arguments) => commands::sessions::run(&arguments),
        Command::Verify(arguments) => return commands::verify::run(&arguments),
        Command::Scan(arguments) => return commands::scan::run(&arguments),
        Command::Files(command) => commands::files::run(&command),
        Command::Config(command) => commands::config::run(&command),
    };
    match outcome.and_then(|()| output::unwritten().map_or(Ok(()), |why| Err(why.to_owned()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
    }
}
