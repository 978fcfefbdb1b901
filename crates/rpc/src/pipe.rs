//! An open named pipe: messages in, messages out.

use std::collections::VecDeque;

use crate::association::Association;
use crate::facts::ServerFacts;
use crate::interface::Interface;
use crate::pdu::HEADER_LENGTH;

/// Bytes a client may have written without completing a PDU, and of answers it
/// has not read. One request's answers may exceed the second: the bound stops
/// further requests.
pub const MAX_UNREAD: usize = 4 << 20;

/// Why a pipe takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PipeError {
    /// The bytes are no DCE/RPC: STATUS_PIPE_DISCONNECTED from now on.
    #[error("the client does not speak DCE/RPC on this pipe")]
    Disconnected,
    /// Too many answers wait to be read: STATUS_INSUFFICIENT_RESOURCES.
    #[error("too many answers wait to be read")]
    Full,
    /// Transact while answers wait to be read: STATUS_PIPE_BUSY.
    #[error("answers wait to be read")]
    Busy,
    /// Nothing to read: STATUS_PIPE_EMPTY for who does not wait.
    #[error("nothing to read")]
    Empty,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PipeRead {
    /// The bytes.
    pub data: Vec<u8>,
    /// The message goes on: STATUS_BUFFER_OVERFLOW.
    pub more: bool,
}

/// An open named pipe in message mode.
#[derive(Debug)]
pub struct Pipe {
    interface: Interface,
    association: Association,
    /// Bytes written that are no whole PDU yet.
    input: Vec<u8>,
    /// Messages not yet read; the first may be partly read.
    output: VecDeque<Vec<u8>>,
    unread: usize,
    disconnected: bool,
}

impl Pipe {
    /// Opens the pipe of this name: without case, with or without a leading
    /// backslash or `\pipe\`. `None`: there is none (OBJECT_NAME_NOT_FOUND).
    pub fn open(name: &str) -> Option<Self> {
        let interface = Interface::of_pipe(name)?;
        Some(Self {
            interface,
            association: Association::new(interface),
            input: Vec::new(),
            output: VecDeque::new(),
            unread: 0,
            disconnected: false,
        })
    }

    /// The pipe's name in lower case, without backslash.
    pub fn name(&self) -> &'static str {
        self.interface.pipe_name()
    }

    /// Whether there is something to read.
    pub fn is_ready(&self) -> bool {
        !self.output.is_empty()
    }

    /// Bytes that can be read of the first message, and of all.
    pub fn available(&self) -> (usize, usize) {
        (self.output.front().map_or(0, Vec::len), self.unread)
    }

    /// Takes what a client wrote: parts of PDUs, or several.
    ///
    /// # Errors
    /// When the bytes are no DCE/RPC, or too many answers wait.
    pub fn write(&mut self, data: &[u8], facts: &dyn ServerFacts) -> Result<(), PipeError> {
        if self.disconnected {
            return Err(PipeError::Disconnected);
        }
        if self.unread > MAX_UNREAD {
            return Err(PipeError::Full);
        }
        self.input.extend_from_slice(data);
        while let Some(header) = self.input.first_chunk::<HEADER_LENGTH>() {
            let Some(length) = Association::fragment_length(header) else {
                return Err(self.disconnect());
            };
            let Some(pdu) = self.input.get(..length) else {
                break;
            };
            if self.unread > MAX_UNREAD {
                return Err(PipeError::Full);
            }
            match self.association.pdu(pdu, facts) {
                Ok(answers) => {
                    for answer in answers {
                        self.unread += answer.len();
                        self.output.push_back(answer);
                    }
                }
                Err(_) => return Err(self.disconnect()),
            }
            self.input.drain(..length);
        }
        Ok(())
    }

    fn disconnect(&mut self) -> PipeError {
        self.disconnected = true;
        self.input = Vec::new();
        PipeError::Disconnected
    }

    /// Reads at most `max` bytes of the next message.
    ///
    /// # Errors
    /// [`PipeError::Empty`] when there is none: the caller waits, or not.
    pub fn read(&mut self, max: usize) -> Result<PipeRead, PipeError> {
        let Some(message) = self.output.front_mut() else {
            return Err(if self.disconnected {
                PipeError::Disconnected
            } else {
                PipeError::Empty
            });
        };
        let more = message.len() > max;
        let data = if more {
            let rest = message.split_off(max);
            core::mem::replace(message, rest)
        } else {
            self.output.pop_front().unwrap_or_default()
        };
        self.unread = self.unread.saturating_sub(data.len());
        Ok(PipeRead { data, more })
    }

    /// Reads without taking: at most `max` bytes of the next message.
    pub fn peek(&self, max: usize) -> PipeRead {
        match self.output.front() {
            Some(message) => PipeRead {
                data: message.get(..max).unwrap_or(message).to_vec(),
                more: message.len() > max,
            },
            None => PipeRead::default(),
        }
    }

    /// Writes and reads the answer: FSCTL_PIPE_TRANSCEIVE, TRANS_TRANSACT_NMPIPE.
    ///
    /// # Errors
    /// As [`Pipe::write`]; [`PipeError::Busy`] when something waits to be read;
    /// [`PipeError::Empty`] when the request has no answer yet.
    pub fn transact(
        &mut self,
        data: &[u8],
        max: usize,
        facts: &dyn ServerFacts,
    ) -> Result<PipeRead, PipeError> {
        if self.is_ready() {
            return Err(PipeError::Busy);
        }
        self.write(data, facts)?;
        self.read(max)
    }
}
