//! Answers, in one or more messages.

use super::super::Command;
use super::super::block::{Block, byte_count};
use super::super::header::HEADER;
use super::{
    Fragment, Kind, NtTransactResponseWords, TransactionResponseWords, count8, count32, fragment,
};
use crate::cursor::Result;

/// What a transaction answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Setup words, in bytes.
    pub setup: Vec<u8>,
    /// Parameters.
    pub parameters: Vec<u8>,
    /// Data.
    pub data: Vec<u8>,
}

/// One message's words and bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPart {
    /// Words.
    pub words: Vec<u8>,
    /// Bytes.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The answer as one or more messages of at most `max_message` bytes
    /// (header included). Parameters and data each begin at a multiple of four;
    /// there is no padding behind parameters that no data follow.
    pub fn encode(&self, kind: Kind, max_message: usize) -> Vec<AnswerPart> {
        let fixed = match kind {
            Kind::NtTransact => NtTransactResponseWords::SIZE,
            _ => TransactionResponseWords::SIZE,
        };
        let mut parts = Vec::new();
        let (mut parameters, mut data) = (self.parameters.as_slice(), self.data.as_slice());
        loop {
            let setup = if parts.is_empty() {
                self.setup.as_slice()
            } else {
                &[]
            };
            let bytes_start = HEADER + 1 + fixed + setup.len() + 2;
            let first = bytes_start.next_multiple_of(4);
            let room = max_message.saturating_sub(first).max(8);
            let (now_parameters, later) = parameters.split_at(parameters.len().min(room));
            let parameters_end = first + now_parameters.len();
            let second = parameters_end.next_multiple_of(4);
            let room = room.saturating_sub(second - first);
            let (now_data, data_later) = data.split_at(data.len().min(room));
            let mut bytes = vec![0; first - bytes_start];
            bytes.extend_from_slice(now_parameters);
            if !now_data.is_empty() {
                bytes.resize(second - bytes_start, 0);
                bytes.extend_from_slice(now_data);
            }
            let at = Offsets {
                parameters: now_parameters.len(),
                parameter_offset: first,
                parameter_displacement: self.parameters.len() - parameters.len(),
                data: now_data.len(),
                data_offset: if now_data.is_empty() {
                    parameters_end
                } else {
                    second
                },
                data_displacement: self.data.len() - data.len(),
            };
            let mut words = self.words(kind, &at, setup.len() / 2);
            words.extend_from_slice(setup);
            parts.push(AnswerPart { words, bytes });
            parameters = later;
            data = data_later;
            if parameters.is_empty() && data.is_empty() {
                return parts;
            }
        }
    }

    fn words(&self, kind: Kind, at: &Offsets, setup_count: usize) -> Vec<u8> {
        if kind == Kind::NtTransact {
            return NtTransactResponseWords {
                reserved1: [0; 3],
                total_parameter_count: count32(self.parameters.len()),
                total_data_count: count32(self.data.len()),
                parameter_count: count32(at.parameters),
                parameter_offset: count32(at.parameter_offset),
                parameter_displacement: count32(at.parameter_displacement),
                data_count: count32(at.data),
                data_offset: count32(at.data_offset),
                data_displacement: count32(at.data_displacement),
                setup_count: count8(setup_count),
            }
            .to_vec();
        }
        TransactionResponseWords {
            total_parameter_count: byte_count(self.parameters.len()),
            total_data_count: byte_count(self.data.len()),
            reserved1: 0,
            parameter_count: byte_count(at.parameters),
            parameter_offset: byte_count(at.parameter_offset),
            parameter_displacement: byte_count(at.parameter_displacement),
            data_count: byte_count(at.data),
            data_offset: byte_count(at.data_offset),
            data_displacement: byte_count(at.data_displacement),
            setup_count: count8(setup_count),
            reserved2: 0,
        }
        .to_vec()
    }
}

struct Offsets {
    parameters: usize,
    parameter_offset: usize,
    parameter_displacement: usize,
    data: usize,
    data_offset: usize,
    data_displacement: usize,
}

/// One message of an answer, as a client reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerFragment<'a> {
    /// Setup words, in bytes.
    pub setup: &'a [u8],
    /// Totals, parameters and data.
    pub fragment: Fragment<'a>,
}

impl<'a> AnswerFragment<'a> {
    /// Decodes a response.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError) for missing words and bytes outside the message.
    pub fn decode(block: &Block<'a>) -> Result<Self> {
        let mut r = block.words();
        if block.command == Command::NT_TRANSACT {
            let w = NtTransactResponseWords::decode(&mut r)?;
            let setup = r.take(usize::from(w.setup_count) * 2, "Setup")?;
            return Ok(Self {
                setup,
                fragment: fragment!(block, w),
            });
        }
        let w = TransactionResponseWords::decode(&mut r)?;
        let setup = r.take(usize::from(w.setup_count) * 2, "Setup")?;
        Ok(Self {
            setup,
            fragment: fragment!(block, w),
        })
    }
}
