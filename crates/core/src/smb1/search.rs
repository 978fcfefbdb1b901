//! Searches of the core protocol, [MS-CIFS] 3.3.5.47 to 3.3.5.50, and
//! FIND_CLOSE2 (3.3.5.38).
//!
//! A resume key names the search and the entry's number in it, so that a
//! client may go on behind any entry it was given.

use std::sync::Arc;

use countersign_fs::call::DirSink;
use countersign_fs::{DirEntry, FsCall, FsError, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::fscc::FileAttributes;
use countersign_wire::smb1::search::{
    DirectoryInformation, ENTRY, ResumeKey, SearchRequest, SearchResponseWords,
};
use countersign_wire::smb1::{Block, CodePage, DosError, Flags2, TimeZone};
use countersign_wire::{Reader, Writer};

use super::names::{inclusive, open_folder};
use super::open::{clamp32, close_file};
use super::path::parse_pattern;
use super::request::{Answer, Reply, Request, Stop, code_page, words_of};
use super::state::{Search, State};

/// Most entries one core search remembers for its resume keys.
const MAX_GIVEN: usize = 65_535;

/// Takes entries as 43-byte structures.
#[derive(Debug)]
struct CoreSink {
    sid: u16,
    first: usize,
    max: usize,
    search: u16,
    zone: TimeZone,
    page: CodePage,
    client_state: [u8; 4],
    literal: bool,
    /// The client does not know long names: 8.3 names in capitals.
    capitals: bool,
    out: Vec<u8>,
    names: Vec<String>,
}

impl DirSink for CoreSink {
    fn push(&mut self, entry: &DirEntry) -> bool {
        if self.names.len() >= self.max {
            return false;
        }
        let dot = matches!(entry.name.as_str(), "." | "..");
        // A search for one name gives only that.
        if dot && self.literal {
            return true;
        }
        let must = self.search >> 8 & 0x37;
        if entry.metadata.attributes.bits() & u32::from(must) != u32::from(must) {
            return true;
        }
        let name = entry.short_name.as_deref().unwrap_or(&entry.name);
        let mut bytes = Vec::new();
        let shown = if self.capitals {
            name.to_uppercase()
        } else {
            name.to_owned()
        };
        self.page.encode(&shown, &mut bytes);
        if bytes.len() > 12 {
            // Without a short name these clients cannot be told of it.
            return true;
        }
        let number = self.first + self.names.len() + 1;
        let write = self.zone.to_dos(entry.metadata.times.last_write);
        let entry_bytes = DirectoryInformation {
            resume_key: key(self.sid, number, &bytes, self.client_state),
            file_attributes: u8::try_from(entry.metadata.attributes.bits() & 0x3F).unwrap_or(0),
            last_write_time: write.time,
            last_write_date: write.date,
            file_size: clamp32(entry.metadata.end_of_file),
            file_name: DirectoryInformation::name_bytes(&bytes),
        };
        entry_bytes.encode(&mut Writer::new(&mut self.out));
        self.names.push(entry.name.clone());
        true
    }

    fn into_any(self: Box<Self>) -> Box<dyn core::any::Any + Send> {
        self
    }
}

/// A resume key: the name without its dot, the search, the entry's number.
fn key(sid: u16, number: usize, name: &[u8], client_state: [u8; 4]) -> ResumeKey {
    let mut server_state = [b' '; 16];
    for (place, b) in server_state.iter_mut().zip(name.iter().take(11)) {
        *place = *b;
    }
    let [s0, s1] = sid.to_le_bytes();
    let [n0, n1] = u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
    for (place, b) in server_state.iter_mut().skip(11).zip([1, s0, s1, n0, n1]) {
        *place = b;
    }
    ResumeKey {
        reserved: 0,
        server_state,
        client_state,
    }
}

/// Search and number of a resume key.
fn of_key(key: &ResumeKey) -> Option<(u16, usize)> {
    let mut r = Reader::new(key.server_state.get(12..)?);
    let sid = r.u16("sid").ok()?;
    Some((sid, usize::from(r.u16("number").ok()?)))
}

fn no_files() -> Stop {
    Stop::Status(NtStatus::NO_MORE_FILES)
}

pub(super) async fn search(cx: &mut Request, block: &Block<'_>) -> Answer {
    let request = SearchRequest::decode(block, cx.text())?;
    let max = usize::from(request.words.max_count).min(fitting(cx));
    if max == 0 {
        return Err(no_files());
    }
    let search = request.words.search_attributes;
    if search & 0x1F == 0x08 {
        return volume_label(cx).await;
    }
    let (sid, first, state) = match &request.resume_key {
        None => {
            let state = begin(cx, &request.file_name, search).await?;
            let sid = enter(cx, state.clone()).await?;
            (sid, 0, state)
        }
        Some(key) => {
            let (sid, number) = of_key(key).ok_or(no_files())?;
            let state = cx.shared.state.lock();
            let search = state
                .core_searches
                .get(&sid)
                .filter(|s| s.uid == cx.header.uid && s.tid == cx.header.tid)
                .cloned()
                .ok_or(no_files())?;
            (sid, number, search)
        }
    };
    let resume_after = match first {
        0 => None,
        n => Some(state.given.get(n - 1).cloned().ok_or(no_files())?),
    };
    let client_state = request.resume_key.map_or([0; 4], |k| k.client_state);
    let (out, names, end) = list(cx, sid, first, max, &state, resume_after, client_state).await?;
    let count = names.len();
    if end && count == 0 {
        drop_search(cx, sid).await;
        // Nothing at all is an error; nothing more is an empty answer.
        return if first == 0 {
            Err(no_files())
        } else {
            Ok(reply(&[], 0))
        };
    }
    let mut shared = cx.shared.state.lock();
    shared.uses += 1;
    let used = shared.uses;
    if let Some(s) = shared.core_searches.get_mut(&sid) {
        s.given.truncate(first);
        s.given.extend(names);
        s.used = used;
    }
    drop(shared);
    Ok(reply(&out, count))
}

/// Entries of 43 bytes that fit the reply.
fn fitting(cx: &Request) -> usize {
    let room = usize::try_from(cx.config.limits.smb1_buffer).unwrap_or(16_644);
    (room.saturating_sub(64) / ENTRY).min(MAX_GIVEN)
}

fn reply(entries: &[u8], count: usize) -> Reply {
    let words = SearchResponseWords {
        count: u16::try_from(count).unwrap_or(u16::MAX),
    };
    let mut bytes = vec![5];
    bytes.extend(countersign_wire::smb1::block::byte_count(entries.len()).to_le_bytes());
    bytes.extend_from_slice(entries);
    Reply::new(words.to_vec(), bytes)
}

async fn begin(cx: &Request, name: &str, attributes: u16) -> Result<Search, Stop> {
    let pattern = parse_pattern(cx, name)?;
    let open = open_folder(cx, pattern.folder).await?;
    Ok(Search {
        uid: cx.header.uid,
        tid: cx.header.tid,
        pid: cx.header.pid(),
        open,
        pattern: pattern.pattern,
        attributes,
        used: 0,
        given: Vec::new(),
        last: None,
    })
}

/// Enters a search; the longest unused makes room.
async fn enter(cx: &Request, search: Search) -> Result<u16, Stop> {
    let limit = cx.config.limits.smb1_searches;
    let (sid, old) = {
        let mut state = cx.shared.state.lock();
        let old = if state.core_searches.len() >= limit {
            oldest(&mut state)
        } else {
            None
        };
        let sid = state
            .new_core_sid()
            .ok_or(Stop::Status(NtStatus::INSUFFICIENT_RESOURCES))?;
        state.uses += 1;
        let used = state.uses;
        state.core_searches.insert(sid, Search { used, ..search });
        (sid, old)
    };
    if let Some(old) = old {
        close_file(cx, old.open).await;
    }
    Ok(sid)
}

fn oldest(state: &mut State) -> Option<Search> {
    let sid = *state.core_searches.iter().min_by_key(|(_, s)| s.used)?.0;
    state.core_searches.remove(&sid)
}

async fn drop_search(cx: &Request, sid: u16) {
    let search = cx.shared.state.lock().core_searches.remove(&sid);
    if let Some(search) = search {
        close_file(cx, search.open).await;
    }
}

async fn list(
    cx: &Request,
    sid: u16,
    first: usize,
    max: usize,
    search: &Search,
    resume_after: Option<String>,
    client_state: [u8; 4],
) -> Result<(Vec<u8>, Vec<String>, bool), Stop> {
    let sink = CoreSink {
        sid,
        first,
        max,
        search: search.attributes,
        zone: cx.zone(),
        page: code_page(cx.config.oem_code_page),
        client_state,
        literal: !super::path::has_wildcard(&search.pattern),
        capitals: !cx.header.flags2.contains(Flags2::LONG_NAMES),
        out: Vec::new(),
        names: Vec::new(),
    };
    let call = FsCall::List {
        open: Arc::clone(&search.open),
        pattern: search.pattern.clone(),
        restart: first == 0,
        single: false,
        resume_after,
        attributes: Some(inclusive(search.attributes)),
        sink: Box::new(sink),
    };
    match cx.call(call).await {
        Ok(FsReply::Listing { sink, end, .. }) => match sink.into_any().downcast::<CoreSink>() {
            Ok(sink) => Ok((sink.out, sink.names, end)),
            Err(_) => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        },
        Ok(_) => Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
        Err(FsError::NoSuchFile | FsError::NoMoreFiles) => Ok((Vec::new(), Vec::new(), true)),
        Err(e) => Err(e.into()),
    }
}

/// A search for the volume label gives one entry: the label.
async fn volume_label(cx: &Request) -> Answer {
    let facts = match cx.call(FsCall::Volume).await? {
        FsReply::Volume(facts) => facts,
        _ => return Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    };
    let mut label = Vec::new();
    code_page(cx.config.oem_code_page).encode(&facts.label, &mut label);
    label.truncate(11);
    if label.len() > 8 {
        label.insert(8, b'.');
    }
    let mut out = Vec::new();
    DirectoryInformation {
        resume_key: key(0, 0, &label, [0; 4]),
        file_attributes: FileAttributes::VOLUME.bits().to_le_bytes()[0],
        last_write_time: 0,
        last_write_date: 0,
        file_size: 0,
        file_name: DirectoryInformation::name_bytes(&label),
    }
    .encode(&mut Writer::new(&mut out));
    Ok(reply(&out, 1))
}

/// FIND_UNIQUE: one answer, and the search is over.
pub(super) async fn find_unique(cx: &mut Request, block: &Block<'_>) -> Answer {
    let request = SearchRequest::decode(block, cx.text())?;
    let max = usize::from(request.words.max_count).min(fitting(cx));
    let state = begin(cx, &request.file_name, request.words.search_attributes).await?;
    let result = list(cx, 0, 0, max, &state, None, [0; 4]).await;
    close_file(cx, state.open).await;
    let (out, names, _) = result?;
    if names.is_empty() {
        return Err(no_files());
    }
    Ok(reply(&out, names.len()))
}

pub(super) async fn find_close(cx: &mut Request, block: &Block<'_>) -> Answer {
    let request = SearchRequest::decode(block, cx.text())?;
    if let Some((sid, _)) = request.resume_key.as_ref().and_then(of_key) {
        drop_search(cx, sid).await;
    }
    let words = SearchResponseWords { count: 0 };
    Ok(Reply::new(words.to_vec(), vec![5, 0, 0]))
}

pub(super) async fn find_close2(cx: &mut Request, block: &Block<'_>) -> Answer {
    let sid = words_of(block, &[1], |r| r.u16("SearchHandle"))?;
    if sid == 0xFFFF {
        // OS/2 closes all of its searches so.
        let own: Vec<Search> = {
            let mut state = cx.shared.state.lock();
            let uid = cx.header.uid;
            let sids: Vec<u16> = state
                .searches
                .iter()
                .filter(|(_, s)| s.uid == uid)
                .map(|(k, _)| *k)
                .collect();
            sids.iter()
                .filter_map(|sid| state.searches.remove(sid))
                .collect()
        };
        for search in own {
            close_file(cx, search.open).await;
        }
        return Ok(Reply::empty());
    }
    let search = {
        let mut state = cx.shared.state.lock();
        match state.searches.get(&sid) {
            Some(s) if s.uid == cx.header.uid && s.tid == cx.header.tid => {
                state.searches.remove(&sid)
            }
            _ => None,
        }
    };
    let Some(search) = search else {
        return Err(Stop::Dos(DosError { class: 1, code: 6 }));
    };
    close_file(cx, search.open).await;
    Ok(Reply::empty())
}
