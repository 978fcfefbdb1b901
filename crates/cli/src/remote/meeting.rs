//! What a meeting with a server is worth telling the audit's sinks of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_audit::{ClientSwitches, ServerSeen, Sink, SinkConfig, client_events};
use countersign_client::{CloseReason, Connection, Encryption, Error, Identity, Reason};
use countersign_core::config::Dialect;
use countersign_server::audit::{client_switches, local_policy, sinks};
use countersign_server::config::{Config, Word as _};
use countersign_server::state::State;
use countersign_server::store::now_ms;

use crate::output::complain;

/// The client's audit switches, and where their events go; told of a server once.
#[derive(Clone)]
pub(super) struct Meetings {
    switches: ClientSwitches,
    sinks: SinkConfig,
    /// Encryption was asked for, in a dialect that has it.
    asked_to_encrypt: bool,
    /// Who logs on.
    user: String,
    told: Arc<AtomicBool>,
}

impl Meetings {
    pub(super) fn new(
        state: &State,
        config: &Config,
        (encryption, highest): (Encryption, Dialect),
        user: &str,
    ) -> Self {
        let sinks = if config.audit.enabled {
            sinks(&config.audit, state)
        } else {
            SinkConfig::default()
        };
        // Without a sink nobody would read them.
        let switches = if sinks == SinkConfig::default() {
            ClientSwitches::default()
        } else {
            client_switches(&config.audit, &local_policy(state, config))
        };
        Self {
            switches,
            sinks,
            asked_to_encrypt: encryption != Encryption::Off && highest >= Dialect::Smb300,
            // `NAME%PASSWORD` is written by some.
            user: user.split('%').next().unwrap_or_default().to_owned(),
            told: Arc::default(),
        }
    }

    /// A connection was made.
    pub(super) fn connected(&self, connection: &Connection) {
        let info = connection.info();
        self.tell(&ServerSeen {
            server: info.server,
            user: self.user.clone(),
            dialect: info.dialect.word().to_owned(),
            // Every implementation of SMB 2 and 3 can sign.
            can_sign: info.dialect != Dialect::Smb1 || info.server_signing.enabled || info.signed,
            can_encrypt: !self.asked_to_encrypt || info.cipher.is_some(),
            guest: info.identity == Identity::Guest,
            failure: None,
        });
    }

    /// The client gave up. Only what the server could not do is told of.
    pub(super) fn failed(&self, server: &str, error: &Error) {
        let reason = error.policy_reason();
        self.tell(&ServerSeen {
            server: server.to_owned(),
            user: self.user.clone(),
            dialect: String::new(),
            can_sign: !matches!(
                reason,
                Some(
                    Reason::FinalResponseUnsigned
                        | Reason::ResponseUnsigned
                        | Reason::NoKeyUnderRequired
                )
            ),
            can_encrypt: !(self.asked_to_encrypt && is_about(error, "cannot encrypt")),
            guest: reason == Some(Reason::GuestUnderRequired) || is_about(error, "guest"),
            failure: Some(error.to_string()),
        });
    }

    fn tell(&self, seen: &ServerSeen) {
        if !self.switches.any() || self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut sink = Sink::new(self.sinks.clone());
        for event in client_events(now_ms(), seen, &self.switches) {
            if let Err(error) = sink.write(&event) {
                complain(&format!("note: an audit event was not written: {error}"));
            }
        }
    }
}

/// The client gave up because of what the server lacks or did, in the engine's words.
fn is_about(error: &Error, word: &str) -> bool {
    matches!(error.close_reason(), Some(CloseReason::Incompatible(text)) if text.contains(word))
}
