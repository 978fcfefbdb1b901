//! Server service, [MS-SRVS] 3.1.4.

use crate::facts::{OpenFileFacts, ServerFacts, SessionFacts, ShareFacts, ShareKind};
use crate::interface::CallError;
use crate::ndr::{NdrReader, NdrWriter};
use crate::win32;

/// SV_PLATFORM_ID_NT.
pub(crate) const PLATFORM_NT: u32 = 500;
/// STYPE_IPC.
pub(crate) const STYPE_IPC: u32 = 3;
/// STYPE_SPECIAL.
pub(crate) const STYPE_SPECIAL: u32 = 0x8000_0000;
/// SV_TYPE_WORKSTATION, SV_TYPE_SERVER, SV_TYPE_NT, SV_TYPE_SERVER_NT.
pub(crate) const SERVER_TYPE: u32 = 0x0000_9003;
/// SESS_GUEST.
const SESSION_GUEST: u32 = 1;
/// NAMETYPE_SHARE.
const NAME_TYPE_SHARE: u32 = 9;
/// Most characters in a share name, [MS-SRVS] 2.2.4.23.
const MAX_SHARE_NAME: usize = 80;

pub(crate) fn call(
    opnum: u16,
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    match opnum {
        8 => connection_enum(arguments),
        9 => file_enum(arguments, facts),
        12 => session_enum(arguments, facts),
        13 | 18 | 19 => Ok(status(win32::ACCESS_DENIED)),
        14 | 17 | 22 => Ok(refused_change()),
        15 | 36 => share_enum(arguments, facts),
        16 => share_get_info(arguments, facts),
        20 => share_check(arguments, facts),
        21 => server_get_info(arguments, facts),
        23 => disk_enum(arguments, facts),
        28 => Ok(remote_tod(facts)),
        33 => name_validate(arguments),
        _ => Err(CallError::OperationRange),
    }
}

/// The type of a share, [MS-SRVS] 2.2.2.4.
pub(crate) fn share_type(share: &ShareFacts) -> u32 {
    match share.kind {
        ShareKind::Disk if share.name.ends_with('$') => STYPE_SPECIAL,
        ShareKind::Disk => 0,
        ShareKind::Ipc => STYPE_IPC | STYPE_SPECIAL,
    }
}

/// The path shown for a share: the host's own is nobody's business.
fn share_path(share: &ShareFacts) -> String {
    match share.kind {
        ShareKind::Disk => format!("C:\\{}", share.name),
        ShareKind::Ipc => String::new(),
    }
}

fn status(code: u32) -> Vec<u8> {
    let mut w = NdrWriter::new();
    w.u32(code);
    w.finish()
}

/// NetrShareAdd, NetrShareSetInfo, NetrServerSetInfo: shares and names are the
/// configuration's. ParmErr is null.
fn refused_change() -> Vec<u8> {
    let mut w = NdrWriter::new();
    w.null();
    w.u32(win32::ACCESS_DENIED);
    w.finish()
}

/// The `[in, out]` enumeration structure: level and an empty container.
fn container(arguments: &mut NdrReader<'_>) -> Result<u32, CallError> {
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
    Ok(level)
}

/// PreferedMaximumLength and ResumeHandle.
fn bounds(arguments: &mut NdrReader<'_>) -> Result<Option<u32>, CallError> {
    arguments.u32()?;
    Ok(arguments.unique_u32()?)
}

/// The answer of an enumeration: all entries that remain after `resume`.
fn enumerated<T>(
    level: u32,
    entries: &[T],
    resume: Option<u32>,
    entry: impl Fn(&mut NdrWriter, &T),
) -> Vec<u8> {
    let skip = usize::try_from(resume.unwrap_or(0)).unwrap_or(usize::MAX);
    let rest = entries.get(skip..).unwrap_or_default();
    let mut w = NdrWriter::new();
    w.u32(level);
    w.u32(level);
    w.pointer(true);
    w.count(rest.len());
    w.pointer(!rest.is_empty());
    if !rest.is_empty() {
        w.count(rest.len());
        for e in rest {
            entry(&mut w, e);
        }
    }
    w.referents();
    w.count(rest.len());
    w.pointer(resume.is_some());
    if resume.is_some() {
        w.u32(0);
    }
    w.u32(win32::SUCCESS);
    w.finish()
}

/// The answer of an enumeration that fails.
fn not_enumerated(level: u32, known_level: bool, resume: Option<u32>, code: u32) -> Vec<u8> {
    let mut w = NdrWriter::new();
    w.u32(level);
    w.u32(level);
    if known_level {
        w.null();
    }
    w.u32(0);
    w.pointer(resume.is_some());
    if resume.is_some() {
        w.u32(0);
    }
    w.u32(code);
    w.finish()
}

/// A SHARE_INFO structure, [MS-SRVS] 2.2.4.22 to 2.2.4.33; false: no such level.
fn share_info(w: &mut NdrWriter, level: u32, share: &ShareFacts) -> bool {
    let security = share.security.as_deref();
    let long = |w: &mut NdrWriter| {
        w.text(&share.name);
        w.u32(share_type(share));
        w.text(&share.comment);
        w.u32(0);
        w.u32(u32::MAX);
        w.u32(share.current_uses);
        w.text(&share_path(share));
        w.null();
    };
    match level {
        0 => w.text(&share.name),
        1 | 501 => {
            w.text(&share.name);
            w.u32(share_type(share));
            w.text(&share.comment);
            if level == 501 {
                w.u32(0);
            }
        }
        2 => long(w),
        502 | 503 => {
            long(w);
            if level == 503 {
                w.text("*");
            }
            w.count(security.map_or(0, <[u8]>::len));
            w.byte_array(security);
        }
        1004 => w.text(&share.comment),
        1005 => w.u32(0),
        1006 => w.u32(u32::MAX),
        1007 => {
            w.u32(0);
            w.text("");
        }
        1501 => {
            w.count(security.map_or(0, <[u8]>::len));
            w.byte_array(security);
        }
        _ => return false,
    }
    true
}

fn share_enum(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let level = container(arguments)?;
    let resume = bounds(arguments)?;
    if !matches!(level, 0 | 1 | 2 | 501 | 502 | 503) {
        let arm = matches!(level, 1004..=1007 | 1501);
        return Ok(not_enumerated(level, arm, resume, win32::INVALID_LEVEL));
    }
    let shares: Vec<ShareFacts> = facts.shares().into_iter().filter(|s| !s.hidden).collect();
    Ok(enumerated(level, &shares, resume, |w, share| {
        share_info(w, level, share);
    }))
}

/// A union of one pointer: what GetInfo calls give back. `arm`: the union has
/// one for this level, even when the level is not served.
fn info(level: u32, arm: bool, code: u32, body: impl FnOnce(&mut NdrWriter)) -> Vec<u8> {
    let mut w = NdrWriter::new();
    w.u32(level);
    if arm {
        w.pointer(code == win32::SUCCESS);
    }
    if code == win32::SUCCESS {
        body(&mut w);
    }
    w.referents();
    w.u32(code);
    w.finish()
}

fn share_get_info(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let name = arguments.string()?;
    let level = arguments.u32()?;
    let share = facts
        .shares()
        .into_iter()
        .find(|s| s.name.eq_ignore_ascii_case(&name));
    let probe = ShareFacts {
        name: String::new(),
        comment: String::new(),
        kind: ShareKind::Disk,
        hidden: false,
        current_uses: 0,
        security: None,
    };
    if !share_info(&mut NdrWriter::new(), level, &probe) {
        return Ok(info(level, false, win32::INVALID_LEVEL, |_| {}));
    }
    Ok(match share {
        Some(share) => info(level, true, win32::SUCCESS, |w| {
            share_info(w, level, &share);
        }),
        None => info(level, true, win32::NERR_NET_NAME_NOT_FOUND, |_| {}),
    })
}

fn share_check(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let device = arguments.string()?;
    let found = facts
        .shares()
        .into_iter()
        .find(|s| !share_path(s).is_empty() && share_path(s).eq_ignore_ascii_case(&device));
    let mut w = NdrWriter::new();
    w.u32(found.as_ref().map_or(0, share_type));
    w.u32(if found.is_some() {
        win32::SUCCESS
    } else {
        win32::NERR_DEVICE_NOT_SHARED
    });
    Ok(w.finish())
}

/// The levels SERVER_INFO has an arm for, [MS-SRVS] 2.2.3.7 and older ones.
fn server_info_arm(level: u32) -> bool {
    matches!(
        level,
        100..=103 | 402 | 403 | 502 | 503 | 599 | 1005 | 1010 | 1016..=1018 | 1107 | 1501..=1556
    )
}

fn server_get_info(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let level = arguments.u32()?;
    let server = facts.server();
    let code = match level {
        100..=102 => win32::SUCCESS,
        _ => win32::INVALID_LEVEL,
    };
    Ok(info(level, server_info_arm(level), code, |w| {
        w.u32(PLATFORM_NT);
        w.text(&server.name);
        if level == 100 {
            return;
        }
        w.u32(server.version.0);
        w.u32(server.version.1);
        w.u32(SERVER_TYPE);
        w.text(&server.comment);
        if level == 101 {
            return;
        }
        w.u32(u32::MAX); // users
        w.u32(15); // minutes of idleness before a session is disconnected
        w.u32(0); // visible
        w.u32(240); // announce
        w.u32(3000); // anndelta
        w.u32(0); // licences
        w.text("C:\\");
    }))
}

fn session_enum(
    arguments: &mut NdrReader<'_>,
    facts: &dyn ServerFacts,
) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let client = arguments.unique_string()?.unwrap_or_default();
    let user = arguments.unique_string()?.unwrap_or_default();
    let level = container(arguments)?;
    let resume = bounds(arguments)?;
    if !matches!(level, 0 | 1 | 2 | 10 | 502) {
        return Ok(not_enumerated(level, false, resume, win32::INVALID_LEVEL));
    }
    let caller = facts.caller();
    if caller.anonymous || (!caller.administrator && matches!(level, 1 | 2 | 502)) {
        return Ok(not_enumerated(level, true, resume, win32::ACCESS_DENIED));
    }
    let client = client.trim_start_matches('\\');
    let mut sessions: Vec<SessionFacts> = facts
        .sessions()
        .into_iter()
        .filter(|s| client.is_empty() || s.client.eq_ignore_ascii_case(client))
        .filter(|s| user.is_empty() || s.user.eq_ignore_ascii_case(&user))
        .collect();
    if !caller.administrator {
        // Others' sessions are an administrator's business.
        sessions.retain(|s| s.user.eq_ignore_ascii_case(&caller.user));
    }
    Ok(enumerated(level, &sessions, resume, |w, s| {
        w.text(&s.client);
        if level == 0 {
            return;
        }
        w.text(&s.user);
        if level != 10 {
            w.u32(s.opens);
        }
        w.u32(s.seconds);
        w.u32(s.idle_seconds);
        if level == 10 {
            return;
        }
        w.u32(if s.guest { SESSION_GUEST } else { 0 });
        if level >= 2 {
            w.text("");
        }
        if level == 502 {
            w.text("");
        }
    }))
}

fn connection_enum(arguments: &mut NdrReader<'_>) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    arguments.unique_string()?;
    let level = container(arguments)?;
    let resume = bounds(arguments)?;
    let known = matches!(level, 0 | 1);
    let code = if known {
        win32::ACCESS_DENIED
    } else {
        win32::INVALID_LEVEL
    };
    Ok(not_enumerated(level, known, resume, code))
}

fn file_enum(arguments: &mut NdrReader<'_>, facts: &dyn ServerFacts) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let base = arguments
        .unique_string()?
        .unwrap_or_default()
        .to_lowercase();
    let user = arguments.unique_string()?.unwrap_or_default();
    let level = container(arguments)?;
    let resume = bounds(arguments)?;
    if !matches!(level, 2 | 3) {
        return Ok(not_enumerated(level, false, resume, win32::INVALID_LEVEL));
    }
    if !facts.caller().administrator {
        return Ok(not_enumerated(level, true, resume, win32::ACCESS_DENIED));
    }
    let files: Vec<OpenFileFacts> = facts
        .open_files()
        .into_iter()
        .filter(|f| f.path.to_lowercase().starts_with(&base))
        .filter(|f| user.is_empty() || f.user.eq_ignore_ascii_case(&user))
        .collect();
    Ok(enumerated(level, &files, resume, |w, f| {
        w.u32(f.id);
        if level == 3 {
            w.u32(f.permissions);
            w.u32(f.locks);
            w.text(&f.path);
            w.text(&f.user);
        }
    }))
}

fn disk_enum(arguments: &mut NdrReader<'_>, facts: &dyn ServerFacts) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let level = arguments.u32()?;
    let _entries = arguments.u32()?;
    if arguments.pointer()? {
        let _max = arguments.u32()?;
        let _offset = arguments.u32()?;
        if arguments.count()? != 0 {
            return Err(CallError::BadStub);
        }
    }
    let resume = bounds(arguments)?;
    let code = if level != 0 {
        win32::INVALID_LEVEL
    } else if facts.caller().administrator {
        win32::SUCCESS
    } else {
        win32::ACCESS_DENIED
    };
    let disks: &[&str] = if code == win32::SUCCESS {
        &["C:", ""]
    } else {
        &[]
    };
    let mut w = NdrWriter::new();
    w.count(disks.len());
    w.pointer(!disks.is_empty());
    if !disks.is_empty() {
        w.count(disks.len());
        w.u32(0);
        w.count(disks.len());
        for disk in disks {
            // DISK_INFO: a varying string in at most four characters.
            let units: Vec<u16> = disk.encode_utf16().chain([0]).collect();
            w.u32(0);
            w.count(units.len());
            for unit in units {
                w.u16(unit);
            }
        }
    }
    w.count(disks.len());
    w.pointer(resume.is_some());
    if resume.is_some() {
        w.u32(0);
    }
    w.u32(code);
    Ok(w.finish())
}

/// NetrRemoteTOD, [MS-SRVS] 3.1.4.21: the time in UTC.
fn remote_tod(facts: &dyn ServerFacts) -> Vec<u8> {
    let now = facts.now();
    let (seconds, nanoseconds) = now.to_unix();
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let small = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
    let (year, month, day) = civil(seconds / 86_400);
    let mut w = NdrWriter::new();
    w.pointer(true);
    w.u32(small(seconds));
    w.u32(small((now.0 / 10_000) & u64::from(u32::MAX)));
    w.u32(small(seconds / 3600 % 24));
    w.u32(small(seconds / 60 % 60));
    w.u32(small(seconds % 60));
    w.u32(nanoseconds / 10_000_000);
    w.u32(0); // minutes west of UTC
    w.u32(310); // tenths of milliseconds of one tick
    w.u32(day);
    w.u32(month);
    w.u32(year);
    w.u32(small((seconds / 86_400 + 4) % 7));
    w.u32(win32::SUCCESS);
    w.finish()
}

/// Year, month and day of a day counted from 1 January 1970.
pub(crate) fn civil(mut day: u64) -> (u32, u32, u32) {
    let leap = |y: u32| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970u32;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if day < length || year > 9999 {
            break;
        }
        day -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1u32;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, u32::try_from(day).unwrap_or(0) + 1)
}

/// NetprNameValidate, [MS-SRVS] 3.1.4.31, for the names of shares; names of
/// other types must merely not be empty or over-long.
fn name_validate(arguments: &mut NdrReader<'_>) -> Result<Vec<u8>, CallError> {
    arguments.unique_string()?;
    let name = arguments.string()?;
    let name_type = arguments.u32()?;
    let flags = arguments.u32()?;
    let lan_manager = flags & 0x8000_0000 != 0;
    if flags & 0x7FFF_FFFF != 0 || name_type == 0 || name_type > 13 {
        return Ok(status(win32::INVALID_PARAMETER));
    }
    let most = match (name_type, lan_manager) {
        (NAME_TYPE_SHARE, false) => MAX_SHARE_NAME,
        (NAME_TYPE_SHARE, true) => 13,
        _ => 255,
    };
    let wrong = |c: char| c.is_control() || "\"/\\[]:|<>+=;,*?".contains(c);
    let valid = !name.is_empty() && name.chars().count() <= most && !name.chars().any(wrong);
    Ok(status(if valid {
        win32::SUCCESS
    } else {
        win32::INVALID_NAME
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
        assert_eq!(civil(20_818), (2026, 12, 31));
    }
}
