//! The commands on remote files, one file each.

pub(crate) mod acl;
pub(crate) mod cat;
pub(crate) mod du;
pub(crate) mod find;
pub(crate) mod get;
pub(crate) mod ls;
pub(crate) mod mkdir;
pub(crate) mod mount;
pub(crate) mod mv;
pub(crate) mod put;
pub(crate) mod rm;
pub(crate) mod rmdir;
pub(crate) mod shares;
pub(crate) mod shell;
pub(crate) mod stat;
pub(crate) mod sync;
pub(crate) mod tree;
pub(crate) mod watch;
