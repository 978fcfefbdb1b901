//! Directory enumeration, [MS-FSA] 2.1.5.5.3.

use std::sync::Arc;

use countersign_wire::fscc::{AccessMask, FileAttributes};

use super::FileService;
use super::handle::Open;
use crate::FsError;
use crate::backend::{DirCursor, Lookup};
use crate::call::{CallContext, DirSink, FsReply, Outcome};
use crate::types::{DirEntry, Metadata};
use crate::wildcard::{Pattern, same_name};

/// A scan of a folder in progress.
#[derive(Debug)]
pub(super) struct DirScan {
    text: String,
    pattern: Pattern,
    source: Source,
    /// An entry that did not fit.
    kept: Option<DirEntry>,
    /// Name of the last entry given out.
    last: Option<String>,
    /// Some entry was given out since the scan began.
    any: bool,
    /// The first call is over.
    begun: bool,
}

/// Where entries come from.
#[derive(Debug)]
enum Source {
    /// The folder's names.
    Cursor(Box<dyn DirCursor>),
    /// The one name that a pattern without wildcards can match.
    One(Option<DirEntry>),
}

/// One call of a scan.
struct Step {
    pattern: String,
    restart: bool,
    single: bool,
    resume_after: Option<String>,
    attributes: Option<FileAttributes>,
}

impl DirScan {
    pub(super) fn pattern(&self) -> &str {
        &self.text
    }
}

/// What a step came to within its budget.
enum Progress {
    Finished { count: u32, end: bool },
    More { count: u32 },
}

impl FileService {
    #[allow(clippy::too_many_arguments)] // the fields of FsCall::List
    pub(super) fn list(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        pattern: String,
        restart: bool,
        single: bool,
        resume_after: Option<String>,
        attributes: Option<FileAttributes>,
        mut sink: Box<dyn DirSink>,
    ) -> Outcome {
        if !open.is_directory() {
            return Outcome::Ready(Err(FsError::InvalidParameter));
        }
        if !open.granted.contains(AccessMask::READ_DATA) {
            return Outcome::Ready(Err(FsError::AccessDenied));
        }
        let step = Step {
            pattern,
            restart,
            single,
            resume_after,
            attributes,
        };
        let so_far = if let Some(mut scan) = open.scan.try_lock() {
            let begun = self.begin(&open, &mut scan, &step);
            let progress = begun.and_then(|()| {
                self.advance(&mut scan, &step, &mut *sink, self.limits.list_inline, 0)
            });
            match progress {
                Ok(Progress::More { count }) => Some(count),
                Ok(Progress::Finished { count, end }) => {
                    return Outcome::Ready(finish(&mut scan, sink, count, end));
                }
                Err(e) => return Outcome::Ready(Err(e)),
            }
        } else {
            // Another call of the same scan is at work: this one comes after it.
            None
        };
        let pending = self.pend(context, false, None);
        let service = self.clone();
        self.host.offload(Box::new(move || {
            let mut scan = open.scan.lock();
            let begun = match so_far {
                Some(_) => Ok(()),
                None => service.begin(&open, &mut scan, &step),
            };
            let result = begun
                .and_then(|()| {
                    service.advance(
                        &mut scan,
                        &step,
                        &mut *sink,
                        usize::MAX,
                        so_far.unwrap_or(0),
                    )
                })
                .and_then(|progress| match progress {
                    Progress::Finished { count, end } => finish(&mut scan, sink, count, end),
                    Progress::More { count } => finish(&mut scan, sink, count, false),
                });
            drop(scan);
            service.answer(&pending, result);
        }));
        Outcome::Pending
    }

    /// Makes the scan ready: a new one, or the old one at the right place.
    fn begin(&self, open: &Open, scan: &mut Option<DirScan>, step: &Step) -> Result<(), FsError> {
        let fresh = scan.is_none();
        if fresh || step.restart {
            let text = match scan.as_ref() {
                Some(old) if step.pattern.is_empty() => old.text.clone(),
                _ => step.pattern.clone(),
            };
            *scan = Some(self.new_scan(open, text)?);
        }
        let Some(after) = step.resume_after.as_deref().filter(|n| !n.is_empty()) else {
            return Ok(());
        };
        let Some(s) = scan.as_mut() else {
            return Ok(());
        };
        if s.last.as_deref().is_some_and(|l| same_name(l, after)) {
            return Ok(());
        }
        // Elsewhere: look for it from the start; not found means from the start.
        let mut again = self.new_scan(open, s.text.clone())?;
        let mut seen = false;
        while let Some(entry) = next_entry(&mut again, None)? {
            if same_name(&entry.name, after) {
                seen = true;
                break;
            }
        }
        if !seen {
            again = self.new_scan(open, s.text.clone())?;
        }
        again.any = true;
        again.begun = true;
        *s = again;
        Ok(())
    }

    fn new_scan(&self, open: &Open, text: String) -> Result<DirScan, FsError> {
        let exact = open.case_sensitive || open.share.options.case_sensitive;
        let pattern = Pattern::new(&text, exact);
        let source = if pattern.is_literal() && !matches!(text.as_str(), "." | "..") {
            Source::One(self.one_entry(open, &text, exact)?)
        } else {
            Source::Cursor(open.handle.list()?)
        };
        Ok(DirScan {
            text,
            pattern,
            source,
            kept: None,
            last: None,
            any: false,
            begun: false,
        })
    }

    /// The entry of one name, without reading the whole folder.
    fn one_entry(&self, open: &Open, name: &str, exact: bool) -> Result<Option<DirEntry>, FsError> {
        let Ok(path) = open.path().without_stream().join(name) else {
            return Ok(None);
        };
        let backend = &open.share.backend;
        match backend.lookup(&path, exact) {
            Ok(Lookup::Found { real, metadata }) => {
                let long = real.file_name().unwrap_or(name).to_owned();
                let short_name = if open.share.options.short_names {
                    backend
                        .short_name(&real)
                        .ok()
                        .filter(|s| !same_name(s, &long))
                } else {
                    None
                };
                Ok(Some(DirEntry {
                    name: long,
                    short_name,
                    metadata: *metadata,
                }))
            }
            Ok(Lookup::Missing { .. }) | Err(FsError::NameNotFound | FsError::PathNotFound) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Gives entries to the sink until it is full, the folder ends or the budget is used up.
    fn advance(
        &self,
        scan: &mut Option<DirScan>,
        step: &Step,
        sink: &mut dyn DirSink,
        budget: usize,
        mut count: u32,
    ) -> Result<Progress, FsError> {
        let Some(scan) = scan.as_mut() else {
            return Err(FsError::InvalidParameter);
        };
        let mut left = budget;
        loop {
            if step.single && count == 1 {
                return Ok(Progress::Finished { count, end: false });
            }
            if left == 0 {
                return Ok(Progress::More { count });
            }
            left -= 1;
            let entry = match scan.kept.take() {
                Some(entry) => entry,
                None => match next_entry(scan, step.attributes)? {
                    Some(mut entry) => {
                        self.apply_times(&mut entry.metadata);
                        entry
                    }
                    None => return Ok(Progress::Finished { count, end: true }),
                },
            };
            if !sink.push(&entry) {
                scan.kept = Some(entry);
                if count == 0 {
                    return Err(FsError::InfoLengthMismatch);
                }
                return Ok(Progress::Finished { count, end: false });
            }
            scan.last = Some(entry.name);
            scan.any = true;
            count += 1;
        }
    }

    /// Times that an open of the entry holds.
    fn apply_times(&self, metadata: &mut Metadata) {
        if let Some(node) = self.nodes.find(metadata.key) {
            node.times.apply(&mut metadata.times);
        }
    }
}

/// The next entry that matches.
fn next_entry(
    scan: &mut DirScan,
    attributes: Option<FileAttributes>,
) -> Result<Option<DirEntry>, FsError> {
    let looked_at = FileAttributes::HIDDEN | FileAttributes::SYSTEM | FileAttributes::DIRECTORY;
    let wanted_kind =
        |m: &Metadata| attributes.is_none_or(|mask| mask.contains(m.attributes & looked_at));
    match &mut scan.source {
        Source::One(entry) => Ok(entry.take().filter(|e| wanted_kind(&e.metadata))),
        Source::Cursor(cursor) => {
            let pattern = &scan.pattern;
            loop {
                let next = cursor.next(&mut |name, short| pattern.matches_either(name, short))?;
                match next {
                    Some(entry) if !wanted_kind(&entry.metadata) => {}
                    other => return Ok(other),
                }
            }
        }
    }
}

fn finish(
    scan: &mut Option<DirScan>,
    sink: Box<dyn DirSink>,
    count: u32,
    end: bool,
) -> Result<FsReply, FsError> {
    let Some(scan) = scan.as_mut() else {
        return Err(FsError::InvalidParameter);
    };
    let first = !core::mem::replace(&mut scan.begun, true);
    if count == 0 && end {
        return Err(if first && !scan.any {
            FsError::NoSuchFile
        } else {
            FsError::NoMoreFiles
        });
    }
    Ok(FsReply::Listing { sink, count, end })
}
