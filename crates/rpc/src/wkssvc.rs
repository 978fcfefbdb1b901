//! Workstation service, [MS-WKST] 3.2.4.

use crate::facts::ServerFacts;
use crate::interface::CallError;
use crate::ndr::{NdrReader, NdrWriter};
use crate::srvsvc::PLATFORM_NT;
use crate::win32;

/// NetSetupWorkgroupName and NetSetupDomainName, [MS-WKST] 2.2.3.1.
const JOINED_WORKGROUP: u16 = 2;
const JOINED_DOMAIN: u16 = 3;

pub(crate) fn call(
    opnum: u16,
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    match opnum {
        0 => get_info(arguments, facts),
        2 => user_enum(arguments, facts),
        20 => join_information(arguments, facts),
        _ => Err(CallError::OperationRange),
    }
}

/// NetrWkstaGetInfo, levels 100 to 102.
fn get_info(arguments: &mut NdrReader<'_>, facts: &dyn ServerFacts) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let level = arguments.u32()?;
    let server = facts.server();
    let code = match level {
        100 => win32::SUCCESS,
        101 if !facts.caller().anonymous => win32::SUCCESS,
        102 if facts.caller().administrator => win32::SUCCESS,
        101 | 102 => win32::ACCESS_DENIED,
        _ => win32::INVALID_LEVEL,
    };
    let mut w = NdrWriter::new();
    w.u32(level);
    // WKSTA_INFO has arms for levels that are not served too, [MS-WKST] 2.2.4.1.
    if matches!(level, 100..=102 | 502 | 1010..=1062) {
        w.pointer(code == win32::SUCCESS);
    }
    if code == win32::SUCCESS {
        w.u32(PLATFORM_NT);
        w.text(&server.name);
        w.text(&server.workgroup);
        w.u32(server.version.0);
        w.u32(server.version.1);
        if level >= 101 {
            w.text("");
        }
        if level == 102 {
            w.count(facts.sessions().len());
        }
    }
    w.referents();
    w.u32(code);
    Ok(w.finish())
}

/// NetrWkstaUserEnum: who is logged on at the console. Nobody is.
fn user_enum(arguments: &mut NdrReader<'_>, facts: &dyn ServerFacts) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let level = arguments.u32()?;
    let discriminant = arguments.u32()?;
    if level != discriminant {
        return Err(CallError::BadStub);
    }
    if arguments.pointer()? {
        let _entries = arguments.u32()?;
        if arguments.pointer()? && arguments.count()? != 0 {
            return Err(CallError::BadStub);
        }
    }
    arguments.u32()?;
    let resume = arguments.unique_u32()?;
    let code = match level {
        0 | 1 if facts.caller().administrator => win32::SUCCESS,
        0 | 1 => win32::ACCESS_DENIED,
        _ => win32::INVALID_LEVEL,
    };
    let mut w = NdrWriter::new();
    w.u32(level);
    w.u32(level);
    if code != win32::INVALID_LEVEL {
        w.pointer(code == win32::SUCCESS);
    }
    if code == win32::SUCCESS {
        w.u32(0);
        w.null();
    }
    w.u32(0);
    w.pointer(resume.is_some());
    if resume.is_some() {
        w.u32(0);
    }
    w.u32(code);
    Ok(w.finish())
}

/// NetrGetJoinInformation.
fn join_information(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    arguments.unique_string()?;
    let server = facts.server();
    let mut w = NdrWriter::new();
    w.text(&server.workgroup);
    w.referents();
    w.u16(if server.domain_member {
        JOINED_DOMAIN
    } else {
        JOINED_WORKGROUP
    });
    w.u32(win32::SUCCESS);
    Ok(w.finish())
}
