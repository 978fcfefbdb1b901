//! Well-known accounts, [MS-DTYP] 2.4.2.4.

use crate::facts::{AccountFacts, AccountKind, ServerFacts};

/// Authority, sub-authorities, name, domain, kind.
type Row = (u8, &'static [u32], &'static str, &'static str, AccountKind);

const AUTHORITY: &str = "NT AUTHORITY";
const BUILTIN: &str = "BUILTIN";

const KNOWN: &[Row] = {
    use AccountKind::{Alias, Domain, WellKnownGroup};
    &[
        (1, &[0], "Everyone", "", WellKnownGroup),
        (3, &[0], "CREATOR OWNER", "", WellKnownGroup),
        (3, &[1], "CREATOR GROUP", "", WellKnownGroup),
        (3, &[4], "OWNER RIGHTS", "", WellKnownGroup),
        (5, &[2], "NETWORK", AUTHORITY, WellKnownGroup),
        (5, &[3], "BATCH", AUTHORITY, WellKnownGroup),
        (5, &[4], "INTERACTIVE", AUTHORITY, WellKnownGroup),
        (5, &[6], "SERVICE", AUTHORITY, WellKnownGroup),
        (5, &[7], "ANONYMOUS LOGON", AUTHORITY, WellKnownGroup),
        (5, &[10], "SELF", AUTHORITY, WellKnownGroup),
        (5, &[11], "Authenticated Users", AUTHORITY, WellKnownGroup),
        (5, &[18], "SYSTEM", AUTHORITY, WellKnownGroup),
        (5, &[19], "LOCAL SERVICE", AUTHORITY, WellKnownGroup),
        (5, &[20], "NETWORK SERVICE", AUTHORITY, WellKnownGroup),
        (5, &[32], BUILTIN, BUILTIN, Domain),
        (5, &[32, 544], "Administrators", BUILTIN, Alias),
        (5, &[32, 545], "Users", BUILTIN, Alias),
        (5, &[32, 546], "Guests", BUILTIN, Alias),
        (5, &[32, 547], "Power Users", BUILTIN, Alias),
        (5, &[32, 551], "Backup Operators", BUILTIN, Alias),
    ]
};

fn sid_bytes(authority: u8, sub: &[u32]) -> Vec<u8> {
    let count = u8::try_from(sub.len()).unwrap_or(0);
    let mut out = vec![1, count, 0, 0, 0, 0, 0, authority];
    for s in sub {
        out.extend_from_slice(&s.to_le_bytes());
    }
    out
}

fn account((authority, sub, name, domain, kind): &Row) -> AccountFacts {
    AccountFacts {
        name: (*name).to_owned(),
        domain: (*domain).to_owned(),
        kind: *kind,
        sid: sid_bytes(*authority, sub),
    }
}

/// The account of a SID: a well-known one, the machine, or what the server says.
pub(super) fn by_sid(sid: &[u8], facts: &dyn ServerFacts) -> Option<AccountFacts> {
    if let Some(row) = KNOWN.iter().find(|r| sid_bytes(r.0, r.1) == sid) {
        return Some(account(row));
    }
    let server = facts.server();
    if server.machine_sid == sid {
        return Some(machine(&server.name, sid));
    }
    facts.account_by_sid(sid)
}

fn machine(name: &str, sid: &[u8]) -> AccountFacts {
    let name = name.to_owned();
    AccountFacts {
        domain: name.clone(),
        name,
        kind: AccountKind::Domain,
        sid: sid.to_vec(),
    }
}

/// The account of a name, alone or behind its domain.
pub(super) fn by_name(name: &str, facts: &dyn ServerFacts) -> Option<AccountFacts> {
    // `DOMAIN\` is the domain; no name at all is the domain of the built-in groups.
    let name = match name.strip_suffix('\\').unwrap_or(name) {
        "" => BUILTIN,
        name => name,
    };
    let (domain, short) = name.rsplit_once('\\').unwrap_or(("", name));
    let row = KNOWN.iter().find(|r| {
        r.2.eq_ignore_ascii_case(short) && (domain.is_empty() || r.3.eq_ignore_ascii_case(domain))
    });
    if let Some(row) = row {
        return Some(account(row));
    }
    let server = facts.server();
    if domain.is_empty() && short.eq_ignore_ascii_case(&server.name) {
        return Some(machine(&server.name, &server.machine_sid));
    }
    facts.account_by_name(name)
}
