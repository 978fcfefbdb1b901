//! TRANS2_FIND_FIRST2 and FIND_NEXT2, [MS-CIFS] 3.3.5.58.2, 3.3.5.58.3.

use std::sync::Arc;

use countersign_fs::call::DirSink;
use countersign_fs::{DirEntry, FsCall, FsError, FsReply, Open};
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb1::info::{DirectoryEntry, FindLevel, decode_gea_list};
use countersign_wire::smb1::trans2 as wire;
use countersign_wire::smb1::trans2::FindFlags;
use countersign_wire::smb1::{Text, TimeZone};
use countersign_wire::{NtStatus, Writer};

use super::names::{inclusive, open_folder};
use super::open::{close_file, ext_attributes, open_call, open_file};
use super::path::parse_pattern;
use super::query::{eas, fea_list, in_order, standard};
use super::request::{Request, Stop};
use super::state::Search;
use super::transaction::{Outcome, Transaction};

/// Bytes the fixed part of the smallest entry needs; no client means less.
const LEAST_DATA: usize = 24;

/// Encodes entries of one level.
#[derive(Debug)]
struct FindSink {
    level: FindLevel,
    text: Text,
    zone: TimeZone,
    resume_keys: bool,
    search: u16,
    max_count: usize,
    max_bytes: usize,
    out: Vec<u8>,
    count: usize,
    /// Where the last entry begins.
    last_entry: usize,
    last_name: Option<String>,
    /// Entries of SMB_INFO_QUERY_EAS_FROM_LIST wait for their attributes.
    kept: Vec<DirEntry>,
}

impl DirSink for FindSink {
    fn push(&mut self, entry: &DirEntry) -> bool {
        if self.count >= self.max_count {
            return false;
        }
        let must = u32::from(self.search >> 8 & 0x37);
        if entry.metadata.attributes.bits() & must != must {
            return true;
        }
        if self.level == FindLevel::InfoQueryEasFromList {
            self.kept.push(entry.clone());
            self.last_name = Some(entry.name.clone());
            self.count += 1;
            return true;
        }
        let start = self.out.len();
        if !self.encode(entry, None) {
            self.out.truncate(start);
            return false;
        }
        self.last_name = Some(entry.name.clone());
        self.count += 1;
        true
    }

    fn into_any(self: Box<Self>) -> Box<dyn core::any::Any + Send> {
        self
    }
}

impl FindSink {
    /// Appends an entry; `false` when it does not fit.
    fn encode(&mut self, entry: &DirEntry, attributes: Option<&[u8]>) -> bool {
        match self.level {
            FindLevel::InfoStandard
            | FindLevel::InfoQueryEaSize
            | FindLevel::InfoQueryEasFromList => self.encode_dos(entry, attributes),
            _ => self.encode_nt(entry),
        }
    }

    fn encode_dos(&mut self, entry: &DirEntry, attributes: Option<&[u8]>) -> bool {
        let start = self.out.len();
        let m = &entry.metadata;
        let mut w = Writer::with_base(&mut self.out, 0);
        if self.resume_keys {
            w.u32(0);
        }
        standard(self.zone, m).encode(&mut w);
        match (self.level, attributes) {
            (FindLevel::InfoQueryEaSize, _) => w.u32(m.ea_size.max(4)),
            (FindLevel::InfoQueryEasFromList, Some(list)) => w.bytes(list),
            _ => {}
        }
        let name = self.text.encode(&entry.name);
        w.u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        if self.level == FindLevel::InfoStandard && self.text.unicode {
            w.align(2);
        }
        w.bytes(&name);
        // One zero byte ends names behind attributes, also Unicode ones.
        w.zeros(if self.level == FindLevel::InfoStandard {
            self.text.terminator()
        } else {
            1
        });
        if self.out.len() > self.max_bytes {
            return false;
        }
        self.last_entry = start;
        true
    }

    fn encode_nt(&mut self, entry: &DirEntry) -> bool {
        let start = self.out.len().next_multiple_of(8);
        let m = &entry.metadata;
        let mut name = self.text.encode(&entry.name);
        if !self.text.unicode {
            // Clients without Unicode want the terminator, and want it counted.
            name.push(0);
        }
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        let previous = (self.count > 0).then_some(self.last_entry);
        let mut w = Writer::with_base(&mut self.out, 0);
        w.align(8);
        if self.level == FindLevel::NamesInfo {
            w.u32(0);
            w.u32(0);
            w.u32(length);
            // This level alone must not be terminated: Windows 2000 loops.
            w.bytes(&name);
        } else {
            DirectoryEntry {
                next_entry_offset: 0,
                file_index: 0,
                creation_time: m.times.creation,
                last_access_time: m.times.last_access,
                last_write_time: m.times.last_write,
                last_change_time: m.times.change,
                end_of_file: m.end_of_file,
                allocation_size: m.allocation_size,
                ext_file_attributes: ext_attributes(m.attributes),
                file_name_length: length,
            }
            .encode(&mut w);
            self.after_fixed(entry, &name);
        }
        if self.out.len() > self.max_bytes {
            return false;
        }
        let mut w = Writer::with_base(&mut self.out, 0);
        if let Some(previous) = previous {
            w.patch_u32(previous, u32::try_from(start - previous).unwrap_or(0));
        }
        self.last_entry = start;
        true
    }

    /// What stands between FileNameLength and the name, and the name.
    fn after_fixed(&mut self, entry: &DirEntry, name: &[u8]) {
        let m = &entry.metadata;
        let reparse = m
            .attributes
            .contains(countersign_wire::fscc::FileAttributes::REPARSE_POINT);
        let ea_size = if reparse { m.reparse_tag } else { m.ea_size };
        let mut w = Writer::with_base(&mut self.out, 0);
        if self.level != FindLevel::DirectoryInfo {
            w.u32(ea_size);
        }
        let both = matches!(
            self.level,
            FindLevel::BothDirectoryInfo | FindLevel::IdBothDirectoryInfo
        );
        if both {
            // Short names are UTF-16; a client without Unicode must not see one.
            let short = entry
                .short_name
                .as_deref()
                .filter(|_| self.text.unicode)
                .unwrap_or("");
            let mut field = Vec::with_capacity(24);
            Writer::new(&mut field).utf16(short);
            field.truncate(24);
            w.u8(u8::try_from(field.len()).unwrap_or(0));
            w.u8(0);
            field.resize(24, 0);
            w.bytes(&field);
        }
        match self.level {
            FindLevel::IdBothDirectoryInfo => {
                w.u16(0);
                w.u64(m.key.file);
            }
            FindLevel::IdFullDirectoryInfo => {
                w.u32(0);
                w.u64(m.key.file);
            }
            _ => {}
        }
        w.bytes(name);
        if self.text.unicode && both {
            // Not counted, but Windows XP reads it.
            w.zeros(2);
        }
    }
}

/// What one message asks of a search.
struct Ask<'t> {
    level: FindLevel,
    flags: FindFlags,
    max_count: u16,
    max_bytes: usize,
    /// Names of the extended attributes wanted.
    names: Vec<String>,
    data: &'t [u8],
}

/// What came of it.
struct Given {
    data: Vec<u8>,
    count: u16,
    end: bool,
    last_entry: u16,
    last_name: Option<String>,
}

fn ask<'t>(t: &'t Transaction, level: u16, flags: u16, count: u16) -> Result<Ask<'t>, Stop> {
    let level = FindLevel::from_u16(level).ok_or(Stop::Status(NtStatus::INVALID_LEVEL))?;
    let names = if level == FindLevel::InfoQueryEasFromList {
        decode_gea_list(&t.data)?
    } else {
        Vec::new()
    };
    if t.max_data() < LEAST_DATA {
        return Err(Stop::Status(NtStatus::INFO_LENGTH_MISMATCH));
    }
    Ok(Ask {
        level,
        flags: FindFlags::from_bits_retain(flags),
        // A count of none is one.
        max_count: count.max(1),
        max_bytes: t.max_data().min(0xFFFF),
        names,
        data: &t.data,
    })
}

async fn list(
    cx: &Request,
    ask: &Ask<'_>,
    open: &Arc<Open>,
    pattern: &str,
    attributes: u16,
    restart: bool,
    resume_after: Option<String>,
) -> Result<Given, Stop> {
    let _ = ask.data;
    let sink = FindSink {
        level: ask.level,
        text: cx.text(),
        zone: cx.zone(),
        resume_keys: ask.flags.contains(FindFlags::RETURN_RESUME_KEYS),
        search: attributes,
        max_count: usize::from(ask.max_count),
        max_bytes: ask.max_bytes,
        out: Vec::new(),
        count: 0,
        last_entry: 0,
        last_name: None,
        kept: Vec::new(),
    };
    let call = FsCall::List {
        open: Arc::clone(open),
        pattern: pattern.to_owned(),
        restart,
        single: false,
        resume_after,
        attributes: Some(inclusive(attributes)),
        sink: Box::new(sink),
    };
    let (sink, end) = match cx.call(call).await {
        Ok(FsReply::Listing { sink, end, .. }) => (sink, end),
        Ok(_) => return Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        Err(FsError::NoMoreFiles) => {
            return Ok(Given {
                data: Vec::new(),
                count: 0,
                end: true,
                last_entry: 0,
                last_name: None,
            });
        }
        Err(e) => return Err(e.into()),
    };
    let mut sink = *sink
        .into_any()
        .downcast::<FindSink>()
        .map_err(|_| Stop::Status(NtStatus::INTERNAL_ERROR))?;
    let mut end = end;
    if !sink.kept.is_empty() {
        end &= with_attributes(cx, ask, open, &mut sink).await?;
    }
    Ok(Given {
        count: u16::try_from(sink.count).unwrap_or(u16::MAX),
        end,
        last_entry: u16::try_from(sink.last_entry).unwrap_or(0),
        last_name: sink.last_name,
        data: sink.out,
    })
}

/// Encodes kept entries with the attributes asked for; gives whether all fitted.
async fn with_attributes(
    cx: &Request,
    ask: &Ask<'_>,
    folder: &Arc<Open>,
    sink: &mut FindSink,
) -> Result<bool, Stop> {
    let entries = core::mem::take(&mut sink.kept);
    let all = entries.len();
    sink.count = 0;
    sink.last_name = None;
    for entry in entries {
        let found = attributes_of(cx, folder, &entry.name, &ask.names).await;
        let list = fea_list(&in_order(&ask.names, found));
        let start = sink.out.len();
        if !sink.encode(&entry, Some(&list)) {
            sink.out.truncate(start);
            return Ok(false);
        }
        sink.last_name = Some(entry.name);
        sink.count += 1;
    }
    Ok(sink.count == all)
}

/// The attributes of an entry; one that cannot be read has none.
async fn attributes_of(
    cx: &Request,
    folder: &Arc<Open>,
    name: &str,
    names: &[String],
) -> Vec<countersign_fs::Ea> {
    let Ok(path) = folder.path().join(name) else {
        return Vec::new();
    };
    let mut call = open_call(cx, path);
    call.access |= AccessMask::READ_EA;
    let Ok(opened) = open_file(cx, call).await else {
        return Vec::new();
    };
    let list = eas(cx, &opened.open, Some(names.to_vec()))
        .await
        .unwrap_or_default();
    close_file(cx, opened.open).await;
    list
}

pub(super) async fn first(cx: &mut Request, t: &Transaction) -> Result<Outcome, Stop> {
    let (p, name) = wire::decode_find_first2(&t.parameters, cx.text())?;
    let ask = ask(t, p.information_level, p.flags, p.search_count)?;
    let pattern = parse_pattern(cx, &name)?;
    let open = open_folder(cx, pattern.folder).await?;
    let result = list(
        cx,
        &ask,
        &open,
        &pattern.pattern,
        p.search_attributes,
        true,
        None,
    )
    .await;
    let given = match result {
        Ok(given) if given.count > 0 => given,
        other => {
            close_file(cx, open).await;
            return Err(other.err().unwrap_or(Stop::Status(NtStatus::NO_SUCH_FILE)));
        }
    };
    let over = ask.flags.contains(FindFlags::CLOSE_AFTER_REQUEST)
        || (given.end && ask.flags.contains(FindFlags::CLOSE_AT_EOS));
    let sid = if over {
        close_file(cx, open).await;
        0
    } else {
        let search = Search {
            uid: cx.header.uid,
            tid: cx.header.tid,
            pid: cx.header.pid(),
            open: Arc::clone(&open),
            pattern: pattern.pattern,
            attributes: p.search_attributes,
            used: 0,
            given: Vec::new(),
            last: given.last_name.clone(),
        };
        match enter(cx, search) {
            Ok(sid) => sid,
            Err(stop) => {
                close_file(cx, open).await;
                return Err(stop);
            }
        }
    };
    let parameters = wire::FindFirst2ResponseParameters {
        sid,
        search_count: given.count,
        end_of_search: u16::from(given.end),
        ea_error_offset: 0,
        last_name_offset: given.last_entry,
    };
    Ok(Outcome::new(
        NtStatus::SUCCESS,
        parameters.to_vec(),
        given.data,
    ))
}

/// Enters a search; there are only so many.
fn enter(cx: &Request, search: Search) -> Result<u16, Stop> {
    let limit = cx.config.limits.smb1_searches;
    let mut state = cx.shared.state.lock();
    let full = Stop::Status(NtStatus(0xC000_011F)); // TOO_MANY_OPENED_FILES
    if state
        .searches
        .values()
        .filter(|s| s.uid == search.uid)
        .count()
        >= limit
    {
        return Err(full);
    }
    let sid = state.new_sid().ok_or(full)?;
    state.searches.insert(sid, search);
    Ok(sid)
}

pub(super) async fn next(cx: &mut Request, t: &Transaction) -> Result<Outcome, Stop> {
    let (p, name) = wire::decode_find_next2(&t.parameters, cx.text())?;
    let ask = ask(t, p.information_level, p.flags, p.search_count)?;
    let search = {
        let state = cx.shared.state.lock();
        state
            .searches
            .get(&p.sid)
            .filter(|s| s.uid == cx.header.uid && s.tid == cx.header.tid)
            .cloned()
            .ok_or(Stop::Status(NtStatus::INVALID_HANDLE))?
    };
    let resume_after = if ask.flags.contains(FindFlags::CONTINUE_FROM_LAST) || name.is_empty() {
        None
    } else {
        Some(name)
    };
    let given = list(
        cx,
        &ask,
        &search.open,
        &search.pattern,
        search.attributes,
        false,
        resume_after,
    )
    .await?;
    let over = ask.flags.contains(FindFlags::CLOSE_AFTER_REQUEST)
        || (given.end && ask.flags.contains(FindFlags::CLOSE_AT_EOS));
    if over {
        let gone = cx.shared.state.lock().searches.remove(&p.sid);
        if let Some(search) = gone {
            close_file(cx, search.open).await;
        }
    } else if let Some(s) = cx.shared.state.lock().searches.get_mut(&p.sid) {
        s.last = given.last_name.clone().or(s.last.take());
    }
    let parameters = wire::FindNext2ResponseParameters {
        search_count: given.count,
        end_of_search: u16::from(given.end),
        ea_error_offset: 0,
        last_name_offset: given.last_entry,
    };
    Ok(Outcome::new(
        NtStatus::SUCCESS,
        parameters.to_vec(),
        given.data,
    ))
}
