//! `countersign serve`.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use countersign_core::config::Dialect;
use countersign_policy::{Profile, Role, Settings};
use countersign_server::Running;
use countersign_server::config::flags::{parse_listen, parse_word};
use countersign_server::config::schema::LoggingSection;
use countersign_server::config::{Config, Flags, LogFormat, ShareFlag, UserFlag};
use countersign_server::control::SetLog;
use tracing_subscriber::EnvFilter;

use crate::Outcome;
use crate::commands::policy::{Assignment, parse_assignment};
use crate::output::say;

#[derive(Debug, Default, Args)]
pub(crate) struct ServeArguments {
    /// Configuration file; see docs/configuration.md
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State folder: users, local policy, identity of the server
    /// [default: $XDG_STATE_HOME/countersign, or /var/lib/countersign as root]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Address to listen on; may be repeated. Port 0 takes a free one, port 139 speaks
    /// the NetBIOS session service [default: 127.0.0.1:4450]
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_listen)]
    listen: Vec<SocketAddr>,
    /// Folder to share; may be repeated
    #[arg(long, value_name = "NAME=PATH[,ro]")]
    share: Vec<ShareFlag>,
    /// User for trying out: other users of this machine can see the password. The user
    /// file (`countersign user add`) is the place for real ones
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Vec<UserFlag>,
    /// Keys of cifs/HOST: users of the domain log on with Kerberos
    #[arg(long, value_name = "FILE")]
    keytab: Option<PathBuf>,
    /// Speak SMB1, for old devices
    #[arg(long)]
    smb1: bool,
    /// Lowest dialect: smb1, 2.0.2, 2.1, 3.0, 3.0.2, 3.1.1
    #[arg(long, value_name = "D", value_parser = parse_word::<Dialect>)]
    min_dialect: Option<Dialect>,
    /// Highest dialect
    #[arg(long, value_name = "D", value_parser = parse_word::<Dialect>)]
    max_dialect: Option<Dialect>,
    /// Local policy of this process: server-always, server-if-client-agrees, client-always,
    /// client-if-server-agrees = enabled, disabled, not-defined; may be repeated
    #[arg(long, value_name = "SETTING=VALUE", value_parser = parse_assignment)]
    policy: Vec<Assignment>,
    /// What this machine is: stand-alone, member, domain-controller, client
    #[arg(long, value_parser = parse_word::<Role>)]
    role: Option<Role>,
    /// Defaults of the policy: secure, balanced, windows-10, windows-11-24h2,
    /// windows-server-2025
    #[arg(long, value_parser = parse_word::<Profile>)]
    profile: Option<Profile>,
    /// What is logged, as `debug` or `info,countersign_core=trace`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl ServeArguments {
    fn flags(self) -> Flags {
        let mut policy = Settings::default();
        for assignment in self.policy {
            policy.set(assignment.setting, assignment.value);
        }
        Flags {
            config: self.config,
            state: self.state,
            listen: self.listen,
            shares: self.share,
            users: self.user,
            keytab: self.keytab,
            smb1: self.smb1,
            min_dialect: self.min_dialect,
            max_dialect: self.max_dialect,
            policy,
            role: self.role,
            profile: self.profile,
            log: self.log,
        }
    }
}

pub(crate) fn run(arguments: ServeArguments) -> Outcome {
    let flags = arguments.flags();
    let file = match &flags.config {
        Some(file) => Config::load(file).map_err(|error| error.to_string())?,
        None => Config::default(),
    };
    let log = start_log(&flags.over(file)?.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let running = Running::start(flags, Some(log)).map_err(|error| error.to_string())?;
        for address in running.addresses() {
            say(&format!("listening on {address}"));
        }
        tell(&running);
        running
            .until_signal()
            .await
            .map_err(|error| error.to_string())
    })
}

pub(crate) fn check_filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| format!("log filter `{filter}`: {error}"))
}

/// Starts the log; what comes back changes its filter.
fn start_log(logging: &LoggingSection) -> Result<SetLog, String> {
    let filter = check_filter(&logging.filter)?;
    let log = tracing_subscriber::fmt()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let reload = |error: tracing_subscriber::reload::Error| error.to_string();
    Ok(match logging.format {
        LogFormat::Text => {
            let log = log.with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(check_filter(filter)?).map_err(reload))
        }
        LogFormat::Json => {
            let log = log.json().with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(check_filter(filter)?).map_err(reload))
        }
    })
}

/// How to connect, where something was made up.
fn tell(running: &Running) {
    let made_up = running.made_up();
    let Some(folder) = &made_up.folder else {
        return;
    };
    let Some(address) = running.addresses().first() else {
        return;
    };
    say(&format!("sharing {} as `public`", folder.display()));
    let host = match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv6() => "::1".to_owned(),
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let port = address.port();
    let Some((user, password)) = &made_up.user else {
        return;
    };
    let in_url = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    // In a UNC path colons cannot stand: [MS-DTYP] 2.2.57 has this form.
    let in_unc = match host.contains(':') {
        true => format!("{}.ipv6-literal.net", host.replace(':', "-")),
        false => host.clone(),
    };
    say(&format!("user `{user}` with the password {password}"));
    say("");
    say("Linux:    connect with");
    say(&format!(
        "  smbclient //{host}/public -p {port} -U '{user}%{password}'"
    ));
    say("Windows 11 24H2, Windows Server 2025 and later:");
    say(&format!(
        "  net use * \\\\{in_unc}\\public /user:{user} {password} /TCPPORT:{port}"
    ));
    say("macOS (asks for the password):");
    say(&format!("  open smb://{user}@{in_url}:{port}/public"));
    say("");
    say("Ctrl-C stops.");
}
