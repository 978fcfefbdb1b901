//! What a command's handler gets and gives.
//!
//! A handler is an `async fn` over a [`Request`] and a [`Block`]. It is polled
//! by hand by the front end ([`super::front`]): at once when its message
//! arrives, and again when a late answer of the file service or a time it
//! waits for has come. There is no other thing to await than
//! [`Request::call`] and [`Request::sleep_until`].

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_fs::{
    CallContext, Caller, FsCall, FsError, FsReply, Open, OpenOwner, Outcome, Share, SmbPath, Ticket,
};
use countersign_wire::smb1::transaction::AnswerPart;
use countersign_wire::smb1::{
    Block, Command, DosError, Flags, Flags2, HEADER, Header, MessageWriter, Text, TimeZone,
};
use countersign_wire::{DecodeError, NtStatus};

use super::state::{File, FileKind, Session, Shared, State, Tree};
use crate::config::{OemCodePage, ServerConfig};
use crate::gate::smb1::{Admitted, FRAME_HEADROOM, Outgoing};
use crate::status;

/// Headroom to ask of the file service so that a READ_ANDX reply is built in
/// place: transport header, SMB header, WordCount, 12 words, ByteCount, pad.
pub(crate) const READ_HEADROOM: usize = FRAME_HEADROOM + HEADER + 1 + 24 + 2 + 1;

/// Why a handler gives no ordinary reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An error response with this status; the chain ends.
    Status(NtStatus),
    /// An error response with a class and code of DOS, whatever the client asked for.
    Dos(DosError),
    /// No response.
    Silent,
    /// The connection is closed without a response.
    Close(&'static str),
}

impl From<NtStatus> for Stop {
    fn from(status: NtStatus) -> Self {
        Self::Status(status)
    }
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Status(status::of(error))
    }
}

impl From<DecodeError> for Stop {
    fn from(_: DecodeError) -> Self {
        Self::Status(NtStatus::INVALID_PARAMETER)
    }
}

/// What a handler gives.
pub(crate) type Answer = Result<Reply, Stop>;

/// One command's part of the response.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// Status of the message; a chain ends at one that is not success.
    pub(crate) status: NtStatusField,
    /// Words, without those of AndX.
    pub(crate) words: Vec<u8>,
    /// Bytes.
    pub(crate) bytes: Vec<u8>,
    /// WordCount to send when it is not the true one.
    pub(crate) word_count: Option<u8>,
    /// Data read behind [`READ_HEADROOM`] bytes: they are the bytes, behind one pad byte.
    pub(crate) payload: Option<Vec<u8>>,
    /// Further messages with the same header (transactions in parts, ECHO).
    pub(crate) more: Vec<AnswerPart>,
}

/// The status of a [`Reply`]: success unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NtStatusField(pub(crate) NtStatus);

impl Default for NtStatusField {
    fn default() -> Self {
        Self(NtStatus::SUCCESS)
    }
}

impl Reply {
    /// No words, no bytes.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// Words only.
    pub(crate) fn words(words: Vec<u8>) -> Self {
        Self {
            words,
            ..Self::default()
        }
    }

    /// Words and bytes.
    pub(crate) fn new(words: Vec<u8>, bytes: Vec<u8>) -> Self {
        Self {
            words,
            bytes,
            ..Self::default()
        }
    }

    /// With a status that is not success.
    pub(crate) fn with_status(mut self, status: NtStatus) -> Self {
        self.status = NtStatusField(status);
        self
    }
}

/// One message being carried out.
pub(crate) struct Request {
    pub(crate) shared: Arc<Shared>,
    /// Configuration in force when it arrived.
    pub(crate) config: Arc<ServerConfig>,
    /// Header; UID and TID change with SESSION_SETUP and TREE_CONNECT in a chain.
    pub(crate) header: Header,
    /// The whole message.
    pub(crate) frame: Bytes,
    /// Number of its task.
    pub(crate) task: u64,
    /// FID that an earlier command of the chain opened.
    pub(crate) chained_fid: Option<u16>,
    /// The gate's admission: it seals the reply.
    pub(crate) admitted: Admitted,
    /// An oplock was granted to a core command, which tells it in the header's flags.
    pub(crate) core_oplock: bool,
    /// The response is of another command than the request (secondaries).
    pub(crate) reply_command: Option<u8>,
    writer: MessageWriter,
    done: Vec<Outgoing>,
}

/// What became of a message.
pub(crate) struct Finished {
    /// Messages to send.
    pub(crate) messages: Vec<Outgoing>,
    /// Close the connection behind them.
    pub(crate) close: Option<&'static str>,
}

impl Request {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Arc<ServerConfig>,
        header: Header,
        frame: Bytes,
        task: u64,
        admitted: Admitted,
    ) -> Self {
        Self {
            shared,
            config,
            header,
            frame,
            task,
            chained_fid: None,
            admitted,
            core_oplock: false,
            reply_command: None,
            writer: MessageWriter::new(FRAME_HEADROOM),
            done: Vec::new(),
        }
    }

    /// How strings of this message are written.
    pub(crate) fn text(&self) -> Text {
        Text::of(self.header.flags2, code_page(self.config.oem_code_page))
    }

    /// Offset from the header at which this command's response block begins.
    pub(crate) fn block_start(&self) -> usize {
        self.writer.position()
    }

    /// Offset at which the bytes of this command's response begin, for a
    /// number of words (AndX ones included).
    pub(crate) fn bytes_start(&self, words: usize) -> usize {
        self.block_start() + 1 + 2 * words + 2
    }

    /// Local time as the client was told.
    pub(crate) fn zone(&self) -> TimeZone {
        self.shared
            .state
            .lock()
            .negotiated
            .map(|n| n.zone)
            .unwrap_or_default()
    }

    /// Monotonic time of the last thing that happened.
    pub(crate) fn monotonic(&self) -> Duration {
        self.shared.state.lock().now.monotonic
    }

    /// The session of the UID.
    pub(crate) fn session(&self) -> Result<Session, Stop> {
        let state = self.shared.state.lock();
        state
            .sessions
            .get(&self.header.uid)
            .cloned()
            .ok_or(Stop::Status(NtStatus::SMB_BAD_UID))
    }

    /// The tree of the TID.
    pub(crate) fn tree(&self) -> Result<Tree, Stop> {
        let state = self.shared.state.lock();
        let tree = state
            .trees
            .get(&self.header.tid)
            .ok_or(Stop::Status(NtStatus::SMB_BAD_TID))?;
        self.excused(&state, tree)?;
        Ok(tree.clone())
    }

    /// A session that exceptions let in has, in clear, what it connected by one of them,
    /// and nothing that another session connected.
    fn excused(&self, state: &State, tree: &Tree) -> Result<(), Stop> {
        let Some(session) = state.sessions.get(&self.header.uid) else {
            return Ok(());
        };
        let of_another = !session.exceptions.is_empty() && tree.uid != self.header.uid;
        let lapsed = tree
            .exception
            .as_ref()
            .is_some_and(|one| !session.exceptions.contains(one));
        if !self.admitted.is_signed() && (of_another || lapsed) {
            return Err(Stop::Status(NtStatus::ACCESS_DENIED));
        }
        Ok(())
    }

    /// The share of the TID; IPC$ has none.
    pub(crate) fn share(&self) -> Result<Arc<Share>, Stop> {
        self.tree()?
            .share
            .ok_or(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST))
    }

    /// The FID meant: that of the request, or the one an earlier command of
    /// the chain opened.
    pub(crate) fn fid(&self, fid: u16) -> u16 {
        self.chained_fid.unwrap_or(fid)
    }

    /// What a FID stands for. It must have been opened by this UID through this TID.
    pub(crate) fn file_entry(&self, fid: u16) -> Result<(u16, File), Stop> {
        let fid = self.fid(fid);
        let state = self.shared.state.lock();
        if let Some(tree) = state.trees.get(&self.header.tid) {
            self.excused(&state, tree)?;
        }
        match state.files.get(&fid) {
            Some(f) if f.uid == self.header.uid && f.tid == self.header.tid => Ok((fid, f.clone())),
            _ => Err(Stop::Status(NtStatus::INVALID_HANDLE)),
        }
    }

    /// The file service's open of a FID.
    pub(crate) fn file(&self, fid: u16) -> Result<Arc<Open>, Stop> {
        match self.file_entry(fid)?.1.kind {
            FileKind::File(open) => Ok(open),
            FileKind::Pipe(_) => Err(Stop::Status(NtStatus::INVALID_DEVICE_REQUEST)),
        }
    }

    /// Who calls, for the file service.
    pub(crate) fn caller(&self) -> Result<Arc<Caller>, Stop> {
        Ok(self.session()?.caller)
    }

    /// Owner of new opens.
    pub(crate) fn owner(&self) -> OpenOwner {
        let state = self.shared.state.lock();
        state.owner(self.shared.connection, self.header.uid, self.header.tid)
    }

    /// Position information of an open: what was set, whatever was read since.
    pub(crate) fn position_of(&self, open: &Arc<Open>) -> u64 {
        let state = self.shared.state.lock();
        let fid = state.fid_of(open).map(|(fid, _)| fid);
        fid.and_then(|fid| state.files.get(&fid))
            .map_or(0, |f| f.position_information)
    }

    /// Owner of byte-range locks: LOCKING_ANDX has 16 bits for it, so the high
    /// half of the PID does not count.
    pub(crate) fn lock_owner(&self) -> u32 {
        u32::from(self.header.pid_low)
    }

    /// A part of the message as a shared slice of the frame, no copy.
    pub(crate) fn slice(&self, part: &[u8]) -> Bytes {
        if part.is_empty() {
            Bytes::new()
        } else {
            self.frame.slice_ref(part)
        }
    }

    /// A path as this client writes it, in the share.
    pub(crate) fn path(&self, wire: &str) -> Result<SmbPath, Stop> {
        super::path::parse(self, wire)
    }

    /// Calls the file service and waits for the answer.
    pub(crate) async fn call(&self, call: FsCall) -> Result<FsReply, FsError> {
        let (share, caller) = match (self.share(), self.caller()) {
            (Ok(share), Ok(caller)) => (share, caller),
            _ => return Err(FsError::FileClosed),
        };
        self.call_in(share, caller, call).await
    }

    /// As [`Request::call`], for a share and caller that are known.
    pub(crate) async fn call_in(
        &self,
        share: Arc<Share>,
        caller: Arc<Caller>,
        call: FsCall,
    ) -> Result<FsReply, FsError> {
        let ticket = self.ticket();
        let context = CallContext {
            share,
            caller,
            sink: Arc::clone(&self.shared.sink),
            ticket,
        };
        match self.shared.server.files.call(&context, call) {
            Outcome::Ready(result) => result,
            Outcome::Pending => self.late(ticket).await,
        }
    }

    /// A ticket never used before on this connection.
    pub(crate) fn ticket(&self) -> Ticket {
        self.shared.state.lock().ticket()
    }

    /// Waits for the late answer of a ticket.
    pub(crate) async fn late(&self, ticket: Ticket) -> Result<FsReply, FsError> {
        self.shared.state.lock().waiting.insert(ticket, self.task);
        Late {
            shared: &self.shared,
            ticket,
        }
        .await
    }

    /// Waits until a monotonic time.
    pub(crate) async fn sleep_until(&self, until: Duration) {
        self.shared.state.lock().sleeping.insert(self.task, until);
        Sleep {
            shared: &self.shared,
            task: self.task,
            until,
        }
        .await;
    }

    /// Appends a command's reply to the response; `last`: no command follows.
    pub(crate) fn push(&mut self, command: u8, reply: Reply, last: bool) {
        let andx = Command::is_andx(command);
        let Reply {
            status,
            words,
            bytes,
            word_count,
            payload,
            more,
        } = reply;
        if let Some(buffer) = payload {
            if last && self.writer.is_empty() && buffer.len() >= READ_HEADROOM {
                self.in_place(status.0, &words, buffer);
                return;
            }
            let mut bytes = vec![0];
            bytes.extend_from_slice(buffer.get(READ_HEADROOM..).unwrap_or_default());
            self.writer
                .block_with_word_count(command, andx, &words, &bytes, word_count);
        } else {
            self.writer
                .block_with_word_count(command, andx, &words, &bytes, word_count);
        }
        if !more.is_empty() || status.0 != NtStatus::SUCCESS {
            self.flush(status.0);
        }
        for part in more {
            self.writer.block(command, andx, &part.words, &part.bytes);
            self.flush(status.0);
        }
    }

    /// A READ_ANDX reply whose data stand behind the room for everything else.
    fn in_place(&mut self, status: NtStatus, words: &[u8], mut buffer: Vec<u8>) {
        let count = buffer.len() - READ_HEADROOM + 1;
        let mut front = Vec::with_capacity(28);
        front.extend([12, 0xFF, 0, 0, 0]);
        front.extend_from_slice(words);
        front.extend(countersign_wire::smb1::block::byte_count(count).to_le_bytes());
        front.push(0);
        if let Some(place) = buffer.get_mut(READ_HEADROOM - front.len()..READ_HEADROOM) {
            place.copy_from_slice(&front);
        }
        let header = self.reply_header(status);
        self.done
            .push(Outgoing::reply(&self.admitted, &header, buffer));
    }

    /// Appends an empty block with an error: the end of a chain.
    pub(crate) fn push_error(&mut self, command: u8, status: NtStatus) {
        // An error has no AndX words, and nothing follows it.
        self.writer.block(command, false, &[], &[]);
        self.flush(status);
    }

    /// Ends the present message with a status.
    fn flush(&mut self, status: NtStatus) {
        let writer = core::mem::replace(&mut self.writer, MessageWriter::new(FRAME_HEADROOM));
        let header = self.reply_header(status);
        let buffer = writer.finish(&header.encode());
        self.done
            .push(Outgoing::reply(&self.admitted, &header, buffer));
    }

    fn reply_header(&self, status: NtStatus) -> Header {
        let command = self.reply_command.unwrap_or(self.header.command);
        let mut header = reply_header(&self.header, command, status);
        if self.core_oplock {
            header.flags |= self.header.flags & (Flags::OPLOCK | Flags::OPBATCH);
        }
        header
    }

    /// Everything that is to be sent.
    pub(crate) fn finish(mut self) -> Vec<Outgoing> {
        if !self.writer.is_empty() {
            self.flush(NtStatus::SUCCESS);
        }
        self.done
    }
}

/// The header of a response. Statuses that are a class and code of their own
/// ([MS-CIFS] 2.2.2.4) are sent as such.
pub(crate) fn reply_header(request: &Header, command: u8, status: NtStatus) -> Header {
    let mut flags2 = request.flags2
        & (Flags2::UNICODE
            | Flags2::NT_STATUS
            | Flags2::EXTENDED_SECURITY
            | Flags2::SECURITY_SIGNATURE
            | Flags2::SECURITY_SIGNATURE_REQUIRED
            | Flags2::DFS
            | Flags2::LONG_NAMES)
        | Flags2::LONG_NAMES;
    let dos = DosError::of(status);
    let own = status != NtStatus::SUCCESS && status.0 >> 24 == 0 && dos.to_wire() == status.0;
    if own {
        flags2.remove(Flags2::NT_STATUS);
    }
    let wire = if flags2.contains(Flags2::NT_STATUS) {
        status.0
    } else {
        dos.to_wire()
    };
    Header {
        command,
        status: wire,
        flags: Flags::REPLY
            | (request.flags & (Flags::CASE_INSENSITIVE | Flags::CANONICALIZED_PATHS)),
        flags2,
        signature: [0; 8],
        ..*request
    }
}

/// The wire crate's code page of the configuration's.
pub(crate) fn code_page(page: OemCodePage) -> countersign_wire::smb1::CodePage {
    match page {
        OemCodePage::Cp437 => countersign_wire::smb1::CodePage::Cp437,
        OemCodePage::Cp850 => countersign_wire::smb1::CodePage::Cp850,
    }
}

/// A block's words checked and decoded in one go.
pub(crate) fn words_of<T>(
    block: &Block<'_>,
    counts: &[usize],
    decode: impl FnOnce(&mut countersign_wire::Reader<'_>) -> countersign_wire::cursor::Result<T>,
) -> Result<T, Stop> {
    block.expect_words(counts)?;
    let mut r = if Command::is_andx(block.command) {
        block.words_after_andx()
    } else {
        block.words()
    };
    Ok(decode(&mut r)?)
}

/// Waits for a late answer of the file service.
struct Late<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Future for Late<'_> {
    type Output = Result<FsReply, FsError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.shared.state.lock().answers.remove(&self.ticket) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

/// Waits for a time.
struct Sleep<'a> {
    shared: &'a Shared,
    task: u64,
    until: Duration,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state.lock();
        if state.now.monotonic < self.until {
            return Poll::Pending;
        }
        state.sleeping.remove(&self.task);
        Poll::Ready(())
    }
}
