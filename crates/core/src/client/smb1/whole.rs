//! Whole small files: opened, read or written, and closed. SMB1 has no round
//! trip for that, so the requests follow one another.

use bytes::BytesMut;
use countersign_wire::FileTime;
use countersign_wire::Writer;
use countersign_wire::fscc::{BasicInformation, Disposition, FileAttributes, file_class};

use super::Smb1;
use super::handles::{Handle, close_request};
use super::info::Target;
use super::open::{to_read, to_write};
use crate::client::call::{Answer, CallId, Opened, PathRequest, Payload, Written};
use crate::client::engine::Link;
use crate::client::failure::Failure;

/// A file being read.
struct Reading {
    opened: Opened,
    handle: Handle,
    max: u32,
    data: BytesMut,
}

/// A file being written.
struct Writing {
    opened: Opened,
    handle: Handle,
    data: Payload,
    length: usize,
    done: usize,
    last_write: Option<FileTime>,
}

impl Smb1 {
    pub(super) fn read_file(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: PathRequest,
        max: u32,
    ) -> Result<(), Failure> {
        let request = to_read(at.path, at.no_follow);
        self.open_then(link, id, at.tree, &request, move |me, link, opened| {
            let started = opened.and_then(|opened| Ok((opened, me.handle(opened.open)?)));
            match started {
                Ok((opened, handle)) => {
                    let reading = Reading {
                        opened,
                        handle,
                        max,
                        data: BytesMut::new(),
                    };
                    me.read_on(link, id, reading);
                }
                Err(failure) => me.finish(link, id, Err(failure)),
            }
        })
    }

    fn read_on(&mut self, link: &mut Link, id: CallId, mut reading: Reading) {
        let have = u64::try_from(reading.data.len()).unwrap_or(u64::MAX);
        let left = u64::from(reading.max)
            .min(reading.opened.facts.end_of_file)
            .saturating_sub(have);
        if left == 0 {
            return self.read_done(link, id, reading);
        }
        let length = u32::try_from(left).unwrap_or(u32::MAX);
        self.read_then(
            link,
            id,
            reading.handle,
            have,
            length,
            move |me, link, data| match data {
                Ok((data, _)) if data.is_empty() => me.read_done(link, id, reading),
                Ok((data, _)) => {
                    reading.data.extend_from_slice(&data);
                    me.read_on(link, id, reading);
                }
                Err(failure) => {
                    me.close_quietly(link, reading.opened.open);
                    me.finish(link, id, Err(failure));
                }
            },
        );
    }

    fn read_done(&mut self, link: &mut Link, id: CallId, reading: Reading) {
        self.close_quietly(link, reading.opened.open);
        let length = u64::try_from(reading.data.len()).unwrap_or(u64::MAX);
        let answer = Answer::Whole {
            complete: length >= reading.opened.facts.end_of_file || length < u64::from(reading.max),
            opened: Box::new(reading.opened),
            data: reading.data.freeze(),
        };
        self.finish(link, id, Ok(answer));
    }

    #[allow(clippy::too_many_arguments, reason = "a call's fields")]
    pub(super) fn write_file(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: PathRequest,
        disposition: Disposition,
        attributes: FileAttributes,
        data: Payload,
        last_write: Option<FileTime>,
    ) -> Result<(), Failure> {
        let request = to_write(at.path, disposition, attributes);
        self.open_then(link, id, at.tree, &request, move |me, link, opened| {
            let started = opened.and_then(|opened| Ok((opened, me.handle(opened.open)?)));
            match started {
                Ok((opened, handle)) => {
                    let writing = Writing {
                        opened,
                        handle,
                        length: data.len(),
                        data,
                        done: 0,
                        last_write,
                    };
                    me.write_on(link, id, writing);
                }
                Err(failure) => me.finish(link, id, Err(failure)),
            }
        })
    }

    fn write_on(&mut self, link: &mut Link, id: CallId, mut writing: Writing) {
        if writing.done >= writing.length {
            return self.write_time(link, id, writing);
        }
        let most = usize::try_from(self.max_write()).unwrap_or(usize::MAX);
        let whole = writing.done == 0 && writing.length <= most;
        let piece = if whole {
            // From where it lies; there is nothing behind it to come back to.
            core::mem::take(&mut writing.data)
        } else {
            let rest = writing.data.data().get(writing.done..).unwrap_or_default();
            Payload::copy_of(rest.get(..most.min(rest.len())).unwrap_or(rest))
        };
        let offset = u64::try_from(writing.done).unwrap_or(u64::MAX);
        self.write_then(
            link,
            id,
            writing.handle,
            offset,
            piece,
            false,
            move |me, link, count| match count {
                Ok(count) if count == 0 || (whole && !is_all(count, writing.length)) => {
                    me.close_quietly(link, writing.opened.open);
                    let failure = Failure::Malformed {
                        command: "WRITE_ANDX",
                    };
                    me.finish(link, id, Err(failure));
                }
                Ok(count) => {
                    writing.done = writing
                        .done
                        .saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
                    me.write_on(link, id, writing);
                }
                Err(failure) => {
                    me.close_quietly(link, writing.opened.open);
                    me.finish(link, id, Err(failure));
                }
            },
        );
    }

    fn write_time(&mut self, link: &mut Link, id: CallId, writing: Writing) {
        let Some(last_write) = writing.last_write else {
            return self.write_close(link, id, &writing);
        };
        // Zero leaves a time as it is.
        let basic = BasicInformation {
            creation: FileTime::ZERO,
            last_access: FileTime::ZERO,
            last_write,
            change: FileTime::ZERO,
            attributes: FileAttributes::empty(),
        };
        let mut data = Vec::new();
        basic.encode(&mut Writer::new(&mut data));
        let target = Target::File {
            tid: writing.handle.tid,
            fid: writing.handle.fid,
        };
        match self.set_request(&target, file_class::BASIC, data) {
            Ok(request) => self.send(link, id, request, move |me, link, reply| {
                match reply.and_then(super::exchange::Reply::success) {
                    Ok(_) => me.write_close(link, id, &writing),
                    Err(failure) => {
                        me.close_quietly(link, writing.opened.open);
                        me.finish(link, id, Err(failure));
                    }
                }
            }),
            Err(failure) => {
                self.close_quietly(link, writing.opened.open);
                self.finish(link, id, Err(failure));
            }
        }
    }

    fn write_close(&mut self, link: &mut Link, id: CallId, writing: &Writing) {
        self.opens.remove(&writing.opened.open);
        let facts = Written {
            end_of_file: u64::try_from(writing.length).unwrap_or(u64::MAX),
            last_write: writing
                .last_write
                .unwrap_or(writing.opened.facts.last_write),
            ..writing.opened.facts
        };
        let request = close_request(writing.handle.tid, writing.handle.fid);
        self.send(link, id, request, move |me, link, reply| {
            // What was cached may fail to be written now.
            let answer = reply
                .and_then(super::exchange::Reply::success)
                .map(|_| Answer::Written(facts));
            me.finish(link, id, answer);
        });
    }
}

fn is_all(count: u32, length: usize) -> bool {
    usize::try_from(count).is_ok_and(|count| count >= length)
}
