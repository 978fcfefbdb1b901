//! All questions to one host, one after the other.

use std::net::SocketAddr;
use std::time::Instant;

use countersign_wire::NtStatus;
use countersign_wire::smb1::negotiate::{Capabilities, NtResponseBytes, SecurityMode};
use countersign_wire::smb2::{SessionFlags, dialect};
use zeroize::Zeroizing;

use crate::clock;
use crate::exchange::{Exchange, ProbeError};
use crate::ntlm;
use crate::prove::{self, Credentials};
use crate::report::{Accounts, DialectReport, HostReport, Names, Signing, Smb1Facts};
use crate::run::Options;
use crate::smb2::{CIPHERS, DIALECTS, Offer, SIGNING};
use crate::{session2, smb1, smb2};

/// Asks one host everything the options want to know.
pub(crate) async fn ask(to: SocketAddr, target: Option<String>, options: &Options) -> HostReport {
    let begun = Instant::now();
    let mut report = HostReport {
        address: to.ip().to_string(),
        port: to.port(),
        target,
        ..HostReport::default()
    };
    if let Err(error) = dialects(to, options, &mut report).await {
        report.error = Some(error.to_string());
    } else if report.dialects.is_empty() {
        report.error = Some("it accepts a connection, but speaks no dialect of SMB".to_owned());
    }
    if options.accounts {
        report.accounts = accounts(to, options, &report).await;
    }
    if let Some(who) = &options.prove {
        proofs(to, options, who, &mut report).await;
    }
    report.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

async fn dialects(
    to: SocketAddr,
    options: &Options,
    report: &mut HostReport,
) -> Result<(), ProbeError> {
    // The first connection tells whether anybody is there.
    let first = Exchange::connect(to, options.timeout).await?;
    if let Some(old) = smb1(first, report).await {
        report.dialects.push(old);
    }
    for (id, name) in DIALECTS {
        let Ok(exchange) = Exchange::connect(to, options.timeout).await else {
            continue;
        };
        let Ok((mut link, answer)) = smb2::negotiate(exchange, &Offer::all(id)).await else {
            continue;
        };
        if report.guid.is_none() {
            report.guid = Some(guid(&answer.guid.0));
        }
        if let Some(clock) = clock::clock(answer.system_time, answer.start_time, clock::now_ms()) {
            report.clock = Some(clock);
        }
        let mut found = DialectReport {
            dialect: name,
            signing: answer.signing,
            signing_algorithms: Vec::new(),
            ciphers: Vec::new(),
            compression: smb2::compression(&answer.compression),
            capabilities: smb2::capabilities(answer.capabilities),
            mechanisms: ntlm::mechanisms(&answer.hint),
            max_read: answer.max[0],
            max_write: answer.max[1],
            max_transact: answer.max[2],
            smb1: None,
        };
        algorithms(to, options, &answer, id, &mut found).await;
        // The newest dialect it speaks tells the names.
        if let Ok(Some(names)) = session2::names(&mut link).await {
            report.names = Some(names);
        }
        report.dialects.push(found);
    }
    Ok(())
}

/// What signs and encrypts. Of 3.1.1 each algorithm is asked for alone, since a
/// server names only the one it chose.
async fn algorithms(
    to: SocketAddr,
    options: &Options,
    answer: &smb2::Answer,
    id: u16,
    found: &mut DialectReport,
) {
    if id < dialect::SMB_3_0 {
        found.signing_algorithms.push("HMAC-SHA256".to_owned());
        return;
    }
    if id < dialect::SMB_3_1_1 {
        found.signing_algorithms.push("AES-128-CMAC".to_owned());
        if found.capabilities.contains(&"ENCRYPTION") {
            found.ciphers.push("AES-128-CCM".to_owned());
        }
        return;
    }
    match answer.algorithm {
        Some(chosen) => found
            .signing_algorithms
            .push(smb2::name_of(&SIGNING, chosen)),
        // A server without the context signs with CMAC.
        None => found.signing_algorithms.push("AES-128-CMAC".to_owned()),
    }
    found
        .ciphers
        .extend(answer.cipher.map(|chosen| smb2::name_of(&CIPHERS, chosen)));
    if options.quick {
        return;
    }
    if answer.algorithm.is_some() {
        for (one, name) in SIGNING {
            let offer = Offer {
                signing: vec![one],
                ..Offer::all(id)
            };
            if let Some(theirs) = again(to, options, &offer).await
                && theirs.algorithm == Some(one)
                && !found.signing_algorithms.iter().any(|known| known == name)
            {
                found.signing_algorithms.push(name.to_owned());
            }
        }
    }
    if answer.cipher.is_some() {
        for (one, name) in CIPHERS {
            let offer = Offer {
                ciphers: vec![one],
                ..Offer::all(id)
            };
            if let Some(theirs) = again(to, options, &offer).await
                && theirs.cipher == Some(one)
                && !found.ciphers.iter().any(|known| known == name)
            {
                found.ciphers.push(name.to_owned());
            }
        }
    }
}

async fn again(to: SocketAddr, options: &Options, offer: &Offer) -> Option<smb2::Answer> {
    let exchange = Exchange::connect(to, options.timeout).await.ok()?;
    let (_, answer) = smb2::negotiate(exchange, offer).await.ok()?;
    Some(answer)
}

async fn smb1(exchange: Exchange, report: &mut HostReport) -> Option<DialectReport> {
    let (mut link, answer) = smb1::negotiate(exchange, true).await.ok()?;
    let mode = SecurityMode::from_bits_retain(answer.words.security_mode);
    let capabilities = Capabilities::from_bits_retain(answer.words.capabilities);
    let mut facts = Smb1Facts {
        extended_security: capabilities.contains(Capabilities::EXTENDED_SECURITY),
        encrypts_passwords: mode.contains(SecurityMode::ENCRYPT_PASSWORDS),
        user_security: mode.contains(SecurityMode::USER),
        max_mpx: answer.words.max_mpx_count,
        ..Smb1Facts::default()
    };
    report.clock = clock::clock(
        answer.words.system_time,
        countersign_wire::FileTime(0),
        clock::now_ms(),
    );
    let mut mechanisms = Vec::new();
    match &answer.bytes {
        NtResponseBytes::Extended { guid: id, blob } => {
            report.guid = Some(guid(&id.0));
            mechanisms = ntlm::mechanisms(blob);
            if let Ok((names, native_os, native_lan_man)) = smb1::names(&mut link).await {
                report.names = names;
                facts.native_os = native_os;
                facts.native_lan_man = native_lan_man;
            }
        }
        NtResponseBytes::Classic { domain, server, .. } => {
            report.names = Some(Names {
                computer: server.clone(),
                domain: domain.clone(),
                ..Names::default()
            });
        }
    }
    Some(DialectReport {
        dialect: "smb1",
        signing: answer.signing,
        signing_algorithms: if answer.signing == Signing::Disabled {
            Vec::new()
        } else {
            vec!["MD5".to_owned()]
        },
        ciphers: Vec::new(),
        compression: Vec::new(),
        capabilities: capabilities
            .iter_names()
            .map(|(name, _)| name)
            .filter(|name| *name != "_")
            .collect(),
        mechanisms,
        max_read: answer.words.max_buffer_size,
        max_write: answer.words.max_buffer_size,
        max_transact: answer.words.max_buffer_size,
        smb1: Some(facts),
    })
}

/// Null session and guest, in the newest dialect behind SMB1.
async fn accounts(to: SocketAddr, options: &Options, report: &HostReport) -> Option<Accounts> {
    let newest = report.smb2()?;
    let (id, _) = DIALECTS
        .into_iter()
        .find(|(_, name)| *name == newest.dialect)?;
    let nobody = Credentials {
        user: String::new(),
        domain: String::new(),
        password: Zeroizing::new(String::new()),
    };
    let stranger = Credentials {
        user: "countersign-scan".to_owned(),
        domain: String::new(),
        password: Zeroizing::new("no such password".to_owned()),
    };
    let mut told = Vec::new();
    for (who, wanted) in [(nobody, "allowed"), (stranger, "guest")] {
        let outcome = match Exchange::connect(to, options.timeout).await {
            Err(error) => Err(error),
            Ok(exchange) => match smb2::negotiate(exchange, &Offer::all(id)).await {
                Err(error) => Err(error),
                Ok((mut link, _)) => session2::logon(&mut link, &who).await,
            },
        };
        told.push(match outcome {
            Ok(session) if wanted == "guest" => {
                if session.flags.contains(SessionFlags::IS_GUEST) {
                    "guest".to_owned()
                } else {
                    "allowed".to_owned()
                }
            }
            Ok(_) => wanted.to_owned(),
            Err(ProbeError::Status(NtStatus::LOGON_FAILURE)) => "refused".to_owned(),
            Err(error) => error.to_string(),
        });
    }
    let mut told = told.into_iter();
    Some(Accounts {
        anonymous: told.next()?,
        guest: told.next()?,
    })
}

async fn proofs(to: SocketAddr, options: &Options, who: &Credentials, report: &mut HostReport) {
    for found in &report.dialects {
        let proof = match DIALECTS
            .into_iter()
            .find(|(_, name)| *name == found.dialect)
        {
            Some(one) => prove::smb2(to, options.timeout, one, found.signing, who).await,
            None => prove::smb1(to, options.timeout, found.signing, who).await,
        };
        report.proof.push(proof);
    }
}

/// A GUID in its usual form.
fn guid(bytes: &[u8; 16]) -> String {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d @ ..] = *bytes;
    let tail: String = d.iter().map(|byte| format!("{byte:02x}")).collect();
    let (d0, d1) = tail.split_at(4);
    format!(
        "{:08x}-{:04x}-{:04x}-{d0}-{d1}",
        u32::from_le_bytes([a0, a1, a2, a3]),
        u16::from_le_bytes([b0, b1]),
        u16::from_le_bytes([c0, c1]),
    )
}
