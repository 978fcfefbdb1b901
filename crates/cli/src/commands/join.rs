//! `countersign join`.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;
use countersign_directory::join::{Join, Keytab, join};
use countersign_server::config::snapshot::netbios_name;
use countersign_server::config::{Config, DEFAULT_KEYTAB};
use countersign_server::group_policy::write_keytab;

use crate::Outcome;
use crate::output::say;
use crate::password::PasswordSource;

#[derive(Debug, Args)]
pub(crate) struct JoinArguments {
    /// DNS name of the domain
    domain: String,
    /// Who may add computers to the domain
    #[arg(long, short, value_name = "NAME", default_value = "Administrator")]
    user: String,
    #[command(flatten)]
    password: PasswordSource,
    /// Name of the machine's account [default: the host's name]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// DNS name of this machine [default: the account's name in the domain]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Distinguished name of the unit for the account [default: CN=Computers]
    #[arg(long, value_name = "DN")]
    unit: Option<String>,
    /// Domain controller to ask [default: as DNS says]
    #[arg(long, value_name = "NAME")]
    controller: Option<String>,
    /// Keytab that gets the keys; what it has of others is kept
    #[arg(long, value_name = "FILE", default_value = DEFAULT_KEYTAB)]
    keytab: PathBuf,
    /// Give an account that is there already a new password; whoever uses it with the
    /// old one is locked out
    #[arg(long)]
    reset: bool,
}

pub(crate) fn run(arguments: &JoinArguments) -> Outcome {
    let keytab = &arguments.keytab;
    let failed = |error: io::Error| format!("{}: {error}", keytab.display());
    // What cannot be written later is found out before anything is changed.
    let old = match fs::read(keytab) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let no_keytab = |error| format!("{}: {error}", keytab.display());
    let checked = Keytab::parse(&old).map_err(no_keytab)?;
    write_keytab(keytab, &checked.to_bytes()).map_err(failed)?;
    let name = arguments
        .account
        .clone()
        .unwrap_or_else(|| netbios_name(&Config::default()));
    let name = name.trim_end_matches('$').to_owned();
    let domain = arguments.domain.to_lowercase();
    let host = arguments
        .host
        .clone()
        .unwrap_or_else(|| format!("{}.{domain}", name.to_lowercase()));
    let password = arguments.password.existing(&arguments.user)?;
    let wanted = Join {
        domain: &domain,
        controller: arguments.controller.as_deref(),
        name: &name,
        host: &host,
        unit: arguments.unit.as_deref(),
        reset: arguments.reset,
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let joined = runtime
        .block_on(join(&wanted, &arguments.user, &password))
        .map_err(|error| match error.remedy() {
            Some(remedy) => format!("{error}\n  what helps: {remedy}"),
            None => error.to_string(),
        })?;
    let whole = checked
        .joined(&joined.entries, joined.new)
        .map_err(no_keytab)?;
    write_keytab(keytab, &whole.to_bytes()).map_err(|error| {
        format!(
            "{}: {error}; {} has a new password that nobody knows: join again with --reset",
            keytab.display(),
            joined.computer
        )
    })?;
    let what = if joined.new {
        "joined as"
    } else {
        "new password for"
    };
    say(&format!(
        "{what} {}; keys in {}",
        joined.computer,
        keytab.display()
    ));
    say(&format!(
        "in the configuration:\n\n[group-policy]\ndomain = \"{domain}\"\naccount = \"{}$\"\nkeytab = \"{}\"\nmachine-password-days = 30",
        name.to_uppercase(),
        keytab.display()
    ));
    Ok(())
}
