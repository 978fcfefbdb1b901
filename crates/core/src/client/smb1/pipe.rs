//! TRANS_TRANSACT_NMPIPE, [MS-CIFS] 3.2.4.35: a message to a named pipe and
//! its answer.

use bytes::{Bytes, BytesMut};
use countersign_wire::NtStatus;
use countersign_wire::smb1::trans2::TransPipe;
use countersign_wire::smb1::transaction::Kind;

use super::Smb1;
use super::exchange::Request;
use super::handles::Handle;
use super::transaction::Transaction;
use crate::client::call::{Answer, CallId, OpenId};
use crate::client::engine::Link;
use crate::client::failure::Failure;

impl Smb1 {
    pub(super) fn pipe_transact(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        input: Vec<u8>,
        max: u32,
    ) -> Result<(), Failure> {
        let handle = self.handle(open)?;
        let [f0, f1] = TransPipe::TRANSACT_NM_PIPE.to_le_bytes();
        let [h0, h1] = handle.fid.to_le_bytes();
        let request = Request {
            patient: true,
            ..Transaction {
                kind: Kind::Transaction,
                function: TransPipe::TRANSACT_NM_PIPE,
                setup: vec![f0, f1, h0, h1],
                parameters: Vec::new(),
                data: input,
                max_parameters: 0,
                max_data: max.clamp(1, self.server.max_transact),
            }
            .request(handle.tid, "TRANS_TRANSACT_NMPIPE")
        };
        self.send(link, id, request, move |me, link, reply| {
            let reply = reply.and_then(|reply| reply.allow(&[NtStatus::BUFFER_OVERFLOW]));
            match reply {
                Ok(reply) => {
                    let more = reply.status == NtStatus::BUFFER_OVERFLOW;
                    let data = reply.transaction.data.into();
                    me.read_rest(link, id, handle, max, BytesMut::new(), (data, more));
                }
                Err(failure) => me.finish(link, id, Err(failure)),
            }
        });
        Ok(())
    }

    /// Reads on while the message goes on and there is room.
    fn read_rest(
        &mut self,
        link: &mut Link,
        id: CallId,
        handle: Handle,
        max: u32,
        mut have: BytesMut,
        (data, more): (Bytes, bool),
    ) {
        let nothing = data.is_empty();
        have.extend_from_slice(&data);
        let left = usize::try_from(max)
            .unwrap_or(usize::MAX)
            .saturating_sub(have.len());
        if !more || left == 0 || nothing {
            return self.finish(link, id, Ok(Answer::Info(have.freeze())));
        }
        let length = u32::try_from(left).unwrap_or(u32::MAX).min(0xFFFF);
        self.read_then(
            link,
            id,
            handle,
            0,
            length,
            move |me, link, next| match next {
                Ok(next) => me.read_rest(link, id, handle, max, have, next),
                Err(failure) => me.finish(link, id, Err(failure)),
            },
        );
    }
}
