//! Transactions: [MS-CIFS] 2.2.4.33, 2.2.4.34 (TRANSACTION), 2.2.4.46, 2.2.4.47
//! (TRANSACTION2), 2.2.4.62, 2.2.4.63 (NT_TRANSACT).

use super::Command;
use super::block::{Block, byte_count};
use super::header::HEADER;
use super::text::Text;
use super::words::words;
use crate::cursor::{DecodeError, Reader, Result, Writer};

words! {
    /// TRANSACTION and TRANSACTION2 request, before the setup words.
    TransactionWords {
        total_parameter_count: u16,
        total_data_count: u16,
        max_parameter_count: u16,
        max_data_count: u16,
        max_setup_count: u8,
        reserved1: u8,
        flags: u16,
        timeout: u32,
        reserved2: u16,
        parameter_count: u16,
        parameter_offset: u16,
        data_count: u16,
        data_offset: u16,
        setup_count: u8,
        reserved3: u8,
    }
    /// Secondary request of both (TRANSACTION2 has a FID behind it).
    SecondaryWords {
        total_parameter_count: u16,
        total_data_count: u16,
        parameter_count: u16,
        parameter_offset: u16,
        parameter_displacement: u16,
        data_count: u16,
        data_offset: u16,
        data_displacement: u16,
    }
    /// Response of both, before the setup words.
    TransactionResponseWords {
        total_parameter_count: u16,
        total_data_count: u16,
        reserved1: u16,
        parameter_count: u16,
        parameter_offset: u16,
        parameter_displacement: u16,
        data_count: u16,
        data_offset: u16,
        data_displacement: u16,
        setup_count: u8,
        reserved2: u8,
    }
    /// NT_TRANSACT request, before the setup words.
    NtTransactWords {
        max_setup_count: u8,
        reserved1: u16,
        total_parameter_count: u32,
        total_data_count: u32,
        max_parameter_count: u32,
        max_data_count: u32,
        parameter_count: u32,
        parameter_offset: u32,
        data_count: u32,
        data_offset: u32,
        setup_count: u8,
        function: u16,
    }
    /// NT_TRANSACT_SECONDARY request.
    NtSecondaryWords {
        reserved1: [u8; 3],
        total_parameter_count: u32,
        total_data_count: u32,
        parameter_count: u32,
        parameter_offset: u32,
        parameter_displacement: u32,
        data_count: u32,
        data_offset: u32,
        data_displacement: u32,
        reserved2: u8,
    }
    /// NT_TRANSACT response, before the setup words.
    NtTransactResponseWords {
        reserved1: [u8; 3],
        total_parameter_count: u32,
        total_data_count: u32,
        parameter_count: u32,
        parameter_offset: u32,
        parameter_displacement: u32,
        data_count: u32,
        data_offset: u32,
        data_displacement: u32,
        setup_count: u8,
    }
}

/// Flags bit: disconnect the tree when done.
pub const DISCONNECT_TID: u16 = 0x0001;
/// Flags bit: no response is wanted.
pub const NO_RESPONSE: u16 = 0x0002;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SMB_COM_TRANSACTION.
    Transaction,
    /// SMB_COM_TRANSACTION2.
    Transaction2,
    /// SMB_COM_NT_TRANSACT.
    NtTransact,
}

impl Kind {
    /// The kind of a primary or secondary command.
    pub fn of(command: u8) -> Option<Self> {
        Some(match command {
            Command::TRANSACTION | Command::TRANSACTION_SECONDARY => Self::Transaction,
            Command::TRANSACTION2 | Command::TRANSACTION2_SECONDARY => Self::Transaction2,
            Command::NT_TRANSACT | Command::NT_TRANSACT_SECONDARY => Self::NtTransact,
            _ => return None,
        })
    }

    /// Command code of the primary request and of every response.
    pub fn command(self) -> u8 {
        match self {
            Self::Transaction => Command::TRANSACTION,
            Self::Transaction2 => Command::TRANSACTION2,
            Self::NtTransact => Command::NT_TRANSACT,
        }
    }
}

/// The part of a transaction that one message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// TotalParameterCount.
    pub total_parameters: u32,
    /// TotalDataCount.
    pub total_data: u32,
    /// Parameter bytes here.
    pub parameters: &'a [u8],
    /// Where they belong.
    pub parameter_displacement: u32,
    /// Data bytes here.
    pub data: &'a [u8],
    /// Where they belong.
    pub data_displacement: u32,
}

/// A primary request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary<'a> {
    /// Which of the three.
    pub kind: Kind,
    /// NT_TRANSACT's Function; the first setup word of the others, if any.
    pub function: u16,
    /// Flags; zero for NT_TRANSACT.
    pub flags: u16,
    /// Timeout in milliseconds; zero for NT_TRANSACT.
    pub timeout: u32,
    /// Most parameter bytes of the answer.
    pub max_parameters: u32,
    /// Most data bytes of the answer.
    pub max_data: u32,
    /// Most setup words of the answer.
    pub max_setup: u8,
    /// Setup words, in bytes.
    pub setup: &'a [u8],
    /// Name of a TRANSACTION; empty otherwise.
    pub name: String,
    /// Parameters and data of this message.
    pub fragment: Fragment<'a>,
}

impl<'a> Primary<'a> {
    /// Decodes a primary request.
    ///
    /// # Errors
    /// [`DecodeError`] for word counts that do not fit the setup and for
    /// parameters or data outside the message.
    pub fn decode(block: &Block<'a>, text: Text) -> Result<Self> {
        let kind = Kind::of(block.command).ok_or(DecodeError::Invalid {
            field: "Command",
            reason: "not a transaction",
        })?;
        if kind == Kind::NtTransact {
            return Self::decode_nt(block);
        }
        let mut r = block.words();
        let w = TransactionWords::decode(&mut r)?;
        let setup = r.take(usize::from(w.setup_count) * 2, "Setup")?;
        let name = if kind == Kind::Transaction {
            // Old devices count no bytes although a name is there; then it is
            // looked for up to the parameters.
            let mut bytes = block.bytes();
            if bytes.remaining() == 0 {
                let end = usize::from(w.parameter_offset).max(block.bytes_start);
                bytes = Reader::new(block.message.get(..end).unwrap_or(block.message));
                let _ = bytes.seek(block.bytes_start.min(end), "Name");
            }
            text.read(&mut bytes)
        } else {
            String::new()
        };
        let parameters = block.at(
            usize::from(w.parameter_offset),
            usize::from(w.parameter_count),
            "Parameters",
        )?;
        let data = block.at(
            usize::from(w.data_offset),
            usize::from(w.data_count),
            "Data",
        )?;
        Ok(Self {
            kind,
            function: Reader::new(setup).u16("Setup").unwrap_or(0),
            flags: w.flags,
            timeout: w.timeout,
            max_parameters: u32::from(w.max_parameter_count),
            max_data: u32::from(w.max_data_count),
            max_setup: w.max_setup_count,
            setup,
            name,
            fragment: Fragment {
                total_parameters: u32::from(w.total_parameter_count),
                total_data: u32::from(w.total_data_count),
                parameters,
                parameter_displacement: 0,
                data,
                data_displacement: 0,
            },
        })
    }

    fn decode_nt(block: &Block<'a>) -> Result<Self> {
        let mut r = block.words();
        let w = NtTransactWords::decode(&mut r)?;
        let setup = r.take(usize::from(w.setup_count) * 2, "Setup")?;
        Ok(Self {
            kind: Kind::NtTransact,
            function: w.function,
            flags: 0,
            timeout: 0,
            max_parameters: w.max_parameter_count,
            max_data: w.max_data_count,
            max_setup: w.max_setup_count,
            setup,
            name: String::new(),
            fragment: Fragment {
                total_parameters: w.total_parameter_count,
                total_data: w.total_data_count,
                parameters: at32(block, w.parameter_offset, w.parameter_count, "Parameters")?,
                parameter_displacement: 0,
                data: at32(block, w.data_offset, w.data_count, "Data")?,
                data_displacement: 0,
            },
        })
    }

    /// Words and bytes of a request that carries everything in one message
    /// (or, with totals above what the fragment holds, begins one that goes on).
    pub fn encode(&self, text: Text, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let fixed = match self.kind {
            Kind::NtTransact => NtTransactWords::SIZE,
            _ => TransactionWords::SIZE,
        };
        let bytes_start = block_start + 1 + fixed + self.setup.len() + 2;
        let mut bytes = vec![0; bytes_start];
        let mut w = Writer::with_base(&mut bytes, 0);
        match self.kind {
            Kind::Transaction => {
                text.write_terminated(&mut w, &self.name);
            }
            Kind::Transaction2 => w.u8(0),
            Kind::NtTransact => {}
        }
        let f = &self.fragment;
        w.align(4);
        let parameter_offset = w.len();
        w.bytes(f.parameters);
        w.align(4);
        let data_offset = w.len();
        w.bytes(f.data);
        let mut words = match self.kind {
            Kind::NtTransact => NtTransactWords {
                max_setup_count: self.max_setup,
                reserved1: 0,
                total_parameter_count: f.total_parameters,
                total_data_count: f.total_data,
                max_parameter_count: self.max_parameters,
                max_data_count: self.max_data,
                parameter_count: count32(f.parameters.len()),
                parameter_offset: count32(parameter_offset),
                data_count: count32(f.data.len()),
                data_offset: count32(data_offset),
                setup_count: count8(self.setup.len() / 2),
                function: self.function,
            }
            .to_vec(),
            _ => TransactionWords {
                total_parameter_count: low16(f.total_parameters),
                total_data_count: low16(f.total_data),
                max_parameter_count: low16(self.max_parameters),
                max_data_count: low16(self.max_data),
                max_setup_count: self.max_setup,
                reserved1: 0,
                flags: self.flags,
                timeout: self.timeout,
                reserved2: 0,
                parameter_count: byte_count(f.parameters.len()),
                parameter_offset: byte_count(parameter_offset),
                data_count: byte_count(f.data.len()),
                data_offset: byte_count(data_offset),
                setup_count: count8(self.setup.len() / 2),
                reserved3: 0,
            }
            .to_vec(),
        };
        words.extend_from_slice(self.setup);
        (words, bytes.split_off(bytes_start))
    }
}

fn at32<'a>(block: &Block<'a>, offset: u32, count: u32, field: &'static str) -> Result<&'a [u8]> {
    let large = DecodeError::Invalid {
        field,
        reason: "too large",
    };
    let offset = usize::try_from(offset).map_err(|_| large)?;
    let count = usize::try_from(count).map_err(|_| large)?;
    block.at(offset, count, field)
}

fn low16(v: u32) -> u16 {
    u16::try_from(v).unwrap_or(u16::MAX)
}

fn count32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn count8(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

impl<'a> Fragment<'a> {
    /// Decodes a secondary request.
    ///
    /// # Errors
    /// [`DecodeError`] for wrong word counts and bytes outside the message.
    pub fn decode_secondary(block: &Block<'a>) -> Result<Self> {
        if block.command == Command::NT_TRANSACT_SECONDARY {
            block.expect_words(&[18])?;
            let w = NtSecondaryWords::decode(&mut block.words())?;
            return Ok(Self {
                total_parameters: w.total_parameter_count,
                total_data: w.total_data_count,
                parameters: at32(block, w.parameter_offset, w.parameter_count, "Parameters")?,
                parameter_displacement: w.parameter_displacement,
                data: at32(block, w.data_offset, w.data_count, "Data")?,
                data_displacement: w.data_displacement,
            });
        }
        block.expect_words(&[8, 9])?;
        let w = SecondaryWords::decode(&mut block.words())?;
        Ok(Self {
            total_parameters: u32::from(w.total_parameter_count),
            total_data: u32::from(w.total_data_count),
            parameters: block.at(
                usize::from(w.parameter_offset),
                usize::from(w.parameter_count),
                "Parameters",
            )?,
            parameter_displacement: u32::from(w.parameter_displacement),
            data: block.at(
                usize::from(w.data_offset),
                usize::from(w.data_count),
                "Data",
            )?,
            data_displacement: u32::from(w.data_displacement),
        })
    }

    /// Words and bytes of a secondary request.
    pub fn encode_secondary(&self, kind: Kind, block_start: usize) -> (Vec<u8>, Vec<u8>) {
        let fixed = match kind {
            Kind::NtTransact => NtSecondaryWords::SIZE,
            Kind::Transaction2 => SecondaryWords::SIZE + 2,
            Kind::Transaction => SecondaryWords::SIZE,
        };
        let bytes_start = block_start + 1 + fixed + 2;
        let mut bytes = vec![0; bytes_start];
        let mut w = Writer::with_base(&mut bytes, 0);
        w.align(4);
        let parameter_offset = w.len();
        w.bytes(self.parameters);
        w.align(4);
        let data_offset = w.len();
        w.bytes(self.data);
        let words = if kind == Kind::NtTransact {
            NtSecondaryWords {
                reserved1: [0; 3],
                total_parameter_count: self.total_parameters,
                total_data_count: self.total_data,
                parameter_count: count32(self.parameters.len()),
                parameter_offset: count32(parameter_offset),
                parameter_displacement: self.parameter_displacement,
                data_count: count32(self.data.len()),
                data_offset: count32(data_offset),
                data_displacement: self.data_displacement,
                reserved2: 0,
            }
            .to_vec()
        } else {
            let mut words = SecondaryWords {
                total_parameter_count: low16(self.total_parameters),
                total_data_count: low16(self.total_data),
                parameter_count: byte_count(self.parameters.len()),
                parameter_offset: byte_count(parameter_offset),
                parameter_displacement: low16(self.parameter_displacement),
                data_count: byte_count(self.data.len()),
                data_offset: byte_count(data_offset),
                data_displacement: low16(self.data_displacement),
            }
            .to_vec();
            if kind == Kind::Transaction2 {
                words.extend([0xFF, 0xFF]);
            }
            words
        };
        (words, bytes.split_off(bytes_start))
    }
}

/// A transaction being put together from its primary and secondaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembly {
    parameters: Vec<u8>,
    data: Vec<u8>,
    got_parameters: usize,
    got_data: usize,
}

impl Assembly {
    /// Begins with the primary's fragment.
    ///
    /// # Errors
    /// [`DecodeError`] when the fragment is larger than its totals, or the
    /// totals are larger than `limit`.
    pub fn begin(first: &Fragment<'_>, limit: usize) -> Result<Self> {
        let total_parameters = to_usize(first.total_parameters)?;
        let total_data = to_usize(first.total_data)?;
        if total_parameters.saturating_add(total_data) > limit {
            return Err(DecodeError::Invalid {
                field: "Total",
                reason: "above the limit",
            });
        }
        let mut out = Self {
            parameters: vec![0; total_parameters],
            data: vec![0; total_data],
            got_parameters: 0,
            got_data: 0,
        };
        out.add(first)?;
        Ok(out)
    }

    /// Adds a fragment. Its totals may lower those before, [MS-CIFS] 2.2.4.34.1.
    ///
    /// # Errors
    /// [`DecodeError`] when the fragment does not lie inside the totals or
    /// raises them.
    pub fn add(&mut self, fragment: &Fragment<'_>) -> Result<()> {
        lower(&mut self.parameters, fragment.total_parameters)?;
        lower(&mut self.data, fragment.total_data)?;
        place(
            &mut self.parameters,
            &mut self.got_parameters,
            fragment.parameters,
            fragment.parameter_displacement,
        )?;
        place(
            &mut self.data,
            &mut self.got_data,
            fragment.data,
            fragment.data_displacement,
        )
    }

    /// Whether all bytes are here.
    pub fn is_complete(&self) -> bool {
        self.got_parameters >= self.parameters.len() && self.got_data >= self.data.len()
    }

    /// Bytes of memory it holds.
    pub fn size(&self) -> usize {
        self.parameters.len().saturating_add(self.data.len())
    }

    /// Parameters and data.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        (self.parameters, self.data)
    }
}

fn to_usize(v: u32) -> Result<usize> {
    usize::try_from(v).map_err(|_| DecodeError::Invalid {
        field: "Total",
        reason: "too large",
    })
}

fn lower(whole: &mut Vec<u8>, total: u32) -> Result<()> {
    let total = to_usize(total)?;
    if total > whole.len() {
        return Err(DecodeError::Invalid {
            field: "Total",
            reason: "raised by a secondary",
        });
    }
    whole.truncate(total);
    Ok(())
}

fn place(whole: &mut [u8], got: &mut usize, part: &[u8], displacement: u32) -> Result<()> {
    let start = to_usize(displacement)?;
    let outside = DecodeError::Invalid {
        field: "Displacement",
        reason: "outside the totals",
    };
    let end = start.checked_add(part.len()).ok_or(outside)?;
    if part.is_empty() {
        return Ok(());
    }
    whole
        .get_mut(start..end)
        .ok_or(outside)?
        .copy_from_slice(part);
    *got = got.saturating_add(part.len());
    Ok(())
}

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
    /// [`DecodeError`] for missing words and bytes outside the message.
    pub fn decode(block: &Block<'a>) -> Result<Self> {
        let mut r = block.words();
        if block.command == Command::NT_TRANSACT {
            let w = NtTransactResponseWords::decode(&mut r)?;
            let setup = r.take(usize::from(w.setup_count) * 2, "Setup")?;
            return Ok(Self {
                setup,
                fragment: Fragment {
                    total_parameters: w.total_parameter_count,
                    total_data: w.total_data_count,
                    parameters: at32(block, w.parameter_offset, w.parameter_count, "Parameters")?,
                    parameter_displacement: w.parameter_displacement,
                    data: at32(block, w.data_offset, w.data_count, "Data")?,
                    data_displacement: w.data_displacement,
                },
            });
        }
        let w = TransactionResponseWords::decode(&mut r)?;
        let setup = r.take(usize::from(w.setup_count) * 2, "Setup")?;
        Ok(Self {
            setup,
            fragment: Fragment {
                total_parameters: u32::from(w.total_parameter_count),
                total_data: u32::from(w.total_data_count),
                parameters: block.at(
                    usize::from(w.parameter_offset),
                    usize::from(w.parameter_count),
                    "Parameters",
                )?,
                parameter_displacement: u32::from(w.parameter_displacement),
                data: block.at(
                    usize::from(w.data_offset),
                    usize::from(w.data_count),
                    "Data",
                )?,
                data_displacement: u32::from(w.data_displacement),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::MessageWriter;
    use super::super::code_page::CodePage;
    use super::*;

    const TEXT: Text = Text {
        unicode: true,
        code_page: CodePage::Cp850,
    };

    fn primary<'a>(kind: Kind, parameters: &'a [u8], data: &'a [u8]) -> Primary<'a> {
        Primary {
            kind,
            function: 0x26,
            flags: 0,
            timeout: 0,
            max_parameters: 100,
            max_data: 1000,
            max_setup: 1,
            setup: &[0x26, 0, 0x34, 0x12],
            name: if kind == Kind::Transaction {
                r"\PIPE\".to_owned()
            } else {
                String::new()
            },
            fragment: Fragment {
                total_parameters: u32::try_from(parameters.len()).unwrap(),
                total_data: u32::try_from(data.len()).unwrap(),
                parameters,
                parameter_displacement: 0,
                data,
                data_displacement: 0,
            },
        }
    }

    #[test]
    fn primaries_there_and_back() {
        for kind in [Kind::Transaction, Kind::Transaction2, Kind::NtTransact] {
            let request = primary(kind, b"parameters", b"some data");
            let (words, bytes) = request.encode(TEXT, HEADER);
            let mut m = MessageWriter::new(0);
            m.block(kind.command(), false, &words, &bytes);
            let m = m.finish(&[0; HEADER]);
            let block = Block::decode(&m, kind.command(), HEADER).unwrap();
            assert_eq!(Primary::decode(&block, TEXT).unwrap(), request);
            // The last data byte is missing from the message.
            let mut cut = m.clone();
            cut.pop();
            let short = Block::decode(&cut, kind.command(), HEADER);
            assert!(short.is_err());
        }
    }

    #[test]
    fn a_byte_count_of_zero_is_survived() {
        let request = primary(Kind::Transaction, b"par", b"data");
        let (words, bytes) = request.encode(TEXT, HEADER);
        let mut m = MessageWriter::new(0);
        m.block(Command::TRANSACTION, false, &words, &bytes);
        let mut m = m.finish(&[0; HEADER]);
        let count = HEADER + 1 + words.len();
        m[count..count + 2].fill(0);
        let block = Block::decode(&m, Command::TRANSACTION, HEADER).unwrap();
        let back = Primary::decode(&block, TEXT).unwrap();
        assert_eq!(back.name, r"\PIPE\");
        assert_eq!(back.fragment.data, b"data");
    }

    #[test]
    fn secondaries_fill_the_gaps_in_any_order() {
        let f = |p: &'static [u8], pd, d: &'static [u8], dd| Fragment {
            total_parameters: 3,
            total_data: 6,
            parameters: p,
            parameter_displacement: pd,
            data: d,
            data_displacement: dd,
        };
        let mut a = Assembly::begin(&f(b"pa", 0, b"", 0), 100).unwrap();
        assert!(!a.is_complete());
        a.add(&f(b"", 0, b"def", 3)).unwrap();
        a.add(&f(b"r", 2, b"abc", 0)).unwrap();
        assert!(a.is_complete());
        assert_eq!(a.into_parts(), (b"par".to_vec(), b"abcdef".to_vec()));
    }

    #[test]
    fn fragments_outside_the_totals_are_refused() {
        let mut f = Fragment {
            total_parameters: 0,
            total_data: 4,
            parameters: b"",
            parameter_displacement: 0,
            data: b"ab",
            data_displacement: 0,
        };
        assert!(Assembly::begin(&f, 3).is_err());
        let mut a = Assembly::begin(&f, 4).unwrap();
        f.data_displacement = 3;
        assert!(a.add(&f).is_err());
        f.data_displacement = u32::MAX;
        assert!(a.add(&f).is_err());
        f.data_displacement = 2;
        f.total_data = 5;
        assert!(a.add(&f).is_err());
        // A secondary may lower the total.
        f.total_data = 2;
        f.data = b"";
        a.add(&f).unwrap();
        assert!(a.is_complete());
    }

    #[test]
    fn secondary_messages_there_and_back() {
        for kind in [Kind::Transaction, Kind::Transaction2, Kind::NtTransact] {
            let f = Fragment {
                total_parameters: 9,
                total_data: 9,
                parameters: b"abc",
                parameter_displacement: 1,
                data: b"defg",
                data_displacement: 2,
            };
            let command = kind.command() + 1;
            let (words, bytes) = f.encode_secondary(kind, HEADER);
            let mut m = MessageWriter::new(0);
            m.block(command, false, &words, &bytes);
            let m = m.finish(&[0; HEADER]);
            let block = Block::decode(&m, command, HEADER).unwrap();
            assert_eq!(Fragment::decode_secondary(&block).unwrap(), f);
        }
    }

    #[test]
    fn long_answers_are_split_and_come_together_again() {
        let answer = Answer {
            setup: vec![1, 0],
            parameters: (0..77).collect(),
            data: (0..=255).cycle().take(1001).collect(),
        };
        for kind in [Kind::Transaction, Kind::Transaction2, Kind::NtTransact] {
            for max in [130, 256, 4356, 16644] {
                let parts = answer.encode(kind, max);
                let mut whole: Option<Assembly> = None;
                for (i, part) in parts.iter().enumerate() {
                    let mut m = MessageWriter::new(0);
                    m.block(kind.command(), false, &part.words, &part.bytes);
                    let m = m.finish(&[0; HEADER]);
                    assert!(m.len() <= max, "{} > {max}", m.len());
                    let block = Block::decode(&m, kind.command(), HEADER).unwrap();
                    let f = AnswerFragment::decode(&block).unwrap();
                    assert_eq!(f.setup.is_empty(), i > 0);
                    match &mut whole {
                        None => whole = Some(Assembly::begin(&f.fragment, 1 << 20).unwrap()),
                        Some(a) => a.add(&f.fragment).unwrap(),
                    }
                }
                let whole = whole.unwrap();
                assert!(whole.is_complete());
                assert_eq!(
                    whole.into_parts(),
                    (answer.parameters.clone(), answer.data.clone())
                );
            }
        }
    }

    #[test]
    fn an_empty_answer_is_one_message() {
        assert_eq!(Answer::default().encode(Kind::Transaction2, 4356).len(), 1);
    }
}
