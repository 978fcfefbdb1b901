//! A scripted SMB1 client: does what a test says, right or wrong.
//!
//! It counts and signs as a client should unless told otherwise, and checks
//! every signature it gets once a key is there.

use std::collections::HashMap;

use countersign_auth::NtHash;
use countersign_auth::ntlm::hash::{desl, md4};
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiator};
use countersign_auth::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_NTLMSSP,
};
use countersign_crypto::smb1::MacKey;
use countersign_wire::NtStatus;
use countersign_wire::smb1::block::{Block, Chain, MessageWriter};
use countersign_wire::smb1::negotiate::{NT_LM_0_12, NtResponse, NtResponseBytes, encode_dialects};
use countersign_wire::smb1::session_setup_andx::{
    ClassicWords, ExtendedWords, Names, SessionSetupRequest, SessionSetupResponse,
};
use countersign_wire::smb1::tree::TreeConnectRequest;
use countersign_wire::smb1::{CodePage, Command, Flags, Flags2, HEADER, Header, Text};

use countersign_testkit::wire::Wire;

/// One message received.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Header.
    pub header: Header,
    /// The whole message.
    pub message: Vec<u8>,
    /// Whether its signature is right for its number; `None` when no key is there.
    pub signature: Option<bool>,
}

impl Reply {
    /// The status.
    pub fn status(&self) -> NtStatus {
        NtStatus(self.header.status)
    }

    /// The blocks of the chain.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        Chain::new(&self.message, self.header.command, 64)
            .collect::<Result<_, _>>()
            .expect("a well-formed chain")
    }

    /// The first block.
    pub fn block(&self) -> Block<'_> {
        self.blocks().remove(0)
    }
}

/// One command of a chain to send: code, words without the AndX ones, bytes.
pub type Part = (u8, Vec<u8>, Vec<u8>);

/// The client: one connection.
pub struct Client<W> {
    /// The connection.
    pub wire: W,
    /// Flags2 of requests.
    pub flags2: Flags2,
    /// UID of requests.
    pub uid: u16,
    /// TID of requests.
    pub tid: u16,
    /// PID of requests.
    pub pid: u16,
    /// MID of the next request.
    pub mid: u16,
    /// The key, once signing is active.
    pub key: Option<MacKey>,
    /// Number of the next request.
    pub next: u32,
    /// Sign requests (a test may stop).
    pub sign: bool,
    /// What the server's NEGOTIATE said.
    pub negotiated: Option<(NtResponse, NtResponseBytes)>,
    /// Numbers of the answers that are due, by MID.
    pub due: HashMap<u16, u32>,
}

impl<W: Wire> Client<W> {
    /// A client on a fresh connection: Unicode, NTSTATUS, SPNEGO, able to sign.
    pub fn new(wire: W) -> Self {
        Self {
            wire,
            flags2: Flags2::LONG_NAMES
                | Flags2::UNICODE
                | Flags2::NT_STATUS
                | Flags2::EXTENDED_SECURITY
                | Flags2::SECURITY_SIGNATURE,
            uid: 0,
            tid: 0,
            pid: 77,
            mid: 1,
            key: None,
            next: 0,
            sign: true,
            negotiated: None,
            due: HashMap::new(),
        }
    }

    /// How strings are written.
    pub fn text(&self) -> Text {
        Text::of(self.flags2, CodePage::Cp850)
    }

    /// The header of the next request.
    pub fn header(&self, command: u8) -> Header {
        Header {
            command,
            flags: Flags::CASE_INSENSITIVE | Flags::CANONICALIZED_PATHS,
            flags2: self.flags2,
            tid: self.tid,
            pid_low: self.pid,
            uid: self.uid,
            mid: self.mid,
            ..Header::default()
        }
    }

    /// A message of a chain, not signed.
    pub fn message(&self, parts: &[Part]) -> Vec<u8> {
        let mut writer = MessageWriter::new(0);
        for (command, words, bytes) in parts {
            writer.block(*command, Command::is_andx(*command), words, bytes);
        }
        writer.finish(&self.header(parts.first().map_or(0, |p| p.0)).encode())
    }

    /// Numbers and signs a message as it should be; notes which answer is due.
    pub fn protect(&mut self, message: &mut [u8]) {
        let cancel = message[4] == Command::NT_CANCEL;
        let mid = u16::from_le_bytes([message[30], message[31]]);
        if let Some(key) = &self.key {
            if self.sign {
                key.sign(self.next, message);
            }
            if !cancel {
                self.due.insert(mid, self.next + 1);
            }
            self.next += if cancel { 1 } else { 2 };
        }
    }

    /// Sends a chain; takes a MID.
    pub fn send(&mut self, parts: &[Part]) -> u16 {
        let mid = self.mid;
        let mut message = self.message(parts);
        self.protect(&mut message);
        self.mid += 1;
        self.wire.send(&message);
        mid
    }

    /// The next message.
    pub fn reply(&mut self) -> Option<Reply> {
        let message = self.wire.receive()?;
        let header = Header::decode(&message).expect("an SMB1 header");
        let signature = self.key.as_ref().map(|key| {
            let number = self.due.get(&header.mid).copied().unwrap_or(0);
            key.verify(number, &message).is_ok()
        });
        Some(Reply {
            header,
            message,
            signature,
        })
    }

    /// Sends a chain and takes the next message.
    pub fn call(&mut self, parts: &[Part]) -> Option<Reply> {
        self.send(parts);
        self.reply()
    }

    /// One command.
    pub fn command(&mut self, command: u8, words: Vec<u8>, bytes: Vec<u8>) -> Option<Reply> {
        self.call(&[(command, words, bytes)])
    }

    /// NEGOTIATE with NT LM 0.12 among others.
    pub fn negotiate(&mut self) -> Option<Reply> {
        let dialects = ["PC NETWORK PROGRAM 1.0", "LANMAN1.0", NT_LM_0_12];
        let reply = self.command(Command::NEGOTIATE, Vec::new(), encode_dialects(&dialects))?;
        let block = reply.block();
        if block.word_count() == 17 {
            let words = NtResponse::decode(&mut block.words()).expect("17 words");
            let bytes = NtResponseBytes::decode(&words, self.text(), block.byte_slice())
                .expect("the bytes");
            self.negotiated = Some((words, bytes));
        }
        Some(reply)
    }

    fn setup(&mut self, request: &SessionSetupRequest<'_>, words: usize) -> Option<Reply> {
        let (w, b) = request.encode(self.text(), HEADER + 1 + 2 * words + 2);
        self.command(Command::SESSION_SETUP_ANDX, w, b)
    }

    /// Takes a key: the request that is answered now was number 0.
    fn activate(&mut self, key: MacKey, reply: &mut Reply) {
        // Guests and anonymous, and those that did not agree, go on unsigned;
        // a right number 1 is what tells.
        if key.verify(1, &reply.message).is_ok() {
            reply.signature = Some(true);
            self.key = Some(key);
            self.next = 2;
        }
    }

    /// Logs on with SPNEGO and NTLMv2; gives the last reply. A reply that is
    /// rightly signed with number 1 activates the key.
    pub fn logon(&mut self, user: &str, password: &str) -> Option<Reply> {
        let who = NtlmCredentials {
            user: user.into(),
            domain: "TEST".into(),
            nt_hash: NtHash::from_password(password),
            workstation: "TESTER".into(),
        };
        let client = NtlmInitiator::new(who, NtlmInitiator::default_flags(), None);
        let list = countersign_auth::spnego::mech_types_der(&[OID_NTLMSSP]);
        let first = NegTokenInit {
            mech_types: vec![OID_NTLMSSP],
            mech_types_der: &list,
            mech_token: Some(client.negotiate()),
            mech_list_mic: None,
        }
        .encode();
        let leg = self.extended(&first)?;
        if leg.status() != NtStatus::MORE_PROCESSING_REQUIRED {
            return Some(leg);
        }
        self.uid = leg.header.uid;
        let response = SessionSetupResponse::decode(&leg.block(), self.text()).expect("4 words");
        let blob = response.blob.expect("a token");
        let challenge = match NegotiationToken::decode(&blob).expect("SPNEGO") {
            NegotiationToken::Resp(r) => r.response_token.expect("a challenge").to_vec(),
            NegotiationToken::Init(_) => return Some(leg),
        };
        let random = ClientRandom {
            challenge: *b"testtest",
            session_key: [0x5A; 16].into(),
        };
        let done = client.authenticate(&challenge, &random).expect("CHALLENGE");
        let second = NegTokenResp {
            state: Some(NegState::AcceptIncomplete),
            supported_mech: None,
            response_token: Some(&done.token),
            mech_list_mic: None,
        }
        .encode();
        let mut last = self.extended(&second)?;
        if last.status() == NtStatus::SUCCESS
            && self.key.is_none()
            && let Some(key) = &done.session_key
        {
            self.activate(MacKey::new(key.as_bytes(), &[]), &mut last);
        }
        Some(last)
    }

    fn extended(&mut self, blob: &[u8]) -> Option<Reply> {
        let words = ExtendedWords {
            max_buffer_size: 16_644,
            max_mpx_count: 50,
            vc_number: 1,
            session_key: 0,
            security_blob_length: u16::try_from(blob.len()).expect("short"),
            reserved: 0,
            capabilities: 0x8000_00D4,
        };
        self.setup(
            &SessionSetupRequest::Extended {
                words,
                blob,
                native_os: "Test".into(),
                native_lan_man: "Test".into(),
            },
            12,
        )
    }

    /// Logs on with an NTLMv1 response, without extended security.
    pub fn classic_logon(&mut self, user: &str, password: &str) -> Option<Reply> {
        let Some((_, NtResponseBytes::Classic { challenge, .. })) = &self.negotiated else {
            panic!("negotiated with extended security");
        };
        let challenge: [u8; 8] = challenge.as_slice().try_into().expect("8 bytes");
        let hash = NtHash::from_password(password);
        let response = if user.is_empty() {
            Vec::new()
        } else {
            desl(hash.as_bytes(), challenge).to_vec()
        };
        let words = ClassicWords {
            max_buffer_size: 16_644,
            max_mpx_count: 50,
            vc_number: 1,
            session_key: 0,
            oem_password_len: 0,
            unicode_password_len: u16::try_from(response.len()).expect("short"),
            reserved: 0,
            capabilities: 0xD4,
        };
        let request = SessionSetupRequest::Classic {
            words,
            oem_password: &[],
            unicode_password: &response,
            names: Names {
                account: user.into(),
                domain: "TEST".into(),
                native_os: "Test".into(),
                native_lan_man: "Test".into(),
            },
        };
        let mut reply = self.setup(&request, 13)?;
        if reply.status() == NtStatus::SUCCESS {
            self.uid = reply.header.uid;
            if self.key.is_none() && !user.is_empty() {
                // The session key of NTLMv1 is the MD4 of the NT hash.
                let session_key = md4(hash.as_bytes());
                self.activate(MacKey::new(&*session_key, &response), &mut reply);
            }
        }
        Some(reply)
    }

    /// Connects a share and uses it from now on.
    pub fn tree_connect(&mut self, path: &str) -> Option<Reply> {
        let request = TreeConnectRequest {
            flags: 0,
            path: path.into(),
            service: "?????".into(),
        };
        let (words, bytes) = request.encode_andx(self.text(), HEADER);
        let reply = self.command(Command::TREE_CONNECT_ANDX, words, bytes)?;
        if reply.status() == NtStatus::SUCCESS {
            self.tid = reply.header.tid;
        }
        Some(reply)
    }
}
