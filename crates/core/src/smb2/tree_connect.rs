//! [MS-SMB2] 3.3.5.7 TREE_CONNECT.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use countersign_auth::{Identity, IdentityKind};
use countersign_fs::{Share, ShareOptions};
use countersign_policy::{Exception, SessionFacts, SignedSoFar};
use countersign_wire::NtStatus;
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb2::{
    ShareCapabilities, ShareFlags, TreeConnectRequest, TreeConnectResponse, share_type,
};

use super::handler::{Context, Response, Step};
use super::session::{ShareTarget, TreeConnect};
use crate::config::{ServerConfig, ShareConfig};
use crate::gate::{self, ShareGrant};
use crate::observer::{Occasion, Sighting};
use crate::registry::SessionRecord;
use crate::server::Server;

/// MaximalAccess of a share that may be changed.
const FULL: u32 = 0x001F_01FF;
/// MaximalAccess of a share that may only be read.
pub(crate) const READ_ONLY: u32 = 0x0012_00A9;

pub(super) fn handle(cx: &mut Context<'_>) -> Step {
    let Ok(request) = TreeConnectRequest::decode(cx.request.message()) else {
        return Step::Fail(NtStatus::INVALID_PARAMETER);
    };
    let (Some(session), Some(identity)) = (cx.session(), cx.session().and_then(|s| s.identity()))
    else {
        return Step::Fail(NtStatus::USER_SESSION_DELETED);
    };
    let path = request.path_text();
    let Some(name) = share_name(&path) else {
        return Step::Fail(NtStatus::BAD_NETWORK_NAME);
    };
    let config = &cx.request.config;
    let found = match find(config, name, &identity) {
        Ok(found) => found,
        Err(status) => {
            tracing::info!(connection = cx.link.id, share = name, %status, "tree connect refused");
            return Step::Fail(status);
        }
    };
    let facts = session.facts();
    let under = match facts {
        Some(facts) => {
            let protected = cx.request.is_signed() || cx.request.is_encrypted();
            under_exceptions(
                &cx.link.server,
                config,
                &facts,
                &session.exceptions(),
                protected && facts.signed_so_far != SignedSoFar::NotAlways,
                session.record.get(),
                &found,
            )
        }
        None => Ok(UnderExceptions::default()),
    };
    let under = match under {
        Ok(under) => under,
        Err(status) => return Step::Fail(status),
    };
    let encrypt = found.encrypt || session.facts().is_some_and(|f| f.encryption_required);
    if encrypt
        && !cx
            .state
            .negotiated()
            .is_some_and(|n| n.cipher.is_some() && n.is_smb3())
    {
        // The peer cannot encrypt, or has no key to (guest, anonymous).
        return Step::Fail(NtStatus::ACCESS_DENIED);
    }
    if encrypt && session.secrets.get().is_none_or(|s| s.cipher().is_none()) {
        return Step::Fail(NtStatus::ACCESS_DENIED);
    }
    let access = found.access;
    let tree = session.add_tree(config.limits.trees_per_session, |id| TreeConnect {
        id,
        name: found.name,
        target: found.target,
        maximal_access: AccessMask::from_bits_retain(access),
        encrypt,
        protect: under.protect,
        exception: under.exception,
        exception_used: AtomicBool::new(false),
        limited: under.limited,
        gone: AtomicBool::new(false),
    });
    let Some(tree) = tree else {
        return Step::Fail(NtStatus::INSUFFICIENT_RESOURCES);
    };
    let mut share_flags = ShareFlags::empty();
    if found.encrypt {
        share_flags |= ShareFlags::ENCRYPT_DATA;
    }
    let mut response = Response::new(NtStatus::SUCCESS, |w| {
        TreeConnectResponse {
            share_type: if tree.is_pipe() {
                share_type::PIPE
            } else {
                share_type::DISK
            },
            share_flags,
            capabilities: ShareCapabilities::empty(),
            maximal_access: tree.maximal_access,
        }
        .encode(w);
    });
    response.tree_id = Some(tree.id);
    Step::Reply(response)
}

/// The share of `\\server\share`; every name of the server is good, since
/// clients use addresses and aliases.
fn share_name(path: &str) -> Option<&str> {
    let (_server, share) = path.strip_prefix(r"\\")?.split_once('\\')?;
    let share = share.strip_suffix('\\').unwrap_or(share);
    (!share.is_empty() && !share.contains('\\')).then_some(share)
}

/// A share that may be connected.
pub(crate) struct Found {
    /// Its name as configured.
    pub(crate) name: String,
    /// Where it leads.
    pub(crate) target: ShareTarget,
    /// MaximalAccess.
    pub(crate) access: u32,
    /// It must be encrypted.
    pub(crate) encrypt: bool,
}

/// Looks a share up without regard to case, and whether this identity may
/// connect to it. SMB1 asks the same.
pub(crate) fn find(
    config: &ServerConfig,
    name: &str,
    identity: &Identity,
) -> Result<Found, NtStatus> {
    if name.eq_ignore_ascii_case("IPC$") {
        if identity.kind == IdentityKind::Anonymous && !config.anonymous_ipc {
            return Err(NtStatus::ACCESS_DENIED);
        }
        return Ok(Found {
            name: "IPC$".to_owned(),
            target: ShareTarget::Pipe,
            access: FULL,
            encrypt: false,
        });
    }
    let wanted = name.to_lowercase();
    let share = config
        .shares
        .iter()
        .find(|s| s.share.name.to_lowercase() == wanted)
        .ok_or(NtStatus::BAD_NETWORK_NAME)?;
    let allowed = match identity.kind {
        IdentityKind::User => share.valid_users.is_empty() || listed(&share.valid_users, identity),
        IdentityKind::Guest => share.guest_ok,
        IdentityKind::Anonymous => false,
    };
    if !allowed {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let read_only = share.share.options.read_only || listed(&share.read_only_users, identity);
    Ok(Found {
        name: share.share.name.clone(),
        access: if read_only { READ_ONLY } else { FULL },
        encrypt: share.encrypt,
        target: ShareTarget::Disk {
            share: with_access(share, read_only),
            config: Box::new(share.clone()),
        },
    })
}

/// What exceptions make of a tree connect.
#[derive(Default)]
pub(crate) struct UnderExceptions {
    /// Every request must be signed or encrypted.
    pub(crate) protect: bool,
    /// The exception by which requests may come in clear.
    pub(crate) exception: Option<Arc<Exception>>,
    /// The share as requests in clear have it, where that differs.
    pub(crate) limited: Option<Arc<Share>>,
}

/// A session that exceptions let in has, unsigned, the shares they name, with their limits.
pub(crate) fn under_exceptions(
    server: &Server,
    config: &ServerConfig,
    facts: &SessionFacts,
    exceptions: &[Arc<Exception>],
    signs: bool,
    record: Option<&Arc<SessionRecord>>,
    found: &Found,
) -> Result<UnderExceptions, NtStatus> {
    let ipc = matches!(found.target, ShareTarget::Pipe);
    match gate::share(&config.policy, facts, exceptions, (&found.name, ipc), signs) {
        ShareGrant::Plain => Ok(UnderExceptions::default()),
        ShareGrant::Protected => Ok(UnderExceptions {
            protect: true,
            ..UnderExceptions::default()
        }),
        ShareGrant::Excepted(exception) => Ok(UnderExceptions {
            limited: match &found.target {
                ShareTarget::Disk { config, .. } if exception.read_only => {
                    Some(with_access(config, true))
                }
                _ => None,
            },
            exception: Some(exception),
            protect: false,
        }),
        ShareGrant::Refused(exception) => {
            if let (Some(exception), Some(record)) = (exception, record) {
                tell_used(server, record, &exception, &found.name, false);
            }
            Err(NtStatus::ACCESS_DENIED)
        }
    }
}

/// Logs the use of an exception, and tells the observer.
pub(crate) fn tell_used(
    server: &Server,
    record: &SessionRecord,
    exception: &Exception,
    share: &str,
    granted: bool,
) {
    tracing::info!(
        exception = exception.id,
        share,
        granted,
        session = record.id,
        "share under an exception"
    );
    server.lookout.tell(|| Occasion::ExceptionUsed {
        sighting: Sighting::of(&record.facts()),
        exception: exception.id.clone(),
        share: share.to_owned(),
        granted,
    });
}

fn with_access(share: &ShareConfig, read_only: bool) -> Arc<Share> {
    if read_only == share.share.options.read_only {
        return Arc::clone(&share.share);
    }
    Arc::new(Share {
        name: share.share.name.clone(),
        backend: Arc::clone(&share.share.backend),
        options: ShareOptions {
            read_only,
            ..share.share.options.clone()
        },
    })
}

/// Whether a list of accounts and `@groups` names this identity.
fn listed(list: &[String], identity: &Identity) -> bool {
    list.iter().any(|entry| identity.is_listed_as(entry))
}

#[cfg(test)]
mod tests {
    use super::share_name;

    #[test]
    fn forms_of_a_path() {
        assert_eq!(share_name(r"\\server\share"), Some("share"));
        assert_eq!(share_name(r"\\10.0.0.1\IPC$"), Some("IPC$"));
        assert_eq!(share_name(r"\\::1\x y"), Some("x y"));
        assert_eq!(share_name(r"\\server\share\"), Some("share"));
        assert_eq!(share_name(r"\\server"), None);
        assert_eq!(share_name(r"\\server\"), None);
        assert_eq!(share_name(r"\\server\a\b"), None);
        assert_eq!(share_name("share"), None);
        assert_eq!(share_name(""), None);
    }
}
