//! SMB1 NEGOTIATE as a question.

use countersign_wire::NtStatus;
use countersign_wire::smb1::negotiate::{
    Capabilities, NtResponse, NtResponseBytes, SecurityMode, encode_dialects,
};
use countersign_wire::smb1::session_setup_andx::{
    ExtendedWords, SessionSetupRequest, SessionSetupResponse,
};
use countersign_wire::smb1::{
    Block, CodePage, Command, Flags2, HEADER, Header, MessageWriter, Text,
};

use crate::exchange::{Exchange, ProbeError};
use crate::ntlm;
use crate::report::{Names, Signing};

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) signing: Signing,
    pub(crate) words: NtResponse,
    pub(crate) bytes: NtResponseBytes,
}

/// A connection on which NT LM 0.12 was agreed.
pub(crate) struct Link {
    pub(crate) exchange: Exchange,
    pub(crate) flags2: Flags2,
    pub(crate) text: Text,
    pub(crate) uid: u16,
    pub(crate) tid: u16,
    pub(crate) session_key: u32,
    mid: u16,
}

impl Link {
    /// A header; takes a MID.
    pub(crate) fn header(&mut self, command: u8) -> Header {
        self.mid = self.mid.wrapping_add(1);
        Header {
            command,
            flags2: self.flags2,
            pid_low: 0xFEFF,
            uid: self.uid,
            tid: self.tid,
            mid: self.mid,
            ..Header::default()
        }
    }

    /// The next answer.
    pub(crate) async fn receive(&mut self) -> Result<(Header, Vec<u8>), ProbeError> {
        let deadline = self.exchange.deadline();
        let reply = self.exchange.receive(deadline).await?;
        let header = Header::decode(&reply).map_err(|_| ProbeError::Malformed("SMB1 header"))?;
        Ok((header, reply))
    }
}

/// A message of one block.
pub(crate) fn message(header: &Header, andx: bool, words: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut w = MessageWriter::new(0);
    w.block(header.command, andx, words, bytes);
    w.finish(&header.encode())
}

/// Offers NT LM 0.12 and nothing else.
pub(crate) async fn negotiate(
    exchange: Exchange,
    extended: bool,
) -> Result<(Link, Answer), ProbeError> {
    let mut flags2 = Flags2::LONG_NAMES | Flags2::NT_STATUS | Flags2::UNICODE;
    flags2.set(Flags2::EXTENDED_SECURITY, extended);
    let mut link = Link {
        exchange,
        flags2,
        text: Text {
            unicode: true,
            code_page: CodePage::Cp850,
        },
        uid: 0,
        tid: 0,
        session_key: 0,
        mid: 0,
    };
    let header = link.header(Command::NEGOTIATE);
    let dialects = encode_dialects(&["NT LM 0.12"]);
    link.exchange
        .send(&message(&header, false, &[], &dialects))
        .await?;
    let (header, reply) = link.receive().await?;
    if header.command != Command::NEGOTIATE {
        return Err(ProbeError::Malformed("an answer to another command"));
    }
    if header.status != 0 {
        return Err(ProbeError::Status(NtStatus(header.status)));
    }
    let malformed = |_| ProbeError::Malformed("SMB1 NEGOTIATE response");
    let block = Block::decode(&reply, header.command, HEADER).map_err(malformed)?;
    if block.word_count() != 17 {
        // No dialect in common: one word, 0xFFFF.
        return Err(ProbeError::OtherDialect);
    }
    let words = NtResponse::decode(&mut block.words()).map_err(malformed)?;
    let bytes =
        NtResponseBytes::decode(&words, link.text, block.byte_slice()).map_err(malformed)?;
    let mode = SecurityMode::from_bits_retain(words.security_mode);
    let signing = if mode.contains(SecurityMode::SIGNATURES_REQUIRED) {
        Signing::Required
    } else if mode.contains(SecurityMode::SIGNATURES_ENABLED) {
        Signing::Enabled
    } else {
        Signing::Disabled
    };
    if !extended || matches!(bytes, NtResponseBytes::Classic { .. }) {
        link.flags2.remove(Flags2::EXTENDED_SECURITY);
    }
    link.session_key = words.session_key;
    Ok((
        link,
        Answer {
            signing,
            words,
            bytes,
        },
    ))
}

/// One leg of a logon with extended security.
pub(crate) fn session_setup(link: &mut Link, token: &[u8]) -> Vec<u8> {
    let header = link.header(Command::SESSION_SETUP_ANDX);
    let request = SessionSetupRequest::Extended {
        words: ExtendedWords {
            max_buffer_size: 16_644,
            max_mpx_count: 1,
            vc_number: 1,
            session_key: link.session_key,
            security_blob_length: u16::try_from(token.len()).unwrap_or(u16::MAX),
            reserved: 0,
            capabilities: (Capabilities::EXTENDED_SECURITY
                | Capabilities::STATUS32
                | Capabilities::UNICODE
                | Capabilities::NT_SMBS)
                .bits(),
        },
        blob: token,
        native_os: "Unix".to_owned(),
        native_lan_man: "Countersign".to_owned(),
    };
    // The block's bytes begin behind the header, the word count, 12 words and ByteCount.
    let (words, bytes) = request.encode(link.text, HEADER + 1 + 24 + 2);
    message(&header, true, &words, &bytes)
}

/// A SESSION_SETUP response taken apart.
pub(crate) fn setup_response(
    link: &Link,
    reply: &[u8],
) -> Result<SessionSetupResponse, ProbeError> {
    let malformed = |_| ProbeError::Malformed("SMB1 SESSION_SETUP response");
    let block = Block::decode(reply, Command::SESSION_SETUP_ANDX, HEADER).map_err(malformed)?;
    SessionSetupResponse::decode(&block, link.text).map_err(malformed)
}

/// Asks for the NTLM challenge: names, NativeOS and NativeLanMan.
pub(crate) async fn names(link: &mut Link) -> Result<(Option<Names>, String, String), ProbeError> {
    let request = session_setup(link, &ntlm::first_token());
    link.exchange.send(&request).await?;
    let (header, reply) = link.receive().await?;
    if header.status != NtStatus::MORE_PROCESSING_REQUIRED.0 {
        return Err(ProbeError::Status(NtStatus(header.status)));
    }
    let response = setup_response(link, &reply)?;
    let names = response
        .blob
        .as_deref()
        .and_then(ntlm::unwrap)
        .and_then(|challenge| ntlm::names(&challenge));
    Ok((names, response.native_os, response.native_lan_man))
}
