//! The commands on remote files, one file each.

mod acl;
mod cat;
mod du;
mod find;
mod get;
mod ls;
mod mkdir;
mod mount;
mod mv;
mod put;
mod rm;
mod rmdir;
mod shares;
mod shell;
mod stat;
mod sync;
mod tree;
mod watch;

use clap::Subcommand;

use crate::Outcome;

/// Commands on the files of a server.
#[derive(Debug, Subcommand)]
pub(crate) enum FileCommand {
    /// List what is in a remote folder
    Ls(Box<ls::LsArguments>),
    /// Copy remote files and folders to here
    Get(Box<get::GetArguments>),
    /// Copy files and folders to a server
    Put(Box<put::PutArguments>),
    /// Make a remote folder like a local one, or a local one like a remote one
    Sync(Box<sync::SyncArguments>),
    /// Write remote files to standard output
    Cat(Box<cat::CatArguments>),
    /// Remove remote files
    Rm(Box<rm::RmArguments>),
    /// Move or rename remote files
    Mv(Box<mv::MvArguments>),
    /// Make remote folders
    Mkdir(Box<mkdir::MkdirArguments>),
    /// Remove empty remote folders
    Rmdir(Box<rmdir::RmdirArguments>),
    /// Show times, sizes and attributes of remote files, or of a share's volume
    Stat(Box<stat::StatArguments>),
    /// Add up the sizes in remote folders
    Du(Box<du::DuArguments>),
    /// Look for remote files
    Find(Box<find::FindArguments>),
    /// Draw a remote folder with everything below it
    Tree(Box<tree::TreeArguments>),
    /// Tell of changes in a remote folder
    Watch(Box<watch::WatchArguments>),
    /// List the shares of a server
    Shares(Box<shares::SharesArguments>),
    /// Show and change who may do what with a remote file
    Acl(Box<acl::AclArguments>),
    /// Work on a share with commands: history, completion
    Shell(Box<shell::ShellArguments>),
    /// Mount a share as a local folder (FUSE)
    Mount(Box<mount::MountArguments>),
}

pub(crate) fn run(command: &FileCommand) -> Outcome {
    match command {
        FileCommand::Ls(arguments) => ls::run(arguments),
        FileCommand::Get(arguments) => get::run(arguments),
        FileCommand::Put(arguments) => put::run(arguments),
        FileCommand::Sync(arguments) => sync::run(arguments),
        FileCommand::Cat(arguments) => cat::run(arguments),
        FileCommand::Rm(arguments) => rm::run(arguments),
        FileCommand::Mv(arguments) => mv::run(arguments),
        FileCommand::Mkdir(arguments) => mkdir::run(arguments),
        FileCommand::Rmdir(arguments) => rmdir::run(arguments),
        FileCommand::Stat(arguments) => stat::run(arguments),
        FileCommand::Du(arguments) => du::run(arguments),
        FileCommand::Find(arguments) => find::run(arguments),
        FileCommand::Tree(arguments) => tree::run(arguments),
        FileCommand::Watch(arguments) => watch::run(arguments),
        FileCommand::Shares(arguments) => shares::run(arguments),
        FileCommand::Acl(arguments) => acl::run(arguments),
        FileCommand::Shell(arguments) => shell::run(arguments),
        FileCommand::Mount(arguments) => mount::run(arguments),
    }
}
