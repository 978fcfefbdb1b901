//! NEGOTIATE, [MS-CIFS] 3.2.4.2.2, 3.2.5.2 and [MS-SMB] 3.2.5.2.

use countersign_wire::smb1::info::FindLevel;
use countersign_wire::smb1::negotiate::{
    NO_DIALECT, NT_LM_0_12, NtResponse, NtResponseBytes, SMB_2_002, SMB_2_WILDCARD, encode_dialects,
};
use countersign_wire::smb1::{
    Capabilities, CodePage, Command, Flags2, SecurityMode, Text, TimeZone,
};
use countersign_wire::{FileTime, Guid, NtStatus};

use super::Smb1;
use super::exchange::{Reply, Request};
use crate::client::engine::{Event, Link, LogonKind, Negotiated, PeerSigning};
use crate::client::failure::{CloseReason, Failure};
use crate::config::Dialect;

/// Bytes of a READ_ANDX or WRITE_ANDX of servers of whom nothing more is known:
/// what Windows clients ask for.
const COMMON_IO: u32 = 0xF000;
/// The same of servers that fill 17-bit frames.
const LARGE_IO: u32 = 0x1_F000;
/// What stands around the data of a WRITE_ANDX or READ_ANDX.
const AROUND_DATA: u32 = 68;

/// Words of an answer in a dialect before NT LM 0.12.
const LAN_MANAGER_WORDS: usize = 13;

/// What NEGOTIATE told of the server.
pub(super) struct Server {
    /// Capabilities.
    pub(super) capabilities: Capabilities,
    /// MaxBufferSize.
    pub(super) max_buffer: u32,
    /// Requests that may be on their way.
    pub(super) requests: usize,
    /// SessionKey.
    pub(super) session_key: u32,
    /// The challenge of a logon without extended security.
    pub(super) challenge: Option<[u8; 8]>,
    /// How strings are written.
    pub(super) text: Text,
    /// What DOS times are counted in.
    pub(super) zone: TimeZone,
    /// Flags2 of requests.
    pub(super) flags2: Flags2,
    /// Largest READ_ANDX.
    pub(super) max_read: u32,
    /// Largest READ_ANDX and WRITE_ANDX of this side's own will.
    pub(super) max_io: u32,
    /// Largest answer of a transaction.
    pub(super) max_transact: u32,
    /// It takes and gives 17-bit frames.
    pub(super) large_io: bool,
    /// Level of listings.
    pub(super) find_level: FindLevel,
    /// Requests sent.
    pub(super) order: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            capabilities: Capabilities::empty(),
            max_buffer: 4356,
            requests: 1,
            session_key: 0,
            challenge: None,
            text: Text {
                unicode: true,
                code_page: CodePage::default(),
            },
            zone: TimeZone::default(),
            flags2: Flags2::LONG_NAMES | Flags2::NT_STATUS | Flags2::UNICODE,
            max_read: COMMON_IO,
            max_io: COMMON_IO,
            max_transact: COMMON_IO,
            large_io: false,
            find_level: FindLevel::IdBothDirectoryInfo,
            order: 0,
        }
    }
}

impl Server {
    /// It offers this.
    pub(super) fn can(&self, capability: Capabilities) -> bool {
        self.capabilities.contains(capability)
    }
}

impl Smb1 {
    pub(super) fn negotiate(&mut self, link: &mut Link) {
        let mut pid = [0; 2];
        link.random(&mut pid);
        self.pid = u16::from_le_bytes(pid).clamp(1, 0xFFFE);
        self.server.text.code_page = link.config.smb1.code_page;
        self.server.flags2.set(
            Flags2::EXTENDED_SECURITY,
            link.config.smb1.extended_security,
        );
        let policy = std::sync::Arc::clone(&link.config.policy);
        self.signing.begin(&policy);
        // [MS-SMB2] 3.2.4.2.2.1: SMB2 is offered as well where it is allowed; the
        // engine goes over to it when the server answers so.
        let mut dialects = vec![NT_LM_0_12];
        if link.config.max_dialect >= Dialect::Smb202 {
            dialects.push(SMB_2_002);
        }
        if link.config.max_dialect >= Dialect::Smb210 {
            dialects.push(SMB_2_WILDCARD);
        }
        let bytes = encode_dialects(&dialects);
        let request = Request::new(Command::NEGOTIATE, 0, Vec::new(), bytes);
        self.send(link, None, request, |me, link, reply| {
            let told = reply.and_then(|reply| me.negotiated(link, &reply));
            match told {
                Ok(negotiated) => link.tell(Event::Negotiated(Box::new(negotiated))),
                Err(failure) => link.close(match failure {
                    Failure::Closed(reason) => reason,
                    Failure::Status { status, .. } => CloseReason::Negotiation(status),
                    _ => CloseReason::Violation("the answer to NEGOTIATE is malformed"),
                }),
            }
        });
    }

    fn negotiated(&mut self, link: &mut Link, reply: &Reply) -> Result<Negotiated, Failure> {
        let incompatible = |what| Failure::Closed(CloseReason::Incompatible(what));
        if reply.status != NtStatus::SUCCESS {
            return Err(reply.failure());
        }
        let block = reply.block()?;
        let mut r = block.words();
        if r.u16("DialectIndex").map_err(|_| reply.malformed())? == NO_DIALECT {
            return Err(incompatible("the server does not speak SMB1 (NT LM 0.12)"));
        }
        if block.word_count() == LAN_MANAGER_WORDS {
            return Err(incompatible(
                "the server speaks LAN Manager only, which is older than NT LM 0.12",
            ));
        }
        let words = NtResponse::decode(&mut block.words()).map_err(|_| reply.malformed())?;
        if words.dialect_index != 0 {
            return Err(reply.malformed());
        }
        let capabilities = Capabilities::from_bits_retain(words.capabilities);
        let mode = SecurityMode::from_bits_retain(words.security_mode);
        if !mode.contains(SecurityMode::USER) {
            return Err(incompatible("the server has share-level security"));
        }
        if !mode.contains(SecurityMode::ENCRYPT_PASSWORDS) {
            return Err(incompatible("the server wants passwords in clear"));
        }
        let policy = std::sync::Arc::clone(&link.config.policy);
        self.signing
            .negotiated(&policy, mode)
            .map_err(|reason| Failure::Closed(CloseReason::Policy(reason)))?;
        let unicode = capabilities.contains(Capabilities::UNICODE);
        self.server.text.unicode = unicode;
        let bytes = NtResponseBytes::decode(&words, self.server.text, block.byte_slice())
            .map_err(|_| reply.malformed())?;
        let (logon, token, guid, names) = match bytes {
            NtResponseBytes::Extended { guid, blob } => (LogonKind::Tokens, blob, guid, None),
            NtResponseBytes::Classic {
                challenge,
                domain,
                server,
            } => {
                let challenge = challenge.try_into().map_err(|_| reply.malformed())?;
                self.server.challenge = Some(challenge);
                let names = Some((domain, server));
                (LogonKind::Classic, Vec::new(), Guid::default(), names)
            }
        };
        self.take_capabilities(link, &words, capabilities, logon == LogonKind::Tokens);
        Ok(Negotiated {
            dialect: Dialect::Smb1,
            logon,
            token,
            signing: PeerSigning {
                enabled: mode.contains(SecurityMode::SIGNATURES_ENABLED),
                required: mode.contains(SecurityMode::SIGNATURES_REQUIRED),
            },
            algorithm: None,
            cipher: None,
            server_guid: guid,
            capabilities: capabilities.bits(),
            system_time: words.system_time,
            start_time: None::<FileTime>,
            names,
        })
    }

    fn take_capabilities(
        &mut self,
        link: &Link,
        words: &NtResponse,
        capabilities: Capabilities,
        extended: bool,
    ) {
        let limits = &link.config.limits;
        let server = &mut self.server;
        server.capabilities = capabilities;
        server.max_buffer = words.max_buffer_size;
        server.session_key = words.session_key;
        server.zone = TimeZone {
            minutes_west: words.server_time_zone,
        };
        server.requests = usize::from(words.max_mpx_count.max(1).min(limits.credits.max(1)));
        let mut flags2 = Flags2::LONG_NAMES;
        flags2.set(Flags2::UNICODE, server.text.unicode);
        flags2.set(
            Flags2::NT_STATUS,
            capabilities.contains(Capabilities::STATUS32),
        );
        flags2.set(Flags2::EXTENDED_SECURITY, extended);
        server.flags2 = flags2;
        server.find_level = if capabilities.contains(Capabilities::INFOLEVEL_PASSTHRU) {
            FindLevel::IdBothDirectoryInfo
        } else if capabilities.contains(Capabilities::NT_FIND) {
            FindLevel::BothDirectoryInfo
        } else {
            FindLevel::InfoStandard
        };
        server.max_transact = limits.max_transact.clamp(1024, 0xFFFF);
        server.max_io = limits.max_io.max(1);
        self.take_sizes();
    }

    /// What the server's names tell of its sizes: no field does.
    pub(super) fn take_native_lan_man(&mut self, native_lan_man: &str) {
        self.server.large_io = ["Samba", "Countersign"]
            .iter()
            .any(|name| native_lan_man.starts_with(name));
        self.take_sizes();
    }

    fn take_sizes(&mut self) {
        let server = &mut self.server;
        server.max_read = if server.can(Capabilities::LARGE_READX) {
            server.large()
        } else {
            server.max_buffer.clamp(1024, 0xFFFF) - AROUND_DATA
        }
        .min(server.max_io);
    }

    /// Largest WRITE_ANDX. Signing ends large writes, [MS-SMB] 3.2.4.14.1, but
    /// at servers that are known to take them all the same.
    pub(super) fn max_write(&self) -> u32 {
        let server = &self.server;
        let large = server.can(Capabilities::LARGE_WRITEX)
            && (server.large_io || !self.signing.is_active());
        if large {
            server.large()
        } else {
            server.max_buffer.clamp(1024, 0xFFFF) - AROUND_DATA
        }
        .min(server.max_io)
    }
}

impl Server {
    fn large(&self) -> u32 {
        if self.large_io { LARGE_IO } else { COMMON_IO }
    }
}
