//! LsarLookupSids and LsarLookupNames with their later forms, [MS-LSAT] 3.1.4.5
//! to 3.1.4.12.

use countersign_wire::NtStatus;

use super::known;
use crate::facts::{AccountFacts, AccountKind, ServerFacts};
use crate::interface::CallError;
use crate::ndr::{MAX_STRING, NdrError, NdrReader, NdrWriter};

/// Most SIDs or names in one call, [MS-LSAT] 2.2.10 and 3.1.4.5.
const MAX_LOOKUPS: usize = 1000;
/// SidTypeUnknown.
const UNKNOWN: u16 = 8;
/// STATUS_SOME_NOT_MAPPED.
const SOME_NOT_MAPPED: u32 = 0x0000_0107;
/// DomainIndex of what has no domain.
const NO_DOMAIN: u32 = u32::MAX;

/// The domains an answer refers to: name and SID.
#[derive(Default)]
struct Domains(Vec<(String, Vec<u8>)>);

impl Domains {
    /// The index of an account's domain, and the rid below it.
    fn of(&mut self, account: &AccountFacts) -> (u32, u32) {
        let (sid, rid) = if account.kind == AccountKind::Domain {
            (account.sid.clone(), u32::MAX)
        } else {
            parent(&account.sid)
        };
        let at = self.0.iter().position(|d| d.1 == sid).unwrap_or_else(|| {
            self.0.push((account.domain.clone(), sid));
            self.0.len() - 1
        });
        (u32::try_from(at).unwrap_or(NO_DOMAIN), rid)
    }

    /// LSAPR_REFERENCED_DOMAIN_LIST behind its pointer.
    fn write(&self, w: &mut NdrWriter) {
        w.pointer(true);
        w.count(self.0.len());
        w.pointer(!self.0.is_empty());
        w.u32(32);
        if !self.0.is_empty() {
            w.count(self.0.len());
            for (name, sid) in &self.0 {
                w.unicode_string(name);
                w.sid(Some(sid));
            }
        }
        w.referents();
    }
}

/// A SID without its last sub-authority, and that.
fn parent(sid: &[u8]) -> (Vec<u8>, u32) {
    match sid.split_last_chunk::<4>() {
        Some((head, rid)) if head.len() >= 8 => {
            let mut head = head.to_vec();
            if let Some(count) = head.get_mut(1) {
                *count = count.saturating_sub(1);
            }
            (head, u32::from_le_bytes(*rid))
        }
        _ => (sid.to_vec(), u32::MAX),
    }
}

fn status(mapped: usize, all: usize) -> u32 {
    if mapped == all {
        NtStatus::SUCCESS.0
    } else if mapped == 0 {
        NtStatus::NONE_MAPPED.0
    } else {
        SOME_NOT_MAPPED
    }
}

/// A SID in text, for those nobody knows.
fn text(sid: &[u8]) -> String {
    let (head, subs) = sid.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let authority = head
        .iter()
        .skip(2)
        .fold(0u64, |a, b| (a << 8) | u64::from(*b));
    let mut out = format!("S-1-{authority}");
    for sub in subs.as_chunks::<4>().0 {
        out.push_str(&format!("-{}", u32::from_le_bytes(*sub)));
    }
    out
}

/// LsarLookupSids (15), LsarLookupSids2 (57), LsarLookupSids3 (76).
pub(super) fn sids(
    opnum: u16,
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    let count = arguments.count()?;
    let mut asked = Vec::new();
    if arguments.pointer()? {
        if arguments.count()? != count || count > MAX_LOOKUPS {
            return Err(CallError::BadStub);
        }
        let mut present = Vec::with_capacity(count);
        for _ in 0..count {
            present.push(arguments.pointer()?);
        }
        for there in present {
            asked.push(if there { arguments.sid()? } else { Vec::new() });
        }
    }
    let mut domains = Domains::default();
    let mut mapped = 0;
    let mut rows = Vec::with_capacity(asked.len());
    for sid in &asked {
        rows.push(match known::by_sid(sid, facts) {
            Some(account) => {
                mapped += 1;
                let (domain, _) = domains.of(&account);
                (account.kind as u16, account.name, domain)
            }
            None => (UNKNOWN, text(sid), NO_DOMAIN),
        });
    }
    let mut w = NdrWriter::new();
    domains.write(&mut w);
    w.count(rows.len());
    w.pointer(!rows.is_empty());
    if !rows.is_empty() {
        w.count(rows.len());
        for (kind, name, domain) in &rows {
            w.align(4);
            w.u16(*kind);
            w.unicode_string(name);
            w.u32(*domain);
            if opnum != 15 {
                w.u32(0);
            }
        }
    }
    w.referents();
    w.count(mapped);
    w.u32(status(mapped, rows.len()));
    Ok(w.finish())
}

/// RPC_UNICODE_STRING with its buffer behind it.
pub(super) fn unicode_string(r: &mut NdrReader<'_>) -> Result<String, NdrError> {
    r.align(4);
    r.u16()?;
    r.u16()?;
    if r.pointer()? {
        units(r)
    } else {
        Ok(String::new())
    }
}

/// The buffer of a RPC_UNICODE_STRING.
fn units(r: &mut NdrReader<'_>) -> Result<String, NdrError> {
    let max = r.count()?;
    let offset = r.count()?;
    let actual = r.count()?;
    if offset != 0 || actual > max || actual > MAX_STRING {
        return Err(NdrError);
    }
    let units: Vec<u16> = (0..actual).map(|_| r.u16()).collect::<Result<_, _>>()?;
    Ok(String::from_utf16_lossy(&units))
}

/// LsarLookupNames (14), LsarLookupNames2 (58), LsarLookupNames3 (68),
/// LsarLookupNames4 (77).
pub(super) fn names(
    opnum: u16,
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    let count = arguments.count()?;
    if arguments.count()? != count || count > MAX_LOOKUPS {
        return Err(CallError::BadStub);
    }
    let mut present = Vec::with_capacity(count);
    for _ in 0..count {
        arguments.align(4);
        arguments.u16()?;
        arguments.u16()?;
        present.push(arguments.pointer()?);
    }
    let mut asked = Vec::with_capacity(count);
    for there in present {
        asked.push(if there {
            units(arguments)?
        } else {
            String::new()
        });
    }
    let mut domains = Domains::default();
    let mut mapped = 0;
    let mut rows = Vec::with_capacity(count);
    for name in &asked {
        rows.push(match known::by_name(name, facts) {
            Some(account) => {
                mapped += 1;
                let (domain, rid) = domains.of(&account);
                (account.kind as u16, rid, Some(account.sid), domain)
            }
            None => (UNKNOWN, 0, None, NO_DOMAIN),
        });
    }
    let mut w = NdrWriter::new();
    domains.write(&mut w);
    w.count(rows.len());
    w.pointer(!rows.is_empty());
    if !rows.is_empty() {
        w.count(rows.len());
        for (kind, rid, sid, domain) in &rows {
            w.align(4);
            w.u16(*kind);
            if matches!(opnum, 68 | 77) {
                w.sid(sid.as_deref());
            } else {
                w.u32(*rid);
            }
            w.u32(*domain);
            if opnum != 14 {
                w.u32(0);
            }
        }
    }
    w.referents();
    w.count(mapped);
    w.u32(status(mapped, rows.len()));
    Ok(w.finish())
}
