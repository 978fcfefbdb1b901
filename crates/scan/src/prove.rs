//! Enforcement rather than promises: with credentials, requests are sent unsigned
//! and badly signed after the logon, and what becomes of them is told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use countersign_wire::NtStatus;
use countersign_wire::fscc::{AccessMask, CreateOptions, FileAttributes, ShareAccess};
use countersign_wire::smb1::Flags2;
use countersign_wire::smb1::negotiate::NtResponseBytes;
use countersign_wire::smb2::{
    Command, CreateRequest, Header, SecurityMode, SessionFlags, Target, dialect,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::exchange::{Exchange, ProbeError};
use crate::report::Signing;
use crate::session2::As;
use crate::smb2::{Link, Offer, message};
use crate::{session1, session2, smb1, smb2};

/// Who logs on to prove. No Debug: it holds a password.
#[derive(Clone)]
pub struct Credentials {
    /// Account; empty for a null session.
    pub user: String,
    /// Its domain; may be empty.
    pub domain: String,
    /// Its password.
    pub password: Zeroizing<String>,
}

/// What a server did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It carried it out.
    Accepted,
    /// It answered with a failure.
    Refused,
    /// It closed the connection or never answered.
    Disconnected,
}

impl Enforcement {
    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Enforcement::Accepted => "accepted",
            Enforcement::Refused => "refused",
            Enforcement::Disconnected => "disconnected",
        }
    }
}

/// What was proved in one dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Dialect.
    pub dialect: &'static str,
    /// What the server announces.
    pub announced: Signing,
    /// Why nothing was proved (the logon failed, IPC$ refused ...).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The final response of the logon came rightly signed.
    pub final_response_signed: bool,
    /// An unsigned request on a session that was set up to be signed by the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned_request: Option<Enforcement>,
    /// A request with a wrong signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_signature: Option<Enforcement>,
    /// An unsigned request of a client that did not ask for signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned_client: Option<Enforcement>,
}

impl Proof {
    fn new(dialect: &'static str, announced: Signing) -> Self {
        Self {
            dialect,
            announced,
            error: None,
            final_response_signed: false,
            unsigned_request: None,
            bad_signature: None,
            unsigned_client: None,
        }
    }

    /// It acted on a wrong signature, or on unsigned requests though it requires signing.
    pub fn breaks_its_word(&self) -> bool {
        let accepted = Some(Enforcement::Accepted);
        self.bad_signature == accepted
            || (self.announced == Signing::Required
                && (self.unsigned_request == accepted || self.unsigned_client == accepted))
    }
}

/// Proves one dialect behind SMB1.
pub(crate) async fn smb2(
    to: SocketAddr,
    patience: Duration,
    (id, name): (u16, &'static str),
    announced: Signing,
    who: &Credentials,
) -> Proof {
    let mut proof = Proof::new(name, announced);
    let signing = SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED;
    match attempt2(to, patience, id, signing, who, As::Unsigned, &mut proof).await {
        Ok(outcome) => proof.unsigned_request = Some(outcome),
        Err(error) => proof.error = Some(error.to_string()),
    }
    if proof.error.is_some() {
        return proof;
    }
    match attempt2(to, patience, id, signing, who, As::BadlySigned, &mut proof).await {
        Ok(outcome) => proof.bad_signature = Some(outcome),
        Err(error) => proof.error = Some(error.to_string()),
    }
    let plain = SecurityMode::SIGNING_ENABLED;
    match attempt2(to, patience, id, plain, who, As::Unsigned, &mut proof).await {
        Ok(outcome) => proof.unsigned_client = Some(outcome),
        Err(error) => proof.error = Some(error.to_string()),
    }
    proof
}

async fn attempt2(
    to: SocketAddr,
    patience: Duration,
    id: u16,
    mode: SecurityMode,
    who: &Credentials,
    how: As,
    proof: &mut Proof,
) -> Result<Enforcement, ProbeError> {
    let exchange = Exchange::connect(to, patience).await?;
    let offer = Offer {
        security_mode: mode,
        compression: false,
        ..Offer::all(id)
    };
    let (mut link, _) = smb2::negotiate(exchange, &offer).await?;
    let session = session2::logon(&mut link, who).await?;
    if session.key.is_none() {
        return Err(guest());
    }
    proof.final_response_signed |= session.final_response == Some(true);
    let path = ipc(to);
    if session.flags.contains(SessionFlags::ENCRYPT_DATA) {
        // Nothing in the clear passes, signed or not: there is no right request to send first.
        let tree = session2::tree_connect(&mut link, &session, &path, how).await;
        return outcome(tree.map(|_| ()));
    }
    // 3.1.1 refuses every unsigned TREE_CONNECT; before it, TREE_CONNECT of an
    // unsigned client must be unsigned too, to be what such a client sends.
    let unsigned_client = !mode.contains(SecurityMode::SIGNING_REQUIRED);
    let tree = if unsigned_client && id != dialect::SMB_3_1_1 {
        match session2::tree_connect(&mut link, &session, &path, As::Unsigned).await {
            Ok(tree) => tree,
            Err(ProbeError::Status(status)) if !refuses(status) => {
                return Err(cannot("connect to IPC$", status));
            }
            Err(error) => return outcome(Err(error)),
        }
    } else {
        match session2::tree_connect(&mut link, &session, &path, As::Signed).await {
            Err(ProbeError::Status(status)) => return Err(cannot("connect to IPC$", status)),
            other => other?,
        }
    };
    // A right request first, so that a refusal is one of the signature and not of the
    // account.
    let right = open_pipe(&mut link, &session, tree);
    let (header, _) = session2::send(&mut link, &session, right, As::Signed).await?;
    if refuses(header.status) {
        return Err(cannot("open srvsvc on IPC$", header.status));
    }
    let request = open_pipe(&mut link, &session, tree);
    outcome(
        session2::send(&mut link, &session, request, how)
            .await
            .and_then(|(header, _)| {
                if refuses(header.status) {
                    Err(ProbeError::Status(header.status))
                } else {
                    // Another failure means that the request was looked at.
                    Ok(())
                }
            }),
    )
}

/// Statuses that say no to a signature; the same say no to an account.
fn refuses(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::ACCESS_DENIED | NtStatus::USER_SESSION_DELETED
    )
}

fn cannot(what: &str, status: NtStatus) -> ProbeError {
    let status = ProbeError::Status(status);
    ProbeError::Unprovable(format!("the account may not {what}: {status}"))
}

fn guest() -> ProbeError {
    ProbeError::Unprovable("the server made the account a guest: nothing to sign with".to_owned())
}

/// The path of IPC$; IPv6 addresses as UNC paths have them.
fn ipc(to: SocketAddr) -> String {
    match to.ip() {
        IpAddr::V4(v4) => format!("\\\\{v4}\\IPC$"),
        IpAddr::V6(v6) => {
            let name = v6.to_string().replace(':', "-");
            format!("\\\\{name}.ipv6-literal.net\\IPC$")
        }
    }
}

/// Opens the pipe of the share list: harmless, and every account may.
fn open_pipe(link: &mut Link, session: &session2::Session, tree: u32) -> Vec<u8> {
    let header = Header {
        session_id: session.id,
        target: Target::Sync {
            process_id: 0xFEFF,
            tree_id: tree,
        },
        ..link.header(Command::CREATE)
    };
    let name: Vec<u8> = "srvsvc".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let request = CreateRequest {
        oplock_level: 0,
        impersonation_level: 2,
        desired_access: AccessMask::from_bits_retain(0x0012_019F),
        file_attributes: FileAttributes::empty(),
        share_access: ShareAccess::from_bits_retain(7),
        disposition: 1,
        options: CreateOptions::empty(),
        name: &name,
        contexts: Vec::new(),
    };
    message(&header, |w| request.encode(w))
}

fn outcome(result: Result<(), ProbeError>) -> Result<Enforcement, ProbeError> {
    match result {
        Ok(()) => Ok(Enforcement::Accepted),
        Err(ProbeError::Status(_)) => Ok(Enforcement::Refused),
        Err(ProbeError::Closed | ProbeError::Timeout) => Ok(Enforcement::Disconnected),
        Err(other) => Err(other),
    }
}

/// Proves SMB1.
pub(crate) async fn smb1(
    to: SocketAddr,
    patience: Duration,
    announced: Signing,
    who: &Credentials,
) -> Proof {
    let mut proof = Proof::new("smb1", announced);
    let attempts = [
        (true, As::Unsigned),
        (true, As::BadlySigned),
        (false, As::Unsigned),
    ];
    for (wants, how) in attempts {
        if wants && announced == Signing::Disabled {
            // Signing cannot be agreed on: nothing to break.
            continue;
        }
        match attempt1(to, patience, wants, who, how, &mut proof).await {
            Ok(outcome) => match (wants, how) {
                (false, _) => proof.unsigned_client = Some(outcome),
                (true, As::BadlySigned) => proof.bad_signature = Some(outcome),
                (true, _) => proof.unsigned_request = Some(outcome),
            },
            Err(error) => {
                proof.error = Some(error.to_string());
                return proof;
            }
        }
    }
    proof
}

async fn attempt1(
    to: SocketAddr,
    patience: Duration,
    wants: bool,
    who: &Credentials,
    how: As,
    proof: &mut Proof,
) -> Result<Enforcement, ProbeError> {
    let exchange = Exchange::connect(to, patience).await?;
    let (mut link, answer) = smb1::negotiate(exchange, true).await?;
    if matches!(answer.bytes, NtResponseBytes::Classic { .. }) {
        return Err(ProbeError::Unprovable(
            "it does not speak extended security".to_owned(),
        ));
    }
    if wants {
        link.flags2 |= Flags2::SECURITY_SIGNATURE | Flags2::SECURITY_SIGNATURE_REQUIRED;
    }
    let mut session = match session1::logon(&mut link, who).await {
        Ok(session) => session,
        // A server that requires signing may refuse the logon of a client that does not offer it.
        Err(ProbeError::Status(NtStatus::ACCESS_DENIED)) if !wants => {
            return Ok(Enforcement::Refused);
        }
        Err(error) => return Err(error),
    };
    if session.guest {
        return Err(guest());
    }
    proof.final_response_signed |= session.final_response;
    let path = ipc(to);
    let tree = session1::tree_connect(&mut link, &path);
    if wants {
        // A right request first, so that a refusal is one of the signature.
        let (header, _) = session1::send(&mut link, &mut session, tree, As::Signed).await?;
        if header.status != 0 {
            return Err(cannot("connect to IPC$", NtStatus(header.status)));
        }
        link.tid = header.tid;
        let echo = session1::echo(&mut link);
        return outcome(judge1(
            session1::send(&mut link, &mut session, echo, how).await,
        ));
    }
    let connected = session1::send(&mut link, &mut session, tree, how).await;
    match &connected {
        Ok((header, _)) if header.status != 0 && !refuses(NtStatus(header.status)) => {
            Err(cannot("connect to IPC$", NtStatus(header.status)))
        }
        _ => outcome(judge1(connected)),
    }
}

fn judge1(
    result: Result<(countersign_wire::smb1::Header, Vec<u8>), ProbeError>,
) -> Result<(), ProbeError> {
    match result {
        Ok((header, _)) if header.status == 0 => Ok(()),
        Ok((header, _)) => Err(ProbeError::Status(NtStatus(header.status))),
        Err(error) => Err(error),
    }
}
