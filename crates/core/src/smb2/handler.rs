//! What a command handler gets and gives.
//!
//! # How to write a command
//!
//! One file per command, with one function `pub(super) fn handle(cx: &mut
//! Context<'_>) -> Step` and one row in [`super::dispatch::TABLE`]. When it is
//! called, everything the row asks for holds: StructureSize, CreditCharge, a
//! valid session, tree and open (so [`Context::session`], [`Context::tree`]
//! and [`Context::open`] give them), and the gate has admitted the message.
//!
//! The handler decodes the body from [`Request::message`] (offsets count from
//! the SMB2 header, as the `countersign-wire` decoders want it) and gives
//!
//! * [`Step::Reply`]: a [`Response`], made with [`Response::new`] (small
//!   bodies) or [`Response::in_place`] (payload read behind headroom);
//! * [`Step::Call`]: a file-service call and what to do with its answer. The
//!   answer may come at once or in an hour; interim STATUS_PENDING, CANCEL and
//!   the rest of a compound are the dispatcher's business. The continuation
//!   gets a `Context` again and gives a `Step`, so calls can follow calls;
//! * [`Step::Fail`]: an error response with a status;
//! * [`Step::Drop`]: closes the connection without an answer.
//!
//! ```ignore
//! pub(super) fn handle(cx: &mut Context<'_>) -> Step {
//!     let Ok(request) = FlushRequest::decode(cx.request.message()) else {
//!         return Step::Fail(NtStatus::INVALID_PARAMETER);
//!     };
//!     let Some(open) = cx.file() else { return Step::Fail(NtStatus::FILE_CLOSED) };
//!     Step::call(FsCall::Flush { open }, |_cx, result| match result {
//!         Ok(_) => Step::Reply(Response::new(NtStatus::SUCCESS, |w| FlushResponse.encode(w))),
//!         Err(e) => Step::Fail(status::of(e)),
//!     })
//! }
//! ```
//!
//! Payload to the client goes in place: ask `FsCall::Read` for
//! `headroom: READ_HEADROOM`, and give the buffer to [`Response::in_place`]
//! with the fixed part of the body; it is written in front of the data.
//! Payload from the client is [`Request::slice`], a slice of the received frame.

use std::sync::Arc;

use bytes::Bytes;
use countersign_fs::{FsCall, FsError, FsReply, Open, OpenOwner, Ticket};
use countersign_wire::smb2::{ErrorResponse, FileId, HEADER_LEN, Header};
use countersign_wire::{NtStatus, Writer};

use super::session::{FileOpen, Session, TreeConnect};
use super::state::State;
use crate::config::ServerConfig;
use crate::connection::Now;
use crate::gate::smb2::{Admitted, FinalSeal};
use crate::link::Link;
use crate::pipes::PipeOpen;

/// Bytes in front of a message's header: transport header and transform header.
pub const FRAME_HEADROOM: usize = 4 + 52;
/// Bytes in front of a response's body.
pub const BODY_HEADROOM: usize = FRAME_HEADROOM + HEADER_LEN;
/// Headroom to ask of `FsCall::Read` for an SMB2 READ: 16 bytes of fixed body more.
pub const READ_HEADROOM: usize = BODY_HEADROOM + 16;

/// A handler: decodes, checks, answers or calls.
pub type Handler = fn(&mut Context<'_>) -> Step;

/// What to do with the answer of a call.
pub type Continuation = Box<dyn FnOnce(&mut Context<'_>, Result<FsReply, FsError>) -> Step + Send>;

/// What a handler or continuation wants.
pub enum Step {
    /// Answer with this.
    Reply(Response),
    /// Make this call and go on with its answer.
    Call(FsCall, Continuation),
    /// Answer with an ERROR response of this status.
    Fail(NtStatus),
    /// Close the connection without an answer.
    Drop(&'static str),
    /// Answer later: [`super::Smb2`] is told with [`Link::mailbox`] or a timer
    /// (pipe reads, delayed logons). The request can be cancelled meanwhile.
    Wait(Wait),
}

/// Why an answer comes later without a file-service call.
pub enum Wait {
    /// Until this monotonic time; then the step is taken. No interim response is sent.
    Until(core::time::Duration, Box<Step>),
    /// Until the pipe has an answer for this request's ticket: [`PipeOpen::take`]
    /// gives it to the continuation (whose argument says nothing).
    Pipe(Arc<PipeOpen>, Continuation),
}

impl Step {
    /// [`Step::Call`] with the continuation boxed.
    pub fn call(
        call: FsCall,
        then: impl FnOnce(&mut Context<'_>, Result<FsReply, FsError>) -> Step + Send + 'static,
    ) -> Self {
        Self::Call(call, Box::new(then))
    }

    /// A response of status SUCCESS whose body `encode` writes.
    pub fn ok(encode: impl FnOnce(&mut Writer<'_>)) -> Self {
        Self::Reply(Response::new(NtStatus::SUCCESS, encode))
    }
}

/// A response: its status and body, in a buffer with room for the headers.
#[derive(Debug)]
pub struct Response {
    pub(super) status: NtStatus,
    /// `BODY_HEADROOM` bytes at least, then the body from `start`.
    pub(super) buffer: Vec<u8>,
    /// Where the body begins in the buffer.
    pub(super) start: usize,
    /// FileId that related parts of the compound use from here on (CREATE).
    pub(super) file_id: Option<FileId>,
    /// TreeId to put in the header (TREE_CONNECT).
    pub(super) tree_id: Option<u32>,
    /// SessionId to put in the header (SESSION_SETUP).
    pub(super) session_id: Option<u64>,
    /// How the end of a logon is signed (SESSION_SETUP).
    pub(super) seal: Option<FinalSeal>,
}

impl Response {
    /// A response whose body is written by `encode`. The writer's base is the
    /// first byte of the header, as the encoders of `countersign-wire` want it.
    pub fn new(status: NtStatus, encode: impl FnOnce(&mut Writer<'_>)) -> Self {
        Self::with_capacity(status, 64, encode)
    }

    /// The same with room for a body of `capacity` bytes from the start.
    pub fn with_capacity(
        status: NtStatus,
        capacity: usize,
        encode: impl FnOnce(&mut Writer<'_>),
    ) -> Self {
        let mut buffer = Vec::with_capacity(BODY_HEADROOM.saturating_add(capacity));
        buffer.resize(BODY_HEADROOM, 0);
        encode(&mut Writer::with_base(&mut buffer, FRAME_HEADROOM));
        Self::of(status, buffer, BODY_HEADROOM)
    }

    /// A response around a payload that already lies in `buffer` behind
    /// `headroom` bytes: `fixed`, the body's part before the payload, is
    /// written into the headroom. Without enough headroom the payload is moved.
    pub fn in_place(status: NtStatus, fixed: &[u8], buffer: Vec<u8>, headroom: usize) -> Self {
        let mut buffer = buffer;
        let mut data = headroom.min(buffer.len());
        let needed = BODY_HEADROOM.saturating_add(fixed.len());
        if data < needed {
            let mut moved = vec![0; needed];
            moved.extend_from_slice(buffer.get(data..).unwrap_or_default());
            buffer = moved;
            data = needed;
        }
        let start = data - fixed.len();
        if let Some(place) = buffer.get_mut(start..data) {
            place.copy_from_slice(fixed);
        }
        Self::of(status, buffer, start)
    }

    /// An ERROR response, [MS-SMB2] 2.2.2, without data.
    pub fn error(status: NtStatus) -> Self {
        Self::new(status, |w| ErrorResponse::default().encode(w))
    }

    /// An ERROR response with ErrorData; 3.1.1 wraps it in an error context.
    pub fn error_data(status: NtStatus, dialect: u16, data: &[u8]) -> Self {
        Self::new(status, |w| {
            if dialect == countersign_wire::smb2::dialect::SMB_3_1_1 {
                ErrorResponse::encode_context(0, data, w);
            } else {
                ErrorResponse {
                    context_count: 0,
                    data,
                }
                .encode(w);
            }
        })
    }

    /// Names the file that related parts behind this one mean.
    #[must_use]
    pub fn opened(mut self, id: FileId) -> Self {
        self.file_id = Some(id);
        self
    }

    /// Status of the response.
    pub fn status(&self) -> NtStatus {
        self.status
    }

    /// The body as it stands.
    pub fn body(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn of(status: NtStatus, buffer: Vec<u8>, start: usize) -> Self {
        Self {
            status,
            buffer,
            start,
            file_id: None,
            tree_id: None,
            session_id: None,
            seal: None,
        }
    }
}

/// One admitted request and what its ids stand for.
pub struct Request {
    /// Header as received.
    pub header: Header,
    /// Configuration in force when it arrived.
    pub config: Arc<ServerConfig>,
    /// Names it towards the file service.
    pub ticket: Ticket,
    pub(super) message: Bytes,
    pub(super) session: Option<Arc<Session>>,
    pub(super) tree: Option<Arc<TreeConnect>>,
    pub(super) open: Option<Arc<FileOpen>>,
    /// It is counted at its open (ChannelSequence).
    pub(super) counted: bool,
    /// What the gate decided; it seals the reply.
    pub(super) admitted: Admitted,
}

impl Request {
    /// The message from its SMB2 header to its own end.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// A part of [`Request::message`] as a shared slice of the frame, no copy.
    pub fn slice(&self, part: &[u8]) -> Bytes {
        if part.is_empty() {
            Bytes::new()
        } else {
            self.message.slice_ref(part)
        }
    }

    /// Whether it came inside a transform.
    pub fn is_encrypted(&self) -> bool {
        self.admitted.is_encrypted()
    }

    /// Whether it came with a right signature.
    pub fn is_signed(&self) -> bool {
        self.admitted.is_signed()
    }

    /// The tree connect; `None` when the row does not ask for one.
    pub fn tree(&self) -> Option<&Arc<TreeConnect>> {
        self.tree.as_ref()
    }

    /// The session; `None` when the row does not ask for one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// The open named by the FileId; `None` when the row does not ask for one
    /// or the FileId is all ones where that is allowed.
    pub fn open(&self) -> Option<&Arc<FileOpen>> {
        self.open.as_ref()
    }
}

/// Everything a handler may use.
pub struct Context<'a> {
    /// The connection's way out: server, peer, file-service sink.
    pub link: &'a mut Link,
    /// What was negotiated, and the sessions of this connection.
    pub state: &'a mut State,
    /// The request.
    pub request: &'a Request,
    /// Time.
    pub now: Now,
}

impl Context<'_> {
    /// The session. Rows that ask for one always have it.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.request.session.clone()
    }

    /// The tree connect. Rows that ask for one always have it.
    pub fn tree(&self) -> Option<Arc<TreeConnect>> {
        self.request.tree.clone()
    }

    /// The open. Rows that ask for one always have it.
    pub fn open(&self) -> Option<Arc<FileOpen>> {
        self.request.open.clone()
    }

    /// The file service's open; `None` for pipes.
    pub fn file(&self) -> Option<Arc<Open>> {
        self.request.open.as_ref().and_then(|o| o.file())
    }

    /// MaxTransactSize, MaxReadSize and MaxWriteSize of the connection.
    pub fn max_transact(&self) -> u32 {
        self.state.negotiated().map_or(65_536, |n| n.max_transact)
    }

    /// The owner new opens get: the same on every channel of the session.
    pub fn owner(&self) -> OpenOwner {
        let tree = self.request.tree.as_ref().map_or(0, |t| t.id);
        self.request
            .session
            .as_ref()
            .map_or_else(OpenOwner::default, |s| s.owner(tree))
    }
}
