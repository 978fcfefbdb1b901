//! The answering side.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Answer, Request, socket};
use crate::control::Control;
use crate::state::{State, StateError};

/// Longest request.
const REQUEST: u64 = 64 << 10;
/// Requests served at once.
const AT_ONCE: usize = 16;
/// Time a peer has for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time an answer may take: asking for Group Policy asks others.
const LONGEST: Duration = Duration::from_secs(130);

/// The admin socket of this process; removed when dropped.
pub struct AdminSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl AdminSocket {
    /// Binds `admin-PID.sock` in the state folder, mode 0600.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn bind(state: &State) -> Result<Self, StateError> {
        let path = state.file(format!("admin-{}.sock", std::process::id()));
        let bound = (|| {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = socket::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        })();
        match bound {
            Ok(listener) => Ok(Self { path, listener }),
            Err(source) => Err(StateError { path, source }),
        }
    }

    /// Answers until cancelled.
    pub async fn serve(self, control: Arc<Control>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) if !may_administer(&stream) => {
                    tracing::warn!("admin socket: a peer of another user was turned away");
                }
                Ok((stream, _)) => {
                    let control = Arc::clone(&control);
                    tokio::spawn(async move {
                        answer(stream, &control).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin socket");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Only root and the user the server runs as; the mode of the socket says so too, but
/// not in the moment between making it and setting its mode.
fn may_administer(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, control: &Control) {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST));
    match timeout(PATIENCE, read.read_line(&mut line)).await {
        Ok(Ok(_)) => {}
        _ => return,
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => timeout(LONGEST, control.answer(request))
            .await
            .unwrap_or_else(|_| Answer::Failed {
                error: format!("no end within {} s", LONGEST.as_secs()),
            }),
        Err(error) => Answer::Failed {
            error: error.to_string(),
        },
    };
    let Ok(mut text) = serde_json::to_string(&answer) else {
        return;
    };
    text.push('\n');
    // A peer that no longer listens does not matter.
    let _ = timeout(PATIENCE, async {
        write.write_all(text.as_bytes()).await?;
        write.shutdown().await
    })
    .await;
}
