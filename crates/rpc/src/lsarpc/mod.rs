//! Local security authority: names of SIDs and SIDs of names, [MS-LSAT] 3.1.4,
//! and what must be known of the server for it, [MS-LSAD] 3.1.4.

mod known;
mod lookup;

use countersign_wire::NtStatus;

use crate::facts::ServerFacts;
use crate::interface::{CallError, Handles};
use crate::ndr::{NdrReader, NdrWriter};

/// POLICY_INFORMATION_CLASS values answered, [MS-LSAD] 2.2.4.1.
const AUDIT_EVENTS: u16 = 2;
const PRIMARY_DOMAIN: u16 = 3;
const ACCOUNT_DOMAIN: u16 = 5;
const SERVER_ROLE: u16 = 6;
const DNS_DOMAIN: u16 = 12;
/// PolicyServerRolePrimary.
const ROLE_PRIMARY: u16 = 3;

pub(crate) fn call(
    opnum: u16,
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
    handles: &mut Handles,
) -> Result<Vec<u8>, CallError> {
    match opnum {
        0 => close(arguments, handles),
        6 | 44 => Ok(open_policy(facts, handles)),
        130 => Ok(open_policy3(facts, handles)),
        7 | 46 => {
            handles.check(arguments)?;
            query_information(arguments, facts)
        }
        45 => get_user_name(arguments, facts),
        14 | 58 | 68 => {
            handles.check(arguments)?;
            lookup::names(opnum, arguments, facts)
        }
        77 => lookup::names(opnum, arguments, facts),
        15 | 57 => {
            handles.check(arguments)?;
            lookup::sids(opnum, arguments, facts)
        }
        76 => lookup::sids(opnum, arguments, facts),
        _ => Err(CallError::OperationRange),
    }
}

fn close(arguments: &mut NdrReader<'_>, handles: &mut Handles) -> Result<Vec<u8>, CallError> {
    handles.close(arguments)?;
    let mut w = NdrWriter::new();
    w.bytes(&[0; 20]);
    w.u32(NtStatus::SUCCESS.0);
    Ok(w.finish())
}

/// A new policy handle and its status.
fn policy_handle(w: &mut NdrWriter, facts: &dyn ServerFacts, handles: &mut Handles) {
    let opened = if facts.caller().anonymous {
        Err(NtStatus::ACCESS_DENIED)
    } else {
        handles.open().ok_or(NtStatus::INSUFFICIENT_RESOURCES)
    };
    match opened {
        Ok(handle) => {
            w.bytes(&handle);
            w.u32(NtStatus::SUCCESS.0);
        }
        Err(status) => {
            w.bytes(&[0; 20]);
            w.u32(status.0);
        }
    }
}

/// LsarOpenPolicy, LsarOpenPolicy2: every handle may do what is served here.
fn open_policy(facts: &dyn ServerFacts, handles: &mut Handles) -> Vec<u8> {
    let mut w = NdrWriter::new();
    policy_handle(&mut w, facts, handles);
    w.finish()
}

/// LsarOpenPolicy3: revision 1, no features.
fn open_policy3(facts: &dyn ServerFacts, handles: &mut Handles) -> Vec<u8> {
    let mut w = NdrWriter::new();
    w.u32(1);
    w.u32(1);
    w.u32(1);
    w.u32(0);
    policy_handle(&mut w, facts, handles);
    w.finish()
}

/// LsarQueryInformationPolicy, LsarQueryInformationPolicy2.
fn query_information(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    let class = arguments.u16()?;
    let server = facts.server();
    let known = matches!(
        class,
        AUDIT_EVENTS | PRIMARY_DOMAIN | ACCOUNT_DOMAIN | SERVER_ROLE | DNS_DOMAIN
    );
    let mut w = NdrWriter::new();
    w.pointer(known);
    if known {
        w.u16(class);
    }
    match class {
        // AuditingMode off, no options.
        AUDIT_EVENTS => {
            w.u32(0);
            w.null();
            w.u32(0);
        }
        PRIMARY_DOMAIN => {
            w.unicode_string(&server.workgroup);
            w.sid(None);
        }
        ACCOUNT_DOMAIN => {
            w.unicode_string(&server.name);
            w.sid(Some(&server.machine_sid));
        }
        SERVER_ROLE => w.u16(ROLE_PRIMARY),
        DNS_DOMAIN => {
            w.unicode_string(&server.workgroup);
            w.unicode_string(&server.dns_domain);
            w.unicode_string(&server.dns_domain);
            w.bytes(&[0; 16]);
            w.sid(None);
        }
        _ => {}
    }
    w.referents();
    w.u32(if known {
        NtStatus::SUCCESS.0
    } else {
        NtStatus::INVALID_PARAMETER.0
    });
    Ok(w.finish())
}

/// LsarGetUserName.
fn get_user_name(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    if arguments.pointer()? {
        lookup::unicode_string(arguments)?;
    }
    let wants_domain = arguments.pointer()?;
    let caller = facts.caller();
    let (user, domain) = if caller.anonymous {
        ("ANONYMOUS LOGON", "NT AUTHORITY")
    } else {
        (caller.user.as_str(), caller.domain.as_str())
    };
    let mut w = NdrWriter::new();
    w.pointer(true);
    w.unicode_string(user);
    w.referents();
    w.pointer(wants_domain);
    if wants_domain {
        w.pointer(true);
        w.unicode_string(domain);
        w.referents();
    }
    w.u32(NtStatus::SUCCESS.0);
    Ok(w.finish())
}
