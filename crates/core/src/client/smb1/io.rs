//! READ_ANDX and WRITE_ANDX: [MS-CIFS] 3.2.4.14, 3.2.4.15 and [MS-SMB] 3.2.4.4,
//! 3.2.4.5.

use bytes::Bytes;
use countersign_wire::NtStatus;
use countersign_wire::smb1::files::{
    ReadAndx, ReadAndxResponse, WRITE_THROUGH, WriteAndx, WriteAndxResponseWords,
};
use countersign_wire::smb1::{Capabilities, Command, HEADER};

use super::Smb1;
use super::exchange::{Body, Reply, Request};
use super::handles::Handle;
use crate::client::call::{Answer, CallId, OpenId, Payload};
use crate::client::engine::Link;
use crate::client::failure::Failure;

impl Smb1 {
    pub(super) fn read(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        offset: u64,
        length: u32,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        self.read_then(link, id, handle, offset, length, move |me, link, data| {
            me.finish(link, id, data.map(|(data, _)| Answer::Data(data)));
        });
        Ok(())
    }

    /// Reads what one message carries; tells whether a pipe's message goes on.
    pub(super) fn read_then(
        &mut self,
        link: &mut Link,
        id: CallId,
        handle: Handle,
        offset: u64,
        length: u32,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<(Bytes, bool), Failure>) + Send + 'static,
    ) {
        let read = ReadAndx {
            fid: handle.fid,
            offset: if handle.pipe { 0 } else { offset },
            max_count: length.min(self.server.max_read),
            min_count: 0,
            short_form: !self.server.can(Capabilities::LARGE_FILES),
        };
        let asked = read.max_count;
        let request = Request {
            patient: handle.pipe,
            order: handle.order(),
            ..Request::new(Command::READ_ANDX, handle.tid, read.encode(), Vec::new())
        };
        self.send(link, id, request, move |me, link, reply| {
            let data = reply.and_then(|reply| {
                if reply.status == NtStatus::END_OF_FILE {
                    return Ok((Bytes::new(), false));
                }
                let reply = reply.allow(&[NtStatus::BUFFER_OVERFLOW])?;
                let response =
                    ReadAndxResponse::decode(&reply.block()?).map_err(|_| reply.malformed())?;
                if response.data.len() > usize::try_from(asked).unwrap_or(usize::MAX) {
                    return Err(reply.malformed());
                }
                let more = reply.status == NtStatus::BUFFER_OVERFLOW;
                // A slice of the frame, not a copy.
                let data = match response.data {
                    [] => Bytes::new(),
                    data => reply.message.slice_ref(data),
                };
                Ok((data, more))
            });
            then(me, link, data);
        });
    }

    pub(super) fn write(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        offset: u64,
        data: Payload,
        write_through: bool,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        self.write_then(
            link,
            id,
            handle,
            offset,
            data,
            write_through,
            move |me, link, count| me.finish(link, id, count.map(Answer::Count)),
        );
        Ok(())
    }

    /// Writes what one message carries.
    #[allow(
        clippy::too_many_arguments,
        reason = "a call's fields, and what follows it"
    )]
    pub(super) fn write_then(
        &mut self,
        link: &mut Link,
        id: CallId,
        handle: Handle,
        offset: u64,
        mut data: Payload,
        write_through: bool,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<u32, Failure>) + Send + 'static,
    ) {
        data.truncate(usize::try_from(self.max_write()).unwrap_or(usize::MAX));
        let length = data.len();
        let words = WriteAndx {
            fid: handle.fid,
            offset: if handle.pipe { 0 } else { offset },
            mode: if write_through { WRITE_THROUGH } else { 0 },
            data: data.data(),
            short_form: !self.server.can(Capabilities::LARGE_FILES),
        }
        .encode_words(HEADER);
        let request = Request {
            body: Body::Payload(data),
            patient: handle.pipe,
            order: handle.order(),
            ..Request::new(Command::WRITE_ANDX, handle.tid, words, Vec::new())
        };
        self.send(link, id, request, move |me, link, reply| {
            let count = reply.and_then(Reply::success).and_then(|reply| {
                let block = reply.block()?;
                let words = WriteAndxResponseWords::decode(&mut block.words_after_andx())
                    .map_err(|_| reply.malformed())?;
                // The high half counts only where it was asked for: servers leave
                // anything there.
                let count = match u16::try_from(length) {
                    Ok(_) => u32::from(words.count),
                    Err(_) => words.total(),
                };
                match count {
                    count if usize::try_from(count).is_ok_and(|c| c <= length) => Ok(count),
                    _ => Err(reply.malformed()),
                }
            });
            then(me, link, count);
        });
    }
}
