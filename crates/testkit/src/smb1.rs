//! A scripted SMB1 client (NT LM 0.12): does what a test says, right or wrong.
//!
//! It counts and signs as [MS-CIFS] says unless told otherwise, and checks every
//! signature it gets.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign_auth::NtHash;
use countersign_auth::ntlm::hash::{desl, hmac_md5, md4, ntowf_v2};
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiator};
use countersign_auth::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_NTLMSSP,
};
use countersign_crypto::smb1::MacKey;
use countersign_wire::NtStatus;
use countersign_wire::smb1::{
    Capabilities, Command, Flags2, Header, MessageWriter, SIGNATURE_PLACEHOLDER,
};

use crate::wire::Wire;

/// How a client logs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SPNEGO with NTLMv2.
    Spnego,
    /// Raw NTLMSSP with NTLMv2.
    RawNtlmssp,
    /// Without extended security, NTLMv2 response.
    ClassicV2,
    /// Without extended security, 24-byte NTLM response.
    ClassicV1,
}

/// A reply taken apart.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its header.
    pub header: Header,
    /// The whole message.
    pub message: Vec<u8>,
    /// Whether its signature is that of the number that was awaited; `None`
    /// while there is no key.
    pub signature: Option<bool>,
}

impl Reply {
    /// Status as NTSTATUS.
    pub fn status(&self) -> NtStatus {
        NtStatus(self.header.status)
    }

    /// Words of the first block.
    pub fn words(&self) -> &[u8] {
        let count = self.message.get(32).copied().unwrap_or(0);
        self.message
            .get(33..33 + usize::from(count) * 2)
            .unwrap_or_default()
    }

    /// Bytes of the first block.
    pub fn bytes(&self) -> &[u8] {
        let at = 33 + self.words().len();
        let count = match self.message.get(at..at + 2) {
            Some([a, b]) => usize::from(u16::from_le_bytes([*a, *b])),
            _ => 0,
        };
        self.message.get(at + 2..at + 2 + count).unwrap_or_default()
    }

    /// Action of a SESSION_SETUP response.
    pub fn action(&self) -> u16 {
        match self.words().get(4..6) {
            Some([a, b]) => u16::from_le_bytes([*a, *b]),
            _ => 0,
        }
    }
}

/// The client: one connection.
pub struct Client<W> {
    /// The connection.
    pub wire: W,
    /// Flags2 of every request.
    pub flags2: Flags2,
    /// UID in requests.
    pub uid: u16,
    /// TID in requests.
    pub tid: u16,
    /// Next MID.
    pub mid: u16,
    /// SecurityMode of the NEGOTIATE response.
    pub security_mode: u8,
    /// Capabilities of the NEGOTIATE response.
    pub capabilities: u32,
    /// Key, once signing is active.
    pub key: Option<MacKey>,
    /// Number of the next request.
    pub next: u32,
    /// Signs requests (with a key).
    pub sign: bool,
    /// The client wants signing: SESSION_SETUP carries the placeholder.
    pub wants_signing: bool,
    challenge: [u8; 8],
    awaited: Vec<(u16, u32)>,
}

impl<W: Wire> Client<W> {
    /// A client on a fresh connection.
    pub fn new(wire: W) -> Self {
        Self {
            wire,
            flags2: Flags2::LONG_NAMES | Flags2::NT_STATUS | Flags2::UNICODE,
            uid: 0,
            tid: 0,
            mid: 1,
            security_mode: 0,
            capabilities: 0,
            key: None,
            next: 0,
            sign: true,
            wants_signing: false,
            challenge: [0; 8],
            awaited: Vec::new(),
        }
    }

    /// A request's header as it should be now; takes a MID.
    pub fn header(&mut self, command: u8) -> Header {
        let mid = self.mid;
        self.mid += 1;
        Header {
            command,
            flags2: self.flags2,
            pid_low: 0x1234,
            uid: self.uid,
            tid: self.tid,
            mid,
            ..Header::default()
        }
    }

    /// A message of one block.
    pub fn message(header: &Header, andx: bool, words: &[u8], bytes: &[u8]) -> Vec<u8> {
        let mut w = MessageWriter::new(0);
        w.block(header.command, andx, words, bytes);
        w.finish(&header.encode())
    }

    /// Numbers, signs and sends a message.
    pub fn send(&mut self, mut message: Vec<u8>) {
        let header = Header::decode(&message).expect("header");
        if let Some(key) = &self.key {
            let number = self.next;
            self.next += if header.command == Command::NT_CANCEL {
                1
            } else {
                2
            };
            if header.command != Command::NT_CANCEL {
                self.awaited.retain(|(mid, _)| *mid != header.mid);
                self.awaited.push((header.mid, number + 1));
            }
            if self.sign {
                key.sign(number, &mut message);
            }
        } else if self.wants_signing
            && header.command == Command::SESSION_SETUP_ANDX
            && let Some(place) = message.get_mut(14..22)
        {
            place.copy_from_slice(&SIGNATURE_PLACEHOLDER);
        }
        self.wire.send(&message);
    }

    /// Builds, protects and sends a request; gives the reply.
    pub fn call(&mut self, command: u8, andx: bool, words: &[u8], bytes: &[u8]) -> Option<Reply> {
        let header = self.header(command);
        self.send(Self::message(&header, andx, words, bytes));
        self.reply()
    }

    /// The next message from the server.
    pub fn reply(&mut self) -> Option<Reply> {
        let message = self.wire.receive()?;
        let header = Header::decode(&message).expect("header");
        let number = self
            .awaited
            .iter()
            .find(|(mid, _)| *mid == header.mid)
            .map(|(_, n)| *n);
        let signature = match (&self.key, number) {
            (Some(key), Some(number)) => Some(key.verify(number, &message).is_ok()),
            _ => None,
        };
        Some(Reply {
            header,
            message,
            signature,
        })
    }

    /// NEGOTIATE offering these dialects; notes what was answered.
    pub fn negotiate(&mut self, dialects: &[&str], extended: bool) -> Option<Reply> {
        self.flags2.set(Flags2::EXTENDED_SECURITY, extended);
        let bytes: Vec<u8> = dialects
            .iter()
            .flat_map(|d| [&[2u8], d.as_bytes(), &[0]].concat())
            .collect();
        let reply = self.call(Command::NEGOTIATE, false, &[], &bytes)?;
        let words = reply.words();
        if words.len() == 34 {
            self.security_mode = words.get(2).copied().unwrap_or(0);
            self.capabilities = words
                .get(19..23)
                .and_then(|w| w.try_into().ok())
                .map_or(0, u32::from_le_bytes);
            if let Some(challenge) = reply.bytes().get(..8) {
                self.challenge.copy_from_slice(challenge);
            }
        }
        Some(reply)
    }

    /// Logs on; gives the last reply. With `activate` the key is taken and the
    /// final reply verified with number 1.
    pub fn logon(
        &mut self,
        form: Form,
        user: &str,
        password: &str,
        activate: bool,
    ) -> Option<Reply> {
        match form {
            Form::Spnego | Form::RawNtlmssp => self.extended(form, user, password, activate),
            Form::ClassicV1 | Form::ClassicV2 => self.classic(form, user, password, activate),
        }
    }

    fn extended(
        &mut self,
        form: Form,
        user: &str,
        password: &str,
        activate: bool,
    ) -> Option<Reply> {
        let who = NtlmCredentials {
            user: user.into(),
            domain: "TEST".into(),
            nt_hash: NtHash::from_password(password),
            workstation: "TESTER".into(),
        };
        let client = NtlmInitiator::new(who, NtlmInitiator::default_flags(), None);
        let list = countersign_auth::spnego::mech_types_der(&[OID_NTLMSSP]);
        let first = match form {
            Form::RawNtlmssp => client.negotiate().to_vec(),
            _ => NegTokenInit {
                mech_types: vec![OID_NTLMSSP],
                mech_types_der: &list,
                mech_token: Some(client.negotiate()),
                mech_list_mic: None,
            }
            .encode(),
        };
        self.uid = 0;
        let leg = self.setup_extended(&first)?;
        if leg.status() != NtStatus::MORE_PROCESSING_REQUIRED {
            return Some(leg);
        }
        self.uid = leg.header.uid;
        let length = leg
            .words()
            .get(6..8)
            .map_or(0, |w| usize::from(u16::from_le_bytes([w[0], w[1]])));
        let blob = leg.bytes().get(..length).unwrap_or_default();
        let challenge = match form {
            Form::RawNtlmssp => blob.to_vec(),
            _ => match NegotiationToken::decode(blob).expect("SPNEGO") {
                NegotiationToken::Resp(r) => r.response_token.expect("a challenge").to_vec(),
                NegotiationToken::Init(_) => return Some(leg),
            },
        };
        static LOGONS: AtomicU64 = AtomicU64::new(1);
        let mut key = [0xA5; 16];
        for (to, from) in key
            .iter_mut()
            .zip(LOGONS.fetch_add(1, Ordering::Relaxed).to_le_bytes())
        {
            *to ^= from;
        }
        let random = ClientRandom {
            challenge: *b"testtest",
            session_key: key.into(),
        };
        let done = client.authenticate(&challenge, &random).expect("CHALLENGE");
        let second = match form {
            Form::RawNtlmssp => done.token.clone(),
            _ => NegTokenResp {
                state: Some(NegState::AcceptIncomplete),
                supported_mech: None,
                response_token: Some(&done.token),
                mech_list_mic: None,
            }
            .encode(),
        };
        let session_key = done.session_key.as_ref().map(|k| k.as_bytes().to_vec());
        let header = self.header(Command::SESSION_SETUP_ANDX);
        let (words, bytes) = extended_block(&second);
        let message = Self::message(&header, true, &words, &bytes);
        self.finish(
            message,
            header.mid,
            activate.then_some(session_key).flatten(),
            &[],
        )
    }

    fn setup_extended(&mut self, token: &[u8]) -> Option<Reply> {
        let (words, bytes) = extended_block(token);
        self.call(Command::SESSION_SETUP_ANDX, true, &words, &bytes)
    }

    fn classic(&mut self, form: Form, user: &str, password: &str, activate: bool) -> Option<Reply> {
        let hash = NtHash::from_password(password);
        let (lm, nt, key) = if user.is_empty() {
            (Vec::new(), Vec::new(), None)
        } else if form == Form::ClassicV1 {
            let nt = desl(hash.as_bytes(), self.challenge).to_vec();
            (nt.clone(), nt, Some(md4(hash.as_bytes()).to_vec()))
        } else {
            let ntowf = ntowf_v2(hash.as_bytes(), user, "TEST");
            let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
            blob.extend_from_slice(&[7; 8]);
            blob.extend_from_slice(b"testtest");
            blob.extend_from_slice(&[0; 12]);
            let proof = hmac_md5(ntowf.as_slice(), &[&self.challenge, &blob]);
            let key = hmac_md5(ntowf.as_slice(), &[proof.as_slice()]).to_vec();
            let lm_proof = hmac_md5(ntowf.as_slice(), &[&self.challenge, b"testtest"]);
            let lm = [lm_proof.as_slice(), b"testtest"].concat();
            (lm, [proof.as_slice(), &blob].concat(), Some(key))
        };
        self.uid = 0;
        let header = self.header(Command::SESSION_SETUP_ANDX);
        let length = |v: &[u8]| u16::try_from(v.len()).expect("length").to_le_bytes();
        let capabilities = Capabilities::UNICODE | Capabilities::STATUS32 | Capabilities::NT_SMBS;
        let words = [
            &0xFFFFu16.to_le_bytes()[..],
            &50u16.to_le_bytes(),
            &1u16.to_le_bytes(),
            &[0; 4],
            &length(&lm),
            &length(&nt),
            &[0; 4],
            &capabilities.bits().to_le_bytes(),
        ]
        .concat();
        let mut bytes = [&lm[..], &nt].concat();
        // Strings begin at an even offset from the header: 32 + 1 + 26 + 2 = 61.
        if !(61 + bytes.len()).is_multiple_of(2) {
            bytes.push(0);
        }
        for text in [user, "TEST", "tester", "tester"] {
            bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        }
        let message = Self::message(&header, true, &words, &bytes);
        self.finish(message, header.mid, key.filter(|_| activate), &nt)
    }

    /// Sends the last leg; takes the key with its final reply when that succeeds.
    fn finish(
        &mut self,
        message: Vec<u8>,
        mid: u16,
        key: Option<Vec<u8>>,
        response: &[u8],
    ) -> Option<Reply> {
        let first = self.key.is_none();
        self.send(message);
        let mut reply = self.reply()?;
        if reply.status() == NtStatus::SUCCESS {
            self.uid = reply.header.uid;
            if first && let Some(key) = key {
                let key = MacKey::new(&key, response);
                reply.signature = Some(key.verify(1, &reply.message).is_ok());
                self.key = Some(key);
                self.next = 2;
                self.awaited.retain(|(m, _)| *m != mid);
            }
        }
        Some(reply)
    }

    /// TREE_CONNECT_ANDX; takes the TID on success.
    pub fn tree_connect(&mut self, path: &str) -> Option<Reply> {
        let words = [8u16.to_le_bytes(), 1u16.to_le_bytes()].concat();
        let mut bytes = vec![0];
        // One password byte at 43; the path begins at 44.
        bytes.extend(path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes.extend_from_slice(b"?????\0");
        let reply = self.call(Command::TREE_CONNECT_ANDX, true, &words, &bytes)?;
        if reply.status() == NtStatus::SUCCESS {
            self.tid = reply.header.tid;
        }
        Some(reply)
    }

    /// ECHO; gives the first reply.
    pub fn echo(&mut self, count: u16, data: &[u8]) -> Option<Reply> {
        let header = self.header(Command::ECHO);
        self.send(Self::message(&header, false, &count.to_le_bytes(), data));
        if count == 0 { None } else { self.reply() }
    }
}

/// Words (without the AndX bytes) and bytes of an extended SESSION_SETUP_ANDX.
fn extended_block(token: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let capabilities = Capabilities::UNICODE
        | Capabilities::STATUS32
        | Capabilities::NT_SMBS
        | Capabilities::EXTENDED_SECURITY;
    let words = [
        &0xFFFFu16.to_le_bytes()[..],
        &50u16.to_le_bytes(),
        &1u16.to_le_bytes(),
        &[0; 4],
        &u16::try_from(token.len()).expect("length").to_le_bytes(),
        &[0; 4],
        &capabilities.bits().to_le_bytes(),
    ]
    .concat();
    let mut bytes = token.to_vec();
    // 32 + 1 + 24 + 2 = 59 bytes are in front.
    if !(59 + bytes.len()).is_multiple_of(2) {
        bytes.push(0);
    }
    for text in ["tester", "tester"] {
        bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    }
    (words, bytes)
}
