//! Transactions in one message or several, [MS-CIFS] 3.2.4.1.5 and 3.2.5.1.4.

use countersign_wire::NtStatus;
use countersign_wire::cursor::Result;
use countersign_wire::smb1::transaction::{
    Answer, AnswerFragment, Assembly, Fragment, Kind, Primary,
};
use countersign_wire::smb1::{Block, HEADER, Text};

use super::exchange::{Body, Request};
use crate::gate::smb1::client::Admitted;

/// A transaction: what is sent, and what has come of the answer.
pub(super) struct Transfer {
    kind: Kind,
    function: u16,
    name: &'static str,
    setup: Vec<u8>,
    parameters: Vec<u8>,
    data: Vec<u8>,
    max_parameters: u32,
    max_data: u32,
    max_setup: u8,
    sent_parameters: usize,
    sent_data: usize,
    answer: Option<(Vec<u8>, Assembly)>,
}

/// A transaction to be made.
pub(super) struct Transaction {
    /// Which of the three.
    pub(super) kind: Kind,
    /// TRANSACTION2 sub-command or NT_TRANSACT function; of TRANSACTION it
    /// stands in the setup.
    pub(super) function: u16,
    /// Setup words, in bytes; TRANSACTION2 has its sub-command there.
    pub(super) setup: Vec<u8>,
    /// Parameters.
    pub(super) parameters: Vec<u8>,
    /// Data.
    pub(super) data: Vec<u8>,
    /// Most parameter bytes of the answer.
    pub(super) max_parameters: u32,
    /// Most data bytes of the answer.
    pub(super) max_data: u32,
}

impl Transaction {
    /// A TRANSACTION2.
    pub(super) fn two(function: u16, parameters: Vec<u8>, data: Vec<u8>) -> Self {
        Self {
            kind: Kind::Transaction2,
            function,
            setup: function.to_le_bytes().to_vec(),
            parameters,
            data,
            max_parameters: 10,
            max_data: 0,
        }
    }

    /// An NT_TRANSACT.
    pub(super) fn nt(function: u16, setup: Vec<u8>, parameters: Vec<u8>, data: Vec<u8>) -> Self {
        Self {
            kind: Kind::NtTransact,
            function,
            setup,
            parameters,
            data,
            max_parameters: 4,
            max_data: 0,
        }
    }

    /// The request; `name` is the sub-command's.
    pub(super) fn request(self, tid: u16, name: &'static str) -> Request {
        let transfer = Transfer {
            kind: self.kind,
            function: self.function,
            name: if self.kind == Kind::Transaction {
                r"\PIPE\"
            } else {
                ""
            },
            setup: self.setup,
            parameters: self.parameters,
            data: self.data,
            max_parameters: self.max_parameters,
            max_data: self.max_data,
            max_setup: if self.kind == Kind::NtTransact { 4 } else { 0 },
            sent_parameters: 0,
            sent_data: 0,
            answer: None,
        };
        Request {
            name,
            body: Body::Transaction(Box::new(transfer)),
            ..Request::new(self.kind.command(), tid, Vec::new(), Vec::new())
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Transfer {
    /// Words and bytes of the primary request: as much as one message holds.
    pub(super) fn primary(&mut self, text: Text, max_message: usize) -> (Vec<u8>, Vec<u8>) {
        // Fixed words, setup, name, and what alignment may add.
        let front = HEADER + 1 + 38 + self.setup.len() + 2 + 2 * (self.name.len() + 2) + 8;
        let room = max_message.saturating_sub(front);
        self.sent_parameters = self.parameters.len().min(room);
        self.sent_data = self
            .data
            .len()
            .min(room.saturating_sub(self.sent_parameters));
        let request = Primary {
            kind: self.kind,
            function: self.function,
            flags: 0,
            timeout: 0,
            max_parameters: self.max_parameters,
            max_data: self.max_data,
            max_setup: self.max_setup,
            setup: &self.setup,
            name: self.name.to_owned(),
            fragment: Fragment {
                total_parameters: count(self.parameters.len()),
                total_data: count(self.data.len()),
                parameters: self
                    .parameters
                    .get(..self.sent_parameters)
                    .unwrap_or_default(),
                parameter_displacement: 0,
                data: self.data.get(..self.sent_data).unwrap_or_default(),
                data_displacement: 0,
            },
        };
        request.encode(text, HEADER)
    }

    fn is_sent(&self) -> bool {
        self.sent_parameters >= self.parameters.len() && self.sent_data >= self.data.len()
    }

    /// Words and bytes of the secondary requests; none when all is sent.
    pub(super) fn secondaries(&mut self, max_message: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        let room = max_message.saturating_sub(HEADER + 1 + 36 + 2 + 8).max(1);
        while !self.is_sent() {
            let parameters = self
                .parameters
                .get(self.sent_parameters..)
                .unwrap_or_default();
            let parameters = parameters
                .get(..parameters.len().min(room))
                .unwrap_or_default();
            let left = room.saturating_sub(parameters.len());
            let data = self.data.get(self.sent_data..).unwrap_or_default();
            let data = data.get(..data.len().min(left)).unwrap_or_default();
            let fragment = Fragment {
                total_parameters: count(self.parameters.len()),
                total_data: count(self.data.len()),
                parameters,
                parameter_displacement: count(self.sent_parameters),
                data,
                data_displacement: count(self.sent_data),
            };
            out.push(fragment.encode_secondary(self.kind, HEADER));
            self.sent_parameters += parameters.len();
            self.sent_data += data.len();
        }
        out
    }

    /// Takes a message of the answer: the whole answer once it is complete,
    /// `None` while more is to be sent or to come.
    pub(super) fn reply(&mut self, message: &Admitted, status: NtStatus) -> Result<Option<Answer>> {
        let block = Block::decode(&message.message, message.header.command, HEADER)?;
        if block.word_count() == 0 {
            // An error, which has no words; or the interim response.
            return Ok(match status == NtStatus::SUCCESS && !self.is_sent() {
                true => None,
                false => Some(Answer::default()),
            });
        }
        let part = AnswerFragment::decode(&block)?;
        let limit = usize::try_from(self.max_parameters.saturating_add(self.max_data))
            .unwrap_or(usize::MAX)
            .saturating_add(SLACK);
        match &mut self.answer {
            None => {
                let assembly = Assembly::begin(&part.fragment, limit)?;
                self.answer = Some((part.setup.to_vec(), assembly));
            }
            Some((_, assembly)) => assembly.add(&part.fragment)?,
        }
        match self.answer.take() {
            Some((setup, assembly)) if assembly.is_complete() => {
                let (parameters, data) = assembly.into_parts();
                Ok(Some(Answer {
                    setup,
                    parameters,
                    data,
                }))
            }
            unfinished => {
                self.answer = unfinished;
                // Nothing is sent while an answer comes.
                self.sent_parameters = self.parameters.len();
                self.sent_data = self.data.len();
                Ok(None)
            }
        }
    }
}

/// Bytes by which servers give more than was asked for (padding that is counted).
const SLACK: usize = 64;
