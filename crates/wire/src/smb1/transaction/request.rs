//! Primary and secondary requests.

use super::super::Command;
use super::super::block::{Block, byte_count};
use super::super::text::Text;
use super::{
    Fragment, Kind, NtSecondaryWords, NtTransactWords, SecondaryWords, TransactionWords, count8,
    count32, fragment, low16,
};
use crate::cursor::{DecodeError, Reader, Result, Writer};

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
            fragment: fragment!(block, w, 0, 0),
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
            fragment: fragment!(block, w, 0, 0),
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

impl<'a> Fragment<'a> {
    /// Decodes a secondary request.
    ///
    /// # Errors
    /// [`DecodeError`] for wrong word counts and bytes outside the message.
    pub fn decode_secondary(block: &Block<'a>) -> Result<Self> {
        if block.command == Command::NT_TRANSACT_SECONDARY {
            block.expect_words(&[18])?;
            let w = NtSecondaryWords::decode(&mut block.words())?;
            return Ok(fragment!(block, w));
        }
        block.expect_words(&[8, 9])?;
        let w = SecondaryWords::decode(&mut block.words())?;
        Ok(fragment!(block, w))
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
