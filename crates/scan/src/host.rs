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
use crate::{session1, session2, smb1, smb2};

/// Asks one host everything the options want to know. `address` is how it is shown,
/// `target` the name it was given by.
pub(crate) async fn ask(
    to: SocketAddr,
    address: String,
    target: Option<String>,
    options: &Options,
) -> HostReport {
    let begun = Instant::now();
    let mut report = HostReport {
        address,
        port: to.port(),
        target,
        ..HostReport::default()
    };
    // What was heard until then is in the report.
    let all = questions(to, options, &mut report);
    if tokio::time::timeout(options.host_timeout, all)
        .await
        .is_err()
    {
        let limit = options.host_timeout.as_secs_f64();
        let late = format!("not finished within {limit} s");
        if report.dialects.is_empty() {
            report.error = Some(late);
        } else {
            report.unanswered.push(late);
        }
    }
    report.dialects.sort_by_key(|found| age(found.dialect));
    report.proof.sort_by_key(|proof| age(proof.dialect));
    report.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

/// Oldest first.
fn age(dialect: &str) -> usize {
    let behind = DIALECTS.iter().position(|(_, name)| *name == dialect);
    behind.map_or(0, |place| place.saturating_add(1))
}

async fn questions(to: SocketAddr, options: &Options, report: &mut HostReport) {
    if let Err(error) = dialects(to, options, report).await {
        report.error = Some(error.to_string());
        return;
    }
    if report.dialects.is_empty() {
        let why = report.unanswered.first();
        let why = why.map_or_else(String::new, |why| format!(" ({why})"));
        report.error = Some(format!("it takes connections, but speaks no SMB{why}"));
        return;
    }
    if options.accounts {
        report.accounts = accounts(to, options, report).await;
    }
    if let Some(who) = &options.prove {
        proofs(to, options, who, report).await;
    }
}

/// Questions in a row without an answer that can be read, after which nobody is asked
/// any more.
const SILENCES: usize = 2;

async fn dialects(
    to: SocketAddr,
    options: &Options,
    report: &mut HostReport,
) -> Result<(), ProbeError> {
    // The first connection tells whether anybody is there.
    let first = Exchange::connect(to, options.timeout).await?;
    match smb1(first, report).await {
        Ok(old) => report.dialects.push(old),
        Err(error) => unanswered(report, "smb1", &error),
    }
    // The newest dialect it speaks tells the names.
    let mut told = false;
    for (id, name) in DIALECTS.into_iter().rev() {
        if report.dialects.is_empty() && report.unanswered.len() >= SILENCES {
            break;
        }
        let link = match Exchange::connect(to, options.timeout).await {
            Ok(exchange) => smb2::negotiate(exchange, &Offer::all(id)).await,
            Err(error) => Err(error),
        };
        let (mut link, answer) = match link {
            Ok(link) => link,
            Err(error) => {
                unanswered(report, name, &error);
                continue;
            }
        };
        if !told {
            report.guid = Some(guid(&answer.guid.0));
            let clock = clock::clock(answer.system_time, answer.start_time, clock::now_ms());
            report.clock = clock.or(report.clock);
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
        if !told && let Ok(Some(names)) = session2::names(&mut link).await {
            report.names = Some(names);
        }
        told = true;
        drop(link);
        algorithms(to, options, &answer, id, &mut found).await;
        report.dialects.push(found);
    }
    Ok(())
}

/// That a server declines a dialect is an answer; anything else is none.
fn unanswered(report: &mut HostReport, dialect: &str, error: &ProbeError) {
    if !error.declines() {
        report.unanswered.push(format!("{dialect}: {error}"));
    }
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

async fn smb1(exchange: Exchange, report: &mut HostReport) -> Result<DialectReport, ProbeError> {
    let (mut link, answer) = smb1::negotiate(exchange, true).await?;
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
    Ok(DialectReport {
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

/// Null session and guest, in the newest dialect it speaks.
async fn accounts(to: SocketAddr, options: &Options, report: &HostReport) -> Option<Accounts> {
    let newest = report.dialects.first()?.dialect;
    let newest = report.smb2().map_or(newest, |found| found.dialect);
    let id = DIALECTS
        .into_iter()
        .find(|(_, name)| *name == newest)
        .map(|(id, _)| id);
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
    for (who, own) in [(nobody, "allowed"), (stranger, "guest")] {
        let outcome = logon(to, options, id, &who).await;
        told.push(match outcome {
            Ok(true) => own.to_owned(),
            Ok(false) => "allowed".to_owned(),
            Err(ProbeError::Status(NtStatus::LOGON_FAILURE | NtStatus::ACCESS_DENIED)) => {
                "refused".to_owned()
            }
            Err(error) => error.to_string(),
        });
    }
    let mut told = told.into_iter();
    Some(Accounts {
        anonymous: told.next()?,
        guest: told.next()?,
    })
}

/// Logs on, in SMB1 if there is no dialect behind it; whether as a guest.
async fn logon(
    to: SocketAddr,
    options: &Options,
    dialect: Option<u16>,
    who: &Credentials,
) -> Result<bool, ProbeError> {
    let exchange = Exchange::connect(to, options.timeout).await?;
    if let Some(id) = dialect {
        let (mut link, _) = smb2::negotiate(exchange, &Offer::all(id)).await?;
        let session = session2::logon(&mut link, who).await?;
        return Ok(session.flags.contains(SessionFlags::IS_GUEST));
    }
    let (mut link, _) = smb1::negotiate(exchange, true).await?;
    Ok(session1::logon(&mut link, who).await?.guest)
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
