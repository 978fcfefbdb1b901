//! Captures made to measure: a logon and signed messages in TCP segments, in pcap.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "each user needs a part of it; made of what is known"
)]

use countersign_auth::NtHash;
use countersign_auth::ntlm::hash::{desl, md4};
use countersign_auth::ntlm::{Authenticate, Challenge, Negotiate, NegotiateFlags};
use countersign_crypto::SigningAlgorithm;
use countersign_crypto::smb1::MacKey;
use countersign_crypto::smb2::{PreauthHash, Sender, SessionKeys, SigningKey};

pub(crate) const USER: &str = "carol";
pub(crate) const PASSWORD: &str = "Sw0rdfish";
pub(crate) const SESSION: u64 = 0x4444_0000_0001;
pub(crate) const UID: u16 = 0x0800;

/// A capture of one connection.
pub(crate) struct Capture {
    pub(crate) bytes: Vec<u8>,
    /// Next sequence number of client and server.
    next: [u32; 2],
    segment: usize,
    /// Do not write what is sent: the capture loses it.
    pub(crate) losing: bool,
    port: u16,
}

impl Capture {
    /// The connection is opened; segments carry at most `segment` bytes.
    pub(crate) fn new(segment: usize) -> Self {
        let mut capture = Self {
            bytes: Vec::new(),
            next: [0xFFFF_FF00, 7000],
            segment,
            losing: false,
            port: 40_000,
        };
        capture.bytes.extend(pcap_header());
        capture.open(40_000);
        capture
    }

    /// Both sides end the connection.
    pub(crate) fn close(&mut self) {
        self.packet(0, 0x11, &[]);
        self.packet(1, 0x11, &[]);
    }

    /// Another connection, from another port.
    pub(crate) fn open(&mut self, port: u16) {
        self.port = port;
        self.next = [0xFFFF_FF00, 7000];
        self.packet(0, 2, &[]);
        self.packet(1, 0x12, &[]);
    }

    fn packet(&mut self, side: usize, flags: u8, data: &[u8]) {
        let syn = flags & 2 != 0;
        let (seq, ack) = (self.next[side], self.next[1 - side]);
        let step = u32::try_from(data.len()).unwrap() + u32::from(syn);
        self.next[side] = seq.wrapping_add(step);
        if self.losing {
            return;
        }
        let length = u32::try_from(14 + 40 + data.len()).unwrap();
        for v in [0, 0, length, length] {
            self.bytes.extend(u32::to_le_bytes(v));
        }
        self.bytes.extend([0; 12]);
        self.bytes.extend([8, 0, 0x45, 0]);
        let total = u16::try_from(40 + data.len()).unwrap_or(0);
        self.bytes.extend(total.to_be_bytes());
        self.bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        let ends = [([10, 0, 0, 1], self.port), ([10, 0, 0, 2], 445u16)];
        self.bytes.extend(ends[side].0);
        self.bytes.extend(ends[1 - side].0);
        self.bytes.extend(ends[side].1.to_be_bytes());
        self.bytes.extend(ends[1 - side].1.to_be_bytes());
        self.bytes.extend(seq.to_be_bytes());
        self.bytes.extend(ack.to_be_bytes());
        self.bytes.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(data);
    }

    /// A message in its session-service frame.
    pub(crate) fn send(&mut self, from_server: bool, message: &[u8]) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame = [&length[..], message].concat();
        for piece in frame.chunks(self.segment) {
            self.packet(usize::from(from_server), 0x18, piece);
        }
    }
}

/// The start of a pcap file.
pub(crate) fn pcap_header() -> Vec<u8> {
    [0xA1B2_C3D4, 0x0004_0002, 0, 0, 262_144, 1]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// An SMB2 message.
pub(crate) fn smb2(command: u16, from_server: bool, id: u64, session: u64, body: &[u8]) -> Vec<u8> {
    let mut m = b"\xFESMB\x40\0\0\0".to_vec();
    m.extend([0; 4]);
    m.extend(command.to_le_bytes());
    m.extend([1, 0]);
    m.extend(u32::from(from_server).to_le_bytes());
    m.extend([0; 4]);
    m.extend(id.to_le_bytes());
    m.extend([0; 8]);
    m.extend(session.to_le_bytes());
    m.extend([0; 16]);
    m.extend_from_slice(body);
    m
}

/// The same, signed.
pub(crate) fn signed(key: &SigningKey, from_server: bool, mut m: Vec<u8>) -> Vec<u8> {
    m[16] |= 8;
    key.sign(sender(from_server), &mut m);
    m
}

pub(crate) fn sender(from_server: bool) -> Sender {
    if from_server {
        Sender::Server
    } else {
        Sender::Client
    }
}

/// A READ response with this many bytes.
pub(crate) fn read_response(id: u64, length: usize) -> Vec<u8> {
    let mut body = vec![17, 0, 80, 0];
    body.extend(u32::try_from(length).unwrap().to_le_bytes());
    body.extend([0; 8]);
    body.extend((0..length).map(|n| (n % 251) as u8));
    smb2(8, true, id, SESSION, &body)
}

/// A READ request.
pub(crate) fn read_request(id: u64) -> Vec<u8> {
    smb2(8, false, id, SESSION, &[49; 49])
}

fn ntlm() -> (Vec<u8>, Vec<u8>, Vec<u8>, [u8; 16]) {
    let flags = NegotiateFlags::UNICODE | NegotiateFlags::NTLM;
    let hash = NtHash::from_password(PASSWORD);
    let negotiate = Negotiate {
        flags,
        ..Negotiate::default()
    }
    .encode();
    let challenge = Challenge {
        target_name: "S".into(),
        flags,
        server_challenge: CHALLENGE,
        target_info: Vec::new(),
        version: None,
    };
    let authenticate = Authenticate {
        lm_response: vec![0; 24],
        nt_response: desl(hash.as_bytes(), CHALLENGE).to_vec(),
        user: USER.into(),
        flags: Some(flags),
        ..Authenticate::default()
    };
    let key = *md4(hash.as_bytes());
    (negotiate, challenge.encode(), authenticate.encode(), key)
}

/// Keys of a logon.
pub(crate) struct Logon {
    pub(crate) session_key: [u8; 16],
    pub(crate) signing_key: [u8; 16],
    pub(crate) key: SigningKey,
    pub(crate) next_id: u64,
}

/// Negotiation and logon, signing required.
pub(crate) fn log_on(capture: &mut Capture, dialect: u16, algorithm: SigningAlgorithm) -> Logon {
    let (negotiate, challenge, authenticate, session_key) = ntlm();
    let mut hash = PreauthHash::new();
    let mut send = |capture: &mut Capture, from_server: bool, m: &[u8], hashed: bool| {
        if hashed {
            hash.update(m);
        }
        capture.send(from_server, m);
        hash.clone()
    };
    let request = smb2(0, false, 0, 0, &[36, 0, 1, 0, 1, 0, 0, 0]);
    send(capture, false, &request, true);
    let mut body = vec![65, 0, 3, 0];
    body.extend(dialect.to_le_bytes());
    body.extend([1, 0]);
    body.resize(60, 0);
    body.extend(128u32.to_le_bytes());
    body.extend([8, 0, 4, 0, 0, 0, 0, 0, 1, 0]);
    body.extend(algorithm.id().to_le_bytes());
    send(capture, true, &smb2(0, true, 0, 0, &body), true);
    let setup = |id: u64, session: u64, token: &[u8]| {
        let mut body = vec![25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0];
        body.extend(u16::try_from(token.len()).unwrap().to_le_bytes());
        body.extend([0; 8]);
        body.extend_from_slice(token);
        smb2(1, false, id, session, &body)
    };
    let answer = |id: u64, status: u32, token: &[u8]| {
        let mut body = vec![9, 0, 0, 0, 72, 0];
        body.extend(u16::try_from(token.len()).unwrap().to_le_bytes());
        body.extend_from_slice(token);
        let mut m = smb2(1, true, id, SESSION, &body);
        m[8..12].copy_from_slice(&status.to_le_bytes());
        m
    };
    send(capture, false, &setup(1, 0, &negotiate), true);
    send(capture, true, &answer(1, 0xC000_0016, &challenge), true);
    let hash = send(capture, false, &setup(2, SESSION, &authenticate), true);
    let keys = SessionKeys::derive(dialect, &session_key, Some(hash.value()), None).unwrap();
    let key = SigningKey::new(algorithm, &keys.signing_key);
    let last = signed(&key, true, answer(2, 0, &[]));
    capture.send(true, &last);
    Logon {
        session_key,
        signing_key: keys.signing_key,
        key,
        next_id: 3,
    }
}

/// An SMB1 message.
pub(crate) fn smb1(command: u8, from_server: bool, mid: u16, body: &[u8]) -> Vec<u8> {
    let mut m = b"\xFFSMB".to_vec();
    m.push(command);
    m.extend([0; 4]);
    m.push(if from_server { 0x88 } else { 8 });
    m.extend(0xC007u16.to_le_bytes());
    m.extend([0; 12]);
    m.extend([1, 0, 0x34, 0x12]);
    m.extend(UID.to_le_bytes());
    m.extend(mid.to_le_bytes());
    m.extend_from_slice(body);
    m
}

/// The challenge of the generated servers.
pub(crate) const CHALLENGE: [u8; 8] = *b"\x01\x23\x45\x67\x89\xAB\xCD\xEF";

/// Negotiation and logon without extended security, by NTLMv1; the next number is 2.
pub(crate) fn log_on_smb1(capture: &mut Capture) -> MacKey {
    let hash = NtHash::from_password(PASSWORD);
    let response = desl(hash.as_bytes(), CHALLENGE);
    let key = MacKey::new(md4(hash.as_bytes()).as_slice(), &response);
    log_on_smb1_with(capture, &[], &response, &key, 0);
    key
}

/// The same with these responses and this key, and Action in the response.
pub(crate) fn log_on_smb1_with(
    capture: &mut Capture,
    lm: &[u8],
    nt: &[u8],
    key: &MacKey,
    action: u8,
) {
    capture.send(false, &smb1(0x72, false, 0, &[0, 0, 0]));
    let mut m = smb1(0x72, true, 0, &[17, 0, 0, 0x0F]);
    // SecurityMode is at 35 of the message, the challenge at 69.
    m.resize(69, 0);
    m.extend(CHALLENGE);
    capture.send(true, &m);
    let mut body = vec![13, 0xFF, 0, 0, 0];
    body.resize(29, 0);
    let mut m = smb1(0x73, false, 1, &body);
    m[47..49].copy_from_slice(&(lm.len() as u16).to_le_bytes());
    m[49..51].copy_from_slice(&(nt.len() as u16).to_le_bytes());
    m.extend(lm);
    m.extend(nt);
    if m.len() % 2 == 1 {
        m.push(0);
    }
    for unit in USER.encode_utf16().chain([0, 0]) {
        m.extend(unit.to_le_bytes());
    }
    capture.send(false, &m);
    let mut m = smb1(0x73, true, 1, &[3, 0xFF, 0, 0, 0, action, 0, 0, 0]);
    key.sign(1, &mut m);
    capture.send(true, &m);
}

/// A pair of READ_ANDX messages, with data in the response, of this number.
pub(crate) fn read_smb1(
    capture: &mut Capture,
    key: &MacKey,
    number: u32,
    mid: u16,
    response: &mut [u8],
) {
    let mut m = smb1(0x2E, false, mid, &[12; 27]);
    key.sign(number, &mut m);
    capture.send(false, &m);
    response[30..32].copy_from_slice(&mid.to_le_bytes());
    key.sign(number + 1, response);
    capture.send(true, response);
}

/// A READ_ANDX response with this many bytes.
pub(crate) fn read_response_smb1(length: usize) -> Vec<u8> {
    let mut body = vec![12, 0xFF];
    body.resize(27, 0);
    body.extend((0..length).map(|n| (n % 251) as u8));
    smb1(0x2E, true, 0, &body)
}
