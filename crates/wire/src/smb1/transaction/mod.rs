//! Transactions: [MS-CIFS] 2.2.4.33, 2.2.4.34 (TRANSACTION), 2.2.4.46, 2.2.4.47
//! (TRANSACTION2), 2.2.4.62, 2.2.4.63 (NT_TRANSACT).

mod answer;
mod assembly;
mod request;

pub use answer::{Answer, AnswerFragment, AnswerPart};
pub use assembly::Assembly;
pub use request::Primary;

use super::Command;
use super::block::Block;
use super::words::words;
use crate::cursor::{DecodeError, Result};

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

/// The fragment whose totals, counts, offsets and displacements `$w` has: all
/// requests and responses have them, in 16 or 32 bits. A primary request has no
/// displacements.
macro_rules! fragment {
    ($block:expr, $w:expr, $parameter_displacement:expr, $data_displacement:expr) => {
        $crate::smb1::transaction::Fragment {
            total_parameters: $w.total_parameter_count.into(),
            total_data: $w.total_data_count.into(),
            parameters: $crate::smb1::transaction::at32(
                $block,
                $w.parameter_offset.into(),
                $w.parameter_count.into(),
                "Parameters",
            )?,
            parameter_displacement: $parameter_displacement,
            data: $crate::smb1::transaction::at32(
                $block,
                $w.data_offset.into(),
                $w.data_count.into(),
                "Data",
            )?,
            data_displacement: $data_displacement,
        }
    };
    ($block:expr, $w:expr) => {
        $crate::smb1::transaction::fragment!(
            $block,
            $w,
            $w.parameter_displacement.into(),
            $w.data_displacement.into()
        )
    };
}
use fragment;

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

#[cfg(test)]
mod tests {
    use super::super::block::MessageWriter;
    use super::super::code_page::CodePage;
    use super::super::header::HEADER;
    use super::super::text::Text;
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
