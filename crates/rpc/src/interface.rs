//! The interfaces and the pipes they are served on.

use crate::facts::ServerFacts;
use crate::ndr::{NdrError, NdrReader};
use crate::{lsarpc, srvsvc, wkssvc};

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// [MS-SRVS].
    Srvsvc,
    /// [MS-WKST].
    Wkssvc,
    /// [MS-LSAT], [MS-LSAD].
    Lsarpc,
}

/// A syntax: UUID in its little-endian form, and version.
pub(crate) type Syntax = ([u8; 16], u32);

/// A UUID from its printed parts to the bytes of a little-endian PDU.
pub(crate) const fn uuid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let [a0, a1, a2, a3] = a.to_le_bytes();
    let [b0, b1] = b.to_le_bytes();
    let [c0, c1] = c.to_le_bytes();
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    [
        a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}

const SRVSVC: [u8; 16] = uuid(
    0x4B32_4FC8,
    0x1670,
    0x01D3,
    [0x12, 0x78, 0x5A, 0x47, 0xBF, 0x6E, 0xE1, 0x88],
);
const WKSSVC: [u8; 16] = uuid(
    0x6BFF_D098,
    0xA112,
    0x3610,
    [0x98, 0x33, 0x46, 0xC3, 0xF8, 0x7E, 0x34, 0x5A],
);
const LSARPC: [u8; 16] = uuid(
    0x1234_5778,
    0x1234,
    0xABCD,
    [0xEF, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB],
);

/// Why a call gets a fault instead of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallError {
    /// No such operation.
    OperationRange,
    /// The arguments cannot be read.
    BadStub,
    /// A context handle that is none of ours.
    ContextMismatch,
}

impl From<NdrError> for CallError {
    fn from(_: NdrError) -> Self {
        CallError::BadStub
    }
}

impl Interface {
    /// The interface of a pipe's name as clients write it.
    pub(crate) fn of_pipe(name: &str) -> Option<Self> {
        let name = name.trim_start_matches('\\').to_ascii_lowercase();
        match name
            .strip_prefix("pipe\\")
            .unwrap_or(&name)
            .trim_start_matches('\\')
        {
            "srvsvc" => Some(Self::Srvsvc),
            "wkssvc" => Some(Self::Wkssvc),
            "lsarpc" => Some(Self::Lsarpc),
            _ => None,
        }
    }

    pub(crate) fn pipe_name(self) -> &'static str {
        match self {
            Self::Srvsvc => "srvsvc",
            Self::Wkssvc => "wkssvc",
            Self::Lsarpc => "lsarpc",
        }
    }

    /// secondary address of bind_ack.
    pub(crate) fn address(self) -> &'static [u8] {
        match self {
            Self::Srvsvc => b"\\PIPE\\srvsvc\0",
            Self::Wkssvc => b"\\PIPE\\wkssvc\0",
            Self::Lsarpc => b"\\PIPE\\lsarpc\0",
        }
    }

    /// Abstract syntax: the major version must be equal, the minor not higher.
    pub(crate) fn has(self, (id, version): Syntax) -> bool {
        let (ours, major): ([u8; 16], u32) = match self {
            Self::Srvsvc => (SRVSVC, 3),
            Self::Wkssvc => (WKSSVC, 1),
            Self::Lsarpc => (LSARPC, 0),
        };
        id == ours && version == major
    }

    /// Runs an operation; the answer is the response's stub.
    pub(crate) fn call(
        self,
        opnum: u16,
        arguments: &mut NdrReader<'_>,
        facts: &dyn ServerFacts,
        handles: &mut Handles,
    ) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Srvsvc => srvsvc::call(opnum, arguments, facts),
            Self::Wkssvc => wkssvc::call(opnum, arguments, facts),
            Self::Lsarpc => lsarpc::call(opnum, arguments, facts, handles),
        }
    }
}

/// A context handle on the wire.
pub(crate) type Handle = [u8; 20];

/// Most context handles open on one pipe.
const MAX_HANDLES: usize = 256;

/// The context handles of one pipe.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    given: u64,
    open: Vec<u64>,
}

impl Handles {
    /// A new handle; `None` when there are too many.
    pub(crate) fn open(&mut self) -> Option<Handle> {
        if self.open.len() >= MAX_HANDLES {
            return None;
        }
        self.given += 1;
        self.open.push(self.given);
        let mut handle = [0; 20];
        for (to, from) in handle.iter_mut().skip(12).zip(self.given.to_be_bytes()) {
            *to = from;
        }
        Some(handle)
    }

    fn read(&self, arguments: &mut NdrReader<'_>) -> Result<usize, CallError> {
        arguments.u32()?;
        let id = arguments.uuid()?;
        let given = id.last_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
        let clean = id.iter().take(8).all(|b| *b == 0);
        let at = self.open.iter().position(|h| clean && *h == given);
        at.ok_or(CallError::ContextMismatch)
    }

    /// Reads a handle that must be open.
    pub(crate) fn check(&self, arguments: &mut NdrReader<'_>) -> Result<(), CallError> {
        self.read(arguments).map(|_| ())
    }

    /// Reads a handle and closes it.
    pub(crate) fn close(&mut self, arguments: &mut NdrReader<'_>) -> Result<(), CallError> {
        let at = self.read(arguments)?;
        self.open.swap_remove(at);
        Ok(())
    }
}
