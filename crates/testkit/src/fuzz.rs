//! Oracles: what must hold for any bytes. A fuzz target is one call of one of
//! these; `cargo test` runs them over the captures and over found crashes.

use countersign_auth::Identity;
use countersign_auth::ntlm::{Authenticate, Challenge, Negotiate, NegotiateFlags};
use countersign_auth::pac::{LogonInfo, MAX_SIDS};
use countersign_auth::spnego::{NegTokenInit, NegTokenResp, NegotiationToken};
use countersign_auth::users::UserFile;
use countersign_crypto::Cipher;
use countersign_crypto::smb2::TransformKey;
use countersign_wire::dtyp;
use countersign_wire::nbss;
use countersign_wire::smb1;
use countersign_wire::smb2::*;

/// What must hold for any bytes; panics when it does not.
pub type Oracle = fn(&[u8]);

/// A target's name and its oracle; the fuzz crate has one target for each.
pub const ORACLES: &[(&str, Oracle)] = &[
    ("smb2_request", smb2_request),
    ("smb2_reply", smb2_reply),
    ("smb1_message", smb1_message),
    ("create_contexts", create_contexts),
    ("dfs_referral", dfs_referral),
    ("fscc", fscc),
    ("security_descriptor", security_descriptor),
    ("netbios", netbios),
    ("spnego", spnego),
    ("ntlm", ntlm),
    ("pac", pac),
    ("user_file", user_file),
    ("group_policy", group_policy),
    ("directory", directory),
    ("transform", transform),
    ("pipe", crate::fuzz_pipes::pipe),
    ("rap", crate::fuzz_pipes::rap),
    ("logon", crate::fuzz_pipes::logon),
    ("engine", crate::fuzz_engine::engine),
    ("verifier", crate::fuzz_verifier::verifier),
    ("smb1_reply", crate::fuzz_smb1_client::smb1_reply),
    ("template_inf", crate::fuzz_templates::template_inf),
    ("template_reg", crate::fuzz_templates::template_reg),
    ("template_pol", crate::fuzz_templates::template_pol),
    ("template_lgpo", crate::fuzz_templates::template_lgpo),
    ("template_json", crate::fuzz_templates::template_json),
];

/// A decoder was called; whatever it says is fine.
fn tried<T>(_: T) {}

/// The logon information of a ticket: bounded, each group once, never the user's
/// own SID; and the identity made of it.
pub fn pac(bytes: &[u8]) {
    let Ok(info) = LogonInfo::decode(bytes) else {
        return;
    };
    assert!(info.group_sids.len() <= MAX_SIDS);
    assert!(!info.group_sids.contains(&info.user_sid));
    let identity = Identity::domain_user(&info, "LAB.EXAMPLE");
    assert!(identity.is_listed_as(&identity.user_sid.to_string()));
}

/// Every request decoder over every part of a frame; what decodes is encoded
/// again and must then decode to the same.
pub fn smb2_request(frame: &[u8]) {
    for part in Compound::new(frame, 64) {
        let Ok(part) = part else { return };
        let m = part.message(frame);
        macro_rules! again {
            ($type:ident) => {
                if let Ok(v) = $type::decode(m) {
                    let mut out = part.header.to_bytes().to_vec();
                    v.encode(&mut countersign_wire::Writer::with_base(&mut out, 0));
                    assert_eq!($type::decode(&out).as_ref(), Ok(&v));
                }
            };
        }
        match part.header.command {
            Command::NEGOTIATE => again!(NegotiateRequest),
            Command::SESSION_SETUP => again!(SessionSetupRequest),
            Command::LOGOFF => tried(LogoffRequest::decode(m)),
            Command::TREE_CONNECT => tried(TreeConnectRequest::decode(m)),
            Command::TREE_DISCONNECT => tried(TreeDisconnectRequest::decode(m)),
            Command::CREATE => {
                if let Ok(r) = CreateRequest::decode(m) {
                    for context in &r.contexts {
                        tried(RequestContext::decode(context));
                    }
                }
            }
            Command::CLOSE => again!(CloseRequest),
            Command::FLUSH => again!(FlushRequest),
            Command::READ => tried(ReadRequest::decode(m)),
            Command::WRITE => tried(WriteRequest::decode(m)),
            Command::LOCK => again!(LockRequest),
            Command::IOCTL => tried(IoctlRequest::decode(m)),
            Command::CANCEL => tried(CancelRequest::decode(m)),
            Command::ECHO => tried(EchoRequest::decode(m)),
            Command::QUERY_DIRECTORY => tried(QueryDirectoryRequest::decode(m)),
            Command::CHANGE_NOTIFY => again!(ChangeNotifyRequest),
            Command::QUERY_INFO => tried(QueryInfoRequest::decode(m)),
            Command::SET_INFO => tried(SetInfoRequest::decode(m)),
            Command::OPLOCK_BREAK => tried(AnyBreak::decode(m)),
            _ => {}
        }
    }
}

/// Every reply decoder.
pub fn smb2_reply(frame: &[u8]) {
    for part in Compound::new(frame, 64) {
        let Ok(part) = part else { return };
        let m = part.message(frame);
        tried(ErrorResponse::decode(m));
        match part.header.command {
            Command::NEGOTIATE => tried(NegotiateResponse::decode(m)),
            Command::SESSION_SETUP => tried(SessionSetupResponse::decode(m)),
            Command::TREE_CONNECT => tried(TreeConnectResponse::decode(m)),
            Command::CREATE => tried(CreateResponse::decode(m)),
            Command::CLOSE => tried(CloseResponse::decode(m)),
            Command::READ => tried(ReadResponse::decode(m)),
            Command::WRITE => tried(WriteResponse::decode(m)),
            Command::IOCTL => tried(IoctlResponse::decode(m)),
            Command::QUERY_DIRECTORY => tried(QueryDirectoryResponse::decode(m)),
            Command::QUERY_INFO => tried(QueryInfoResponse::decode(m)),
            Command::CHANGE_NOTIFY => tried(ChangeNotifyResponse::decode(m)),
            Command::OPLOCK_BREAK => tried(AnyBreak::decode(m)),
            _ => {}
        }
    }
}

/// A DFS referral: what is read is written and read again as the same.
pub fn dfs_referral(bytes: &[u8]) {
    use countersign_wire::dfsc::{MAX_ENTRIES, ReferralRequest, ReferralResponse};
    tried(ReferralRequest::decode(bytes));
    let Ok(mut response) = ReferralResponse::decode(bytes) else {
        return;
    };
    assert!(response.entries.len() <= MAX_ENTRIES);
    for entry in &mut response.entries {
        entry.version = entry.version.max(3);
    }
    let mut out = Vec::new();
    if response
        .encode(&mut countersign_wire::Writer::new(&mut out))
        .is_some()
    {
        assert_eq!(ReferralResponse::decode(&out).as_ref(), Ok(&response));
    }
}

/// The SMB1 header, the AndX chain behind it and the transactions in it.
pub fn smb1_message(message: &[u8]) {
    let Ok(header) = smb1::Header::decode(message) else {
        return;
    };
    let text = smb1::Text::of(header.flags2, smb1::CodePage::default());
    for block in smb1::Chain::new(message, header.command, 64) {
        let Ok(block) = block else { return };
        tried(smb1::negotiate::decode_dialects(block.byte_slice()));
        tried(smb1::session_setup_andx::SessionSetupRequest::decode(
            &block, text,
        ));
        tried(smb1::open::decode_nt_create_andx(&block, text));
        tried(smb1::open::decode_open_andx(&block, text));
        tried(smb1::paths::decode_two_names(&block, text));
        tried(smb1::files::decode_write_data(&block, u16::MAX));
        tried(smb1::info::decode_fea_list(block.byte_slice()));
        tried(smb1::info::decode_gea_list(block.byte_slice()));
    }
}

/// A list of create contexts and every context in it.
pub fn create_contexts(list: &[u8]) {
    for context in ContextList::new(list) {
        let Ok(context) = context else { return };
        tried(RequestContext::decode(&context));
        tried(ResponseContext::decode(&context));
    }
}

/// Buffers of information classes that a peer sends.
pub fn fscc(buffer: &[u8]) {
    use countersign_wire::fscc::*;
    tried(RenameInformation::decode_smb2(buffer, false));
    tried(RenameInformation::decode_smb2(buffer, true));
    tried(RenameInformation::decode_smb1(buffer));
    tried(FullEa::decode_list(buffer));
    tried(decode_ea_names(buffer));
    tried(decode_name(buffer));
    tried(ReparseBuffer::decode(buffer));
}

/// Security descriptors: what decodes is encoded to something that decodes to the same.
pub fn security_descriptor(bytes: &[u8]) {
    if let Ok(sd) = dtyp::SecurityDescriptor::decode(bytes) {
        let out = sd.to_bytes();
        assert_eq!(dtyp::SecurityDescriptor::decode(&out), Ok(sd));
    }
}

/// NetBIOS headers and session requests.
pub fn netbios(bytes: &[u8]) {
    if let Some((head, body)) = bytes.split_first_chunk::<4>() {
        for framing in [nbss::Framing::Tcp, nbss::Framing::NetBios] {
            tried(nbss::FrameHeader::decode(*head, framing, 1 << 20));
        }
        tried(nbss::SessionRequest::decode(body));
    }
}

/// SPNEGO tokens: what decodes is encoded to something that decodes.
pub fn spnego(bytes: &[u8]) {
    match NegotiationToken::decode(bytes) {
        Ok(NegotiationToken::Init(t)) => {
            let again = NegTokenInit {
                mech_types_der: &[],
                ..t.clone()
            }
            .encode();
            assert!(NegotiationToken::decode(&again).is_ok());
        }
        Ok(NegotiationToken::Resp(t)) => {
            let again = NegTokenResp { ..t.clone() }.encode();
            assert_eq!(
                NegotiationToken::decode(&again),
                Ok(NegotiationToken::Resp(t))
            );
        }
        Err(_) => {}
    }
}

/// NTLM messages.
pub fn ntlm(bytes: &[u8]) {
    tried(Negotiate::decode(bytes));
    tried(Challenge::decode(bytes));
    for flags in [NegotiateFlags::UNICODE, NegotiateFlags::OEM] {
        if let Ok(m) = Authenticate::decode(bytes, flags) {
            tried(countersign_auth::ntlm::verify::promises_mic(&m.nt_response));
        }
    }
}

/// What name servers and controllers send. The first byte chooses the reader.
pub fn directory(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else {
        return;
    };
    match which % 3 {
        0 => countersign_directory::fuzz::ldap_message(rest),
        1 => countersign_directory::fuzz::netlogon(rest),
        _ => countersign_directory::fuzz::dns(rest),
    }
}

/// What the directory and SYSVOL say of Group Policy. The first byte chooses the reader.
pub fn group_policy(bytes: &[u8]) {
    use countersign_policy::group_policy::{
        DistinguishedName, containers_of, gpt_version, parse_links, registry_values,
        template_values,
    };
    let Some((which, rest)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match which % 5 {
        0 => {
            if let Ok(name) = text.parse::<DistinguishedName>() {
                let again: DistinguishedName = name.as_str().parse().expect("it was read");
                assert_eq!(name, again);
                assert_eq!(name.canonical(), again.canonical());
                tried(containers_of(&name));
                tried(name.dns_domain());
            }
        }
        1 => tried(parse_links(&text)),
        2 => tried(gpt_version(rest)),
        3 => tried(template_values(rest)),
        _ => tried(registry_values(rest)),
    }
}

/// The user file: what is read is written so that it reads the same.
pub fn user_file(bytes: &[u8]) {
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Ok(file) = UserFile::parse(text)
    {
        let again = file.to_text();
        let back = UserFile::parse(&again).expect("what was written reads");
        assert_eq!(back.users().count(), file.users().count());
    }
}

/// Sealed messages of a peer that does not know the key: never opened, never a panic.
pub fn transform(bytes: &[u8]) {
    for cipher in [
        Cipher::Aes128Ccm,
        Cipher::Aes128Gcm,
        Cipher::Aes256Ccm,
        Cipher::Aes256Gcm,
    ] {
        let length = if matches!(cipher, Cipher::Aes128Ccm | Cipher::Aes128Gcm) {
            16
        } else {
            32
        };
        let key = TransformKey::from_bytes(cipher, &vec![7; length]).expect("key length");
        let mut message = bytes.to_vec();
        assert!(key.open_in_place(&mut message).is_err());
    }
}

/// Writes seeds for every target below `folder`: each frame of the captures for
/// the targets that take frames, tokens cut out of them for the others.
///
/// # Errors
/// The captures cannot be read or the seeds not written.
pub fn write_seeds(captures: &std::path::Path, folder: &std::path::Path) -> std::io::Result<usize> {
    let mut seeds: std::collections::BTreeSet<(&str, Vec<u8>)> = Default::default();
    for entry in std::fs::read_dir(captures)?.flatten() {
        if entry.path().extension().is_none_or(|e| e != "pcapng") {
            continue;
        }
        let capture = std::fs::read(entry.path())?;
        seeds.insert(("verifier", [&[0][..], &capture].concat()));
        for seed in engine_seeds(&capture) {
            seeds.insert(("engine", seed));
        }
        let replies: Vec<_> = crate::pcapng::frames(&capture)
            .into_iter()
            .filter(|f| !f.from_client && f.bytes.first() == Some(&0xFF))
            .map(|f| f.bytes)
            .collect();
        if !replies.is_empty() {
            seeds.insert(("smb1_reply", crate::fuzz_smb1_client::seed(&replies)));
        }
        for frame in crate::pcapng::frames(&capture) {
            let bytes = frame.bytes;
            if bytes.len() > 4096 {
                continue;
            }
            if let Some(at) = bytes.windows(8).position(|w| w == b"NTLMSSP\0") {
                seeds.insert(("ntlm", bytes.get(at..).unwrap_or_default().to_vec()));
            }
            if let Some(at) = bytes.iter().position(|b| matches!(b, 0x60 | 0xA1)) {
                seeds.insert(("spnego", bytes.get(at..).unwrap_or_default().to_vec()));
            }
            let body = bytes.get(HEADER_LEN + 24..).unwrap_or_default().to_vec();
            for name in ["create_contexts", "fscc", "security_descriptor"] {
                seeds.insert((name, body.clone()));
            }
            let name = match bytes.first() {
                Some(0xFF) => "smb1_message",
                Some(0xFD) => "transform",
                _ if frame.from_client => "smb2_request",
                _ => "smb2_reply",
            };
            seeds.insert((name, bytes));
        }
    }
    seeds.extend(crate::fuzz_templates::template_seeds(
        &captures.join("../templates"),
    )?);
    seeds.insert(("netbios", [&[0x81, 0, 0, 68][..], &nbss_request()].concat()));
    for (name, bytes) in &seeds {
        let place = folder.join(name);
        std::fs::create_dir_all(&place)?;
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for b in bytes {
            hash = (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3);
        }
        std::fs::write(place.join(format!("seed-{hash:016x}")), bytes)?;
    }
    Ok(seeds.len())
}

/// Inputs of the engine's oracle made of a capture: each connection's client
/// frames as they stand, and once more inside a session, signed.
pub fn engine_seeds(capture: &[u8]) -> Vec<Vec<u8>> {
    let frames = crate::pcapng::frames(capture);
    let connections = frames.iter().map(|f| f.connection + 1).max().unwrap_or(0);
    let mut out = Vec::new();
    for connection in 0..connections.min(4) {
        for (choice, flags) in [(4_u8, 0_u8), (16 | 4, 3)] {
            let mut seed = vec![choice];
            for f in frames
                .iter()
                .filter(|f| f.connection == connection && f.from_client)
            {
                let length = u16::try_from(f.bytes.len()).unwrap_or(u16::MAX);
                seed.push(flags);
                seed.extend_from_slice(&length.to_le_bytes());
                seed.extend_from_slice(f.bytes.get(..usize::from(length)).unwrap_or_default());
                if seed.len() > 16 << 10 {
                    break;
                }
            }
            out.push(seed);
        }
    }
    out
}

fn nbss_request() -> Vec<u8> {
    let mut out = Vec::new();
    nbss::NetBiosName::new("*SMBSERVER", 0x20).encode(&mut out);
    nbss::NetBiosName::new("CLIENT", 0).encode(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every oracle over every frame of the captures, whole and cut off.
    #[test]
    fn captures_pass_every_oracle() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
        let mut frames = 0;
        for entry in std::fs::read_dir(folder).expect("captures").flatten() {
            if entry.path().extension().is_none_or(|e| e != "pcapng") {
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("capture");
            for frame in crate::pcapng::frames(&bytes) {
                frames += 1;
                for (name, oracle) in ORACLES {
                    // These have tests of their own.
                    if matches!(*name, "engine" | "verifier") {
                        continue;
                    }
                    oracle(&frame.bytes);
                    oracle(
                        frame
                            .bytes
                            .get(..frame.bytes.len() * 2 / 3)
                            .unwrap_or_default(),
                    );
                }
            }
        }
        assert!(frames > 1000, "only {frames} frames");
    }

    /// What the clients of the captures sent, to the engine: as it stands, and
    /// inside a session of ours.
    #[test]
    fn captured_clients_meet_the_engine() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
        let mut runs = 0;
        for entry in std::fs::read_dir(folder).expect("captures").flatten() {
            if entry.path().extension().is_none_or(|e| e != "pcapng") {
                continue;
            }
            for seed in engine_seeds(&std::fs::read(entry.path()).expect("capture")) {
                runs += 1;
                crate::fuzz_engine::engine(&seed);
            }
        }
        assert!(runs > 300, "only {runs} runs");
    }

    /// Crashes found by fuzzing stay found.
    #[test]
    fn regressions_pass() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/fuzz-regressions"
        );
        for (name, oracle) in ORACLES {
            let Ok(entries) = std::fs::read_dir(format!("{folder}/{name}")) else {
                continue;
            };
            for entry in entries.flatten() {
                oracle(&std::fs::read(entry.path()).expect("regression"));
            }
        }
    }
}
