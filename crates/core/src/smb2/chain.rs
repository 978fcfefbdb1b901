//! Compounds, [MS-SMB2] 3.3.5.2.7, and what must hold before a handler runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_policy::Reason;
use countersign_wire::NtStatus;
use countersign_wire::smb2::{Command, FileId, HEADER_LEN, Header, HeaderFlags, Target, fsctl};

use super::dispatch::{self, Need, Row};
use super::front::{Active, Flow, Smb2};
use super::handler::{Context, Request, Response, Step};
use super::session::{Session, SessionState};
use super::state::Phase;
use super::tree_connect::tell_used;
use crate::connection::Now;
use crate::gate::smb2::{self as gate, Admission, Admitted, Arrived, Outgoing, Refused};
use crate::link::Link;
use crate::observer::is_telling;
use crate::server::Server;

/// The messages of one frame that are still to be carried out, and the
/// replies of those that were.
#[derive(Default)]
pub(super) struct Chain {
    rest: VecDeque<Arrived>,
    replies: Vec<Outgoing>,
    before: Option<Before>,
}

/// What related messages take over from the one before.
#[derive(Clone, Copy)]
struct Before {
    session: u64,
    tree: Option<u32>,
    file_id: Option<FileId>,
    /// It should have given a FileId and failed with this.
    failed: Option<NtStatus>,
    /// Session or tree of it were not there: nothing related can succeed.
    lost: bool,
}

impl Chain {
    pub(super) fn new(parts: Vec<Arrived>) -> Self {
        Self {
            rest: parts.into(),
            replies: Vec::new(),
            before: None,
        }
    }

    pub(super) fn next(&mut self) -> Option<Arrived> {
        self.rest.pop_front()
    }

    /// Whether the message being carried out is the last of its frame.
    pub(super) fn is_last(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn push(&mut self, reply: Outgoing) {
        self.replies.push(reply);
    }

    pub(super) fn take_replies(&mut self) -> Option<Outgoing> {
        Outgoing::join(core::mem::take(&mut self.replies))
    }

    /// Remembers what related messages need.
    pub(super) fn note(&mut self, request: &Request, response: &Response) {
        let before = self.before.get_or_insert(Before {
            session: request.header.session_id,
            tree: request.header.tree_id(),
            file_id: None,
            failed: None,
            lost: false,
        });
        if let Some(id) = response.session_id {
            before.session = id;
        }
        if let Some(id) = response.tree_id {
            before.tree = Some(id);
        }
        if let Some(id) = response.file_id {
            before.file_id = Some(id);
            before.failed = None;
        } else if let Some(open) = &request.open {
            before.file_id = Some(open.id);
            before.failed = None;
        } else if request.header.command == Command::CREATE && response.status.is_error() {
            before.file_id = None;
            before.failed = Some(response.status);
        } else if before.file_id.is_none()
            && response.status.is_error()
            && dispatch::gives_or_takes_file(request.header.command)
        {
            before.failed = Some(response.status);
        }
    }
}

/// The ids a message works with, its own or taken over.
struct Ids {
    session: u64,
    tree: Option<u32>,
    related: bool,
}

/// A request that is answered without a handler.
enum Refusal {
    /// It alone fails.
    Status(NtStatus),
    /// It and everything related to it.
    Lost(NtStatus),
}

impl Smb2 {
    /// Takes one message through admission and its row's preconditions.
    pub(super) fn begin(
        &mut self,
        link: &mut Link,
        mut chain: Chain,
        arrived: Arrived,
        now: Now,
    ) -> Flow {
        let header = arrived.header;
        if header.command == Command::CANCEL {
            self.begin_cancel(link, &chain, &arrived);
            return Flow::Next(chain);
        }
        if let Err(reason) = self.in_order(&header) {
            self.drop_connection(link, reason);
            return Flow::Stop;
        }
        let ids = Ids {
            session: match (&chain.before, header.is_related()) {
                (Some(before), true) => before.session,
                _ => header.session_id,
            },
            tree: match (&chain.before, header.is_related()) {
                (Some(before), true) => before.tree,
                _ => header.tree_id(),
            },
            related: header.is_related(),
        };
        if !ids.related {
            chain.before = None;
        }
        if arrived
            .transform_session()
            .is_some_and(|id| id != ids.session)
        {
            self.drop_connection(link, "message names another session than its transform");
            return Flow::Stop;
        }
        let admitted = match self.admit(link, &arrived, ids.session) {
            Ok(admitted) => admitted,
            Err(Refused::Ignore) => return Flow::Next(chain),
            Err(Refused::Disconnect(reason)) => {
                self.tell_refused(link, ids.session, reason);
                self.drop_connection(link, reason.code());
                return Flow::Stop;
            }
            Err(Refused::Reply {
                status,
                reason,
                seal,
            }) => {
                self.count(link, reason);
                self.tell_refused(link, ids.session, reason);
                let response = Response::error(status);
                let header = self.refusal_header(&header, &ids, status);
                chain.fail(&ids, &header, status, true);
                chain.push(Outgoing::refusal(
                    &seal,
                    header,
                    response.buffer,
                    response.start,
                ));
                return Flow::Next(chain);
            }
        };
        let Some(row) = dispatch::find(header.command) else {
            return self.reject(link, &mut chain, arrived, admitted, &ids, now);
        };
        let mut request = Request {
            header: Header {
                session_id: ids.session,
                ..header
            },
            config: link.config(),
            ticket: link.ticket(),
            message: arrived.message,
            session: self.state.session_of(ids.session),
            tree: None,
            open: None,
            counted: false,
            admitted,
        };
        if let Some(tree) = ids.tree
            && let Target::Sync { process_id, .. } = header.target
        {
            request.header.target = Target::Sync {
                process_id,
                tree_id: tree,
            };
        }
        if let Some(session) = &request.session {
            session.look_at_clock(now.monotonic);
        }
        let step = match self.check(&link.server, &mut request, row, &ids, &chain) {
            Ok(()) => None,
            Err(Refusal::Status(status)) => {
                chain.fail(&ids, &request.header, status, false);
                Some(Step::Fail(status))
            }
            Err(Refusal::Lost(status)) => {
                chain.fail(&ids, &request.header, status, true);
                Some(Step::Fail(status))
            }
        };
        if let Some(session) = &request.session
            && let Some(record) = session.record.get()
        {
            record.touch(now);
            record.received(request.message.len());
        }
        let active = Active::new(request, row);
        let step = match step {
            Some(step) => step,
            None => {
                let mut cx = Context {
                    link,
                    state: &mut self.state,
                    request: &active.request,
                    now,
                };
                (row.handler)(&mut cx)
            }
        };
        self.drive(link, active, step, chain, now)
    }

    /// A command that no row has.
    fn reject(
        &mut self,
        link: &mut Link,
        chain: &mut Chain,
        arrived: Arrived,
        admitted: Admitted,
        ids: &Ids,
        now: Now,
    ) -> Flow {
        let request = Request {
            header: Header {
                session_id: ids.session,
                ..arrived.header
            },
            config: link.config(),
            ticket: link.ticket(),
            message: arrived.message,
            session: self.state.session_of(ids.session),
            tree: None,
            open: None,
            counted: false,
            admitted,
        };
        let active = Active::new(request, &dispatch::UNKNOWN);
        let step = Step::Fail(NtStatus::INVALID_PARAMETER);
        self.drive(link, active, step, core::mem::take(chain), now)
    }

    /// MessageIds and the order of NEGOTIATE, [MS-SMB2] 3.3.5.2.3 and 3.3.5.3.
    fn in_order(&mut self, header: &Header) -> Result<(), &'static str> {
        let charge = self.charge(header);
        self.state
            .window
            .consume(header.message_id, charge)
            .map_err(|_| "MessageId was used before or not granted")?;
        match (&self.state.phase, header.command) {
            (Phase::Start | Phase::Wildcard, Command::NEGOTIATE) => Ok(()),
            (Phase::Start | Phase::Wildcard, _) => Err("not a NEGOTIATE"),
            (Phase::Done(_), Command::NEGOTIATE) => Err("second NEGOTIATE"),
            (Phase::Done(_), _) => Ok(()),
        }
    }

    fn admit(&mut self, link: &Link, arrived: &Arrived, session: u64) -> Result<Admitted, Refused> {
        let channel = self.state.channels.get(&session);
        let mut key = channel.and_then(|c| c.key.clone());
        let mut borrowed = false;
        let mut known = channel.map(|c| Arc::clone(&c.session));
        if gate::is_binding(&arrived.header, &arrived.message)
            && channel.is_none_or(|c| c.binding)
            && let Some(bound) = link.server.sessions.get(session)
        {
            borrowed = true;
            // [MS-SMB2] 3.3.5.5: a binding is signed with the session's own key.
            if bound.state() == SessionState::InProgress && arrived.header.is_signed() {
                return Err(Refused::unfinished());
            }
            key = bound.secrets.get().map(|s| s.signing().clone());
            known = Some(bound);
        }
        let config = link.config();
        let facts = known.as_ref().and_then(|s| s.facts());
        let admission = Admission {
            policy: &config.policy,
            dialect: self.state.dialect(),
            session: facts.or_else(|| known.as_ref().map(|_| unfinished(self.state.dialect()))),
            key,
            borrowed,
        };
        let admitted = gate::admit(arrived, &admission)?;
        if let Some(session) = &known
            && admitted.is_ordinary()
        {
            session.saw(admitted.is_signed(), admitted.is_encrypted());
            if admitted.is_signed() || admitted.is_encrypted() {
                session.signs_after_all();
            }
        }
        Ok(admitted)
    }

    /// Tells the observer, once in a session, of a refusal that shows what the peer can do.
    fn tell_refused(&self, link: &Link, session: u64, reason: Reason) {
        if is_telling(reason)
            && let Some(session) = self.state.session_of(session)
            && let Some(record) = session.record.get()
        {
            link.server.registry.refused(record, reason.code());
        }
    }

    fn count(&self, link: &Link, reason: Reason) {
        let statistics = &link.server.statistics;
        match reason {
            Reason::BadSignature => statistics.bad_signatures.add(),
            Reason::UnsignedOnRequired => statistics.unsigned_refused.add(),
            _ => {}
        }
        tracing::warn!(
            connection = link.id,
            peer = %link.peer.address,
            reason = reason.code(),
            "message refused"
        );
    }

    fn refusal_header(&mut self, asked: &Header, ids: &Ids, status: NtStatus) -> Header {
        let credits = self.credits(asked, status);
        Header {
            status,
            credits,
            flags: HeaderFlags::SERVER_TO_REDIR
                | (asked.flags & (HeaderFlags::RELATED_OPERATIONS | HeaderFlags::SIGNED)),
            next_command: 0,
            session_id: ids.session,
            ..*asked
        }
    }

    fn begin_cancel(&mut self, link: &mut Link, chain: &Chain, arrived: &Arrived) {
        let session = match (&chain.before, arrived.header.is_related()) {
            (Some(before), true) => before.session,
            _ => arrived.header.session_id,
        };
        if arrived.transform_session().is_some_and(|id| id != session) {
            return;
        }
        // CANCEL is never answered, so a refusal is silence.
        if self.admit(link, arrived, session).is_ok() {
            self.cancel(
                link,
                &Header {
                    session_id: session,
                    ..arrived.header
                },
            );
        }
    }

    /// The row's preconditions, in the order of [MS-SMB2] 3.3.5.2.
    fn check(
        &self,
        server: &Server,
        request: &mut Request,
        row: &Row,
        ids: &Ids,
        chain: &Chain,
    ) -> Result<(), Refusal> {
        let fail = |status| Err(Refusal::Status(status));
        let lost = |status| Err(Refusal::Lost(status));
        if ids.related && chain.before.as_ref().is_none_or(|b| b.lost) {
            // Related to nothing, or to what was not there.
            return lost(NtStatus::INVALID_PARAMETER);
        }
        match row.session {
            Need::Nothing => {}
            Need::IfNamed if ids.session == 0 => {}
            Need::IfNamed | Need::Valid | Need::Expired => {
                let state = request.session.as_ref().map(|s| s.state());
                match (row.session, state) {
                    (_, None | Some(SessionState::Ended)) => {
                        request.session = None;
                        return lost(NtStatus::USER_SESSION_DELETED);
                    }
                    // LOGOFF ends a logon that is not finished.
                    (_, Some(SessionState::InProgress)) if row.command != Command::LOGOFF => {
                        return lost(NtStatus::USER_SESSION_DELETED);
                    }
                    (Need::Valid, Some(SessionState::Expired)) => {
                        return lost(NtStatus::NETWORK_SESSION_EXPIRED);
                    }
                    _ => {}
                }
            }
        }
        if row.tree {
            request.tree = self.tree_of(request.session.as_ref(), ids.tree);
            let Some(tree) = &request.tree else {
                return lost(NtStatus::NETWORK_NAME_DELETED);
            };
            let protected = request.admitted.is_signed() || request.admitted.is_encrypted();
            if tree.protect && !protected {
                return fail(NtStatus::ACCESS_DENIED);
            }
            if let Some(exception) = tree.exception.as_ref().filter(|_| !protected) {
                // Who is logged on may have changed, and the exceptions with it.
                if !request
                    .session
                    .as_ref()
                    .is_some_and(|s| s.lives_by(exception))
                {
                    return fail(NtStatus::ACCESS_DENIED);
                }
                if !tree.exception_used.swap(true, Ordering::Relaxed)
                    && let Some(record) = request.session.as_ref().and_then(|s| s.record.get())
                {
                    tell_used(server, record, exception, &tree.name, true);
                }
            }
            if tree.encrypt && !request.admitted.is_encrypted() {
                // [MS-SMB2] 3.3.5.2.11.
                return fail(NtStatus::ACCESS_DENIED);
            }
        }
        let body = request.message.get(HEADER_LEN..).unwrap_or_default();
        let size = body.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
        if size.is_none() || row.structure_size.is_some_and(|s| size != Some(s)) {
            return fail(NtStatus::INVALID_PARAMETER);
        }
        if self.state.negotiated().is_some_and(|n| n.multi_credit()) {
            let needed = dispatch::charge_for((row.payload)(body));
            if needed > u64::from(self.charge(&request.header)) {
                return fail(NtStatus::INVALID_PARAMETER);
            }
        }
        self.find_open(request, row, ids, chain)
    }

    fn find_open(
        &self,
        request: &mut Request,
        row: &Row,
        ids: &Ids,
        chain: &Chain,
    ) -> Result<(), Refusal> {
        let fail = |status| Err(Refusal::Status(status));
        let Some(at) = row.file_id else { return Ok(()) };
        let Some(sent) = dispatch::file_id(&request.message, at) else {
            return fail(NtStatus::INVALID_PARAMETER);
        };
        if let Some(code) = dispatch::server_control(row.command, &request.message) {
            let must_be_none = matches!(
                code,
                fsctl::VALIDATE_NEGOTIATE_INFO | fsctl::QUERY_NETWORK_INTERFACE_INFO
            );
            return if must_be_none && !sent.is_none() {
                fail(NtStatus::INVALID_PARAMETER)
            } else {
                Ok(())
            };
        }
        let wanted = match (&chain.before, ids.related) {
            (Some(before), true) => match (before.file_id, before.failed) {
                (Some(id), _) => id,
                (None, Some(status)) => return fail(status),
                // Nothing before named a file.
                (None, None) if sent.is_none() => return fail(NtStatus::FILE_CLOSED),
                (None, None) => sent,
            },
            _ => sent,
        };
        if wanted.is_none() && at.optional {
            return Ok(());
        }
        let open = request
            .session
            .as_ref()
            .and_then(|s| s.open(wanted))
            .filter(|o| request.tree.as_ref().is_none_or(|t| t.id == o.tree));
        let Some(open) = open else {
            return fail(NtStatus::FILE_CLOSED);
        };
        if self.state.negotiated().is_some_and(|n| n.is_smb3()) {
            let replay = request.header.flags.contains(HeaderFlags::REPLAY_OPERATION);
            let sequence = request.header.channel_sequence();
            let lawful = {
                let mut state = open.state.lock();
                state.used = true;
                state.request_begins(sequence, replay)
            };
            request.counted = true;
            request.open = Some(open);
            if !lawful && row.changes {
                return fail(NtStatus::FILE_NOT_AVAILABLE);
            }
            return Ok(());
        }
        request.open = Some(open);
        Ok(())
    }

    fn tree_of(
        &self,
        session: Option<&Arc<Session>>,
        id: Option<u32>,
    ) -> Option<Arc<super::session::TreeConnect>> {
        session?.tree(id?)
    }
}

impl Chain {
    /// Remembers that a message failed before its handler ran.
    fn fail(&mut self, ids: &Ids, header: &Header, status: NtStatus, lost: bool) {
        let before = self.before.get_or_insert(Before {
            session: ids.session,
            tree: ids.tree,
            file_id: None,
            failed: None,
            lost: false,
        });
        before.lost |= lost;
        if before.file_id.is_none() && dispatch::gives_or_takes_file(header.command) {
            before.failed = Some(status);
        }
    }
}

/// Facts of a session whose first logon is not finished.
fn unfinished(revision: u16) -> countersign_policy::SessionFacts {
    countersign_policy::SessionFacts {
        family: gate::family(revision),
        identity: countersign_policy::Identity::Anonymous,
        key: false,
        required: false,
        encryption_required: false,
        signed_so_far: countersign_policy::SignedSoFar::Nothing,
    }
}
