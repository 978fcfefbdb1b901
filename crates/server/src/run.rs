//! A server from start to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::Server;
use countersign_fs::FileService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::admin::AdminSocket;
use crate::audit::{Auditor, CHECKPOINT};
use crate::config::snapshot::{listeners, shell_limits};
use crate::config::{ConfigError, Flags, ShareFlag, UserFlag};
use crate::control::{Control, Made, SetLog, Sources};
use crate::shell::{NameService, Shell, TokioHost, raise_file_limit};
use crate::users;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long connections may take to end at the stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was made up because nothing was said: a share, and a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeUp {
    /// The folder of the share `public`.
    pub folder: Option<PathBuf>,
    /// The user's name and password.
    pub user: Option<(String, String)>,
}

/// A running server.
pub struct Running {
    shell: Arc<Shell>,
    control: Arc<Control>,
    auditor: Arc<Auditor>,
    tasks: Vec<JoinHandle<()>>,
    made_up: MadeUp,
}

impl Running {
    /// Starts. Must be called inside a tokio runtime. `log` puts another log filter in
    /// force when the configuration changes.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub fn start(flags: Flags, log: Option<SetLog>) -> Result<Running, ConfigError> {
        raise_file_limit();
        let mut sources = Sources::new(flags, log)?;
        let (made, made_up) = make_first(&mut sources)?;
        let Made {
            config,
            server,
            deserted,
            stamps,
        } = made;
        if deserted {
            tracing::warn!("there are no users: nobody can log on (`countersign user add`)");
        }
        if server.smb1 {
            tracing::warn!("SMB1 is on: its signatures are weak, use it for old devices only");
        }
        let policy = &server.policy;
        if !policy.server_requires() {
            let mean = if policy.server_posture().announces() {
                "where the client agrees"
            } else {
                "where the client requires it"
            };
            tracing::warn!(
                "signing is not required: sessions are signed {mean}, and others can be hijacked"
            );
        }
        let host = Arc::new(TokioHost::current());
        let files = FileService::new(Arc::clone(&host) as _);
        let server = Server::new(server, files, host as _);
        let other = |error: String| ConfigError::Other(error);
        // A server whose records cannot be written serves: that is the writer's trouble.
        let local = sources.audit_policy(&config);
        let auditor = Auditor::start(&sources.state, &config.audit, &local).map_err(other)?;
        server.observe(Arc::clone(&auditor) as _);
        let shell = Shell::start(server, &listeners(&config), shell_limits(&config.limits))
            .map_err(|error| other(error.to_string()))?;
        let mut names = Vec::new();
        for address in &config.listen_name_service {
            let service = NameService::bind(*address, Arc::clone(shell.server()));
            names.push(service.map_err(|error| other(error.to_string()))?);
        }
        let shell = Arc::new(shell);
        let socket = AdminSocket::bind(&sources.state).map_err(|error| other(error.to_string()))?;
        let control = Control::new(
            Arc::clone(&shell),
            sources,
            (config, stamps),
            Arc::clone(&auditor),
        );
        let mut tasks = vec![
            tokio::spawn(socket.serve(Arc::clone(&control))),
            tokio::spawn(watch(Arc::clone(&control))),
            tokio::spawn(checkpoints(Arc::clone(&control))),
            tokio::spawn(crate::group_policy::run(Arc::clone(&control))),
        ];
        tasks.extend(
            names
                .into_iter()
                .map(|service| tokio::spawn(service.serve())),
        );
        Ok(Running {
            shell,
            control,
            auditor,
            tasks,
            made_up,
        })
    }

    /// The addresses served.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.shell.addresses()
    }

    /// What was made up.
    pub fn made_up(&self) -> &MadeUp {
        &self.made_up
    }

    /// Reload, policy, administration.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Serves until Ctrl-C or SIGTERM, then stops.
    ///
    /// # Errors
    /// When the signals cannot be waited for.
    pub async fn until_signal(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let which = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{which}: stopping");
        self.stop().await;
        Ok(())
    }

    /// Stops: no new connections, replies on their way are sent, opens are closed.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shell.stop(PATIENCE).await;
        for task in self.tasks {
            let _ = task.await;
        }
        let auditor = self.auditor;
        let _ = tokio::task::spawn_blocking(move || auditor.stop()).await;
    }
}

/// The first configuration; makes up a share and a user where nothing is said.
fn make_first(sources: &mut Sources) -> Result<(Made, MadeUp), ConfigError> {
    let mut made_up = MadeUp::default();
    let mut made = sources.make()?;
    if sources.flags.config.is_some() {
        return Ok((made, made_up));
    }
    let other = |error: String| ConfigError::Other(error);
    if made.config.share.is_empty() {
        let folder = fresh_folder(sources).map_err(other)?;
        made_up.folder = Some(folder.clone());
        sources.flags.shares.push(ShareFlag {
            name: "public".to_owned(),
            path: folder,
            read_only: false,
        });
        let file = users::load(&sources.user_file(&made.config))
            .map_err(|error| other(error.to_string()))?;
        if sources.flags.users.is_empty()
            && sources.flags.keytab.is_none()
            && file.users().next().is_none()
        {
            let (name, password) = ("user".to_owned(), password().map_err(other)?);
            let nt_hash = countersign_auth::NtHash::from_password(&password);
            sources.flags.users.push(UserFlag {
                name: name.clone(),
                nt_hash,
            });
            made_up.user = Some((name, password));
        }
        made = sources.make()?;
    }
    Ok((made, made_up))
}

/// A folder in the state folder that has nothing in it.
fn fresh_folder(sources: &Sources) -> Result<PathBuf, String> {
    for number in 1..u32::MAX {
        let name = if number == 1 {
            "public".to_owned()
        } else {
            format!("public-{number}")
        };
        let folder = sources.state.file(name);
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let empty = std::fs::read_dir(&folder).is_ok_and(|mut all| all.next().is_none());
                if empty {
                    return Ok(folder);
                }
            }
            Err(error) => return Err(format!("{}: {error}", folder.display())),
        }
    }
    Err("no free name for the shared folder".to_owned())
}

/// Sixteen characters that are not mistaken for one another: 92 bits.
fn password() -> Result<String, String> {
    const LETTERS: &[u8; 56] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut password = String::new();
    while password.len() < 16 {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
        // Of 256 values only a multiple of the letters is used: no letter is likelier.
        let usable = bytes
            .iter()
            .filter(|byte| usize::from(**byte) < LETTERS.len() * 4);
        let letters = usable.filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()));
        password.extend(
            letters
                .map(|letter| char::from(*letter))
                .take(16 - password.len()),
        );
    }
    Ok(password)
}

/// Notes from time to time what live sessions did.
async fn checkpoints(control: Arc<Control>) {
    let mut tick = tokio::time::interval(CHECKPOINT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        control.checkpoint().await;
    }
}

/// Reads files again when they change, and all of them on SIGHUP.
async fn watch(control: Arc<Control>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be waited for");
        return;
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: reading the configuration again");
                // What is wrong was logged.
                let _ = control.reload().await;
            }
            _ = look.tick() => control.look().await,
        }
    }
}
