//! A named pipe of `IPC$`, and DCE/RPC calls over it (C706 chapter 12).

use bytes::Bytes;
use countersign_core::client::{Answer, Call, OpenRequest};
use countersign_rpc::pdu::{FIRST_FRAGMENT, HEADER_LENGTH, Header, LAST_FRAGMENT, PacketType};
use countersign_wire::fscc::AccessMask;

use crate::connection::unexpected;
use crate::error::{Error, ErrorKind, Result};
use crate::file::{File, malformed};
use crate::share::Share;

/// Most bytes of one answer.
const MAX_ANSWER: u32 = 64 << 10;
/// Most bytes of a whole response.
const MAX_RESPONSE: usize = 16 << 20;
/// Longest fragment offered and taken.
const MAX_FRAGMENT: u16 = 4280;
/// NDR, 32-bit: its UUID and version on the wire.
const NDR32: [u8; 20] = [
    0x04, 0x5D, 0x88, 0x8A, 0xEB, 0x1C, 0xC9, 0x11, 0x9F, 0xE8, 0x08, 0x00, 0x2B, 0x10, 0x48, 0x60,
    2, 0, 0, 0,
];

/// An open named pipe.
pub struct Pipe {
    file: File,
    call_id: u32,
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipe({:?})", self.file)
    }
}

impl Pipe {
    pub(crate) async fn open(share: Share, name: &str) -> Result<Self> {
        let access = AccessMask::READ_DATA
            | AccessMask::WRITE_DATA
            | AccessMask::APPEND_DATA
            | AccessMask::READ_EA
            | AccessMask::WRITE_EA
            | AccessMask::READ_ATTRIBUTES
            | AccessMask::WRITE_ATTRIBUTES
            | AccessMask::READ_CONTROL
            | AccessMask::SYNCHRONIZE;
        let file = File::open(&share, OpenRequest::existing(name, access), false).await?;
        Ok(Self { file, call_id: 1 })
    }

    /// Writes a message and reads the answer, in one round trip.
    ///
    /// # Errors
    /// What the server says.
    pub async fn transact(&self, input: &[u8]) -> Result<Bytes> {
        let (live, open) = self.file.inner.ready().await?;
        let call = Call::PipeTransact {
            open,
            input: input.to_vec(),
            max: MAX_ANSWER,
        };
        match live.line.call(call).await? {
            Answer::Info(data) => Ok(data),
            _ => Err(unexpected()),
        }
    }

    /// Reads what is still there of a message.
    ///
    /// # Errors
    /// What the server says.
    pub async fn read(&self) -> Result<Bytes> {
        self.file.inner.read(0, MAX_ANSWER).await
    }

    /// Binds to an interface: its UUID as it stands on the wire, its version.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the server does not have it.
    pub async fn bind(&mut self, interface: [u8; 16], version: u32) -> Result<()> {
        let mut body = Vec::new();
        body.extend_from_slice(&MAX_FRAGMENT.to_le_bytes());
        body.extend_from_slice(&MAX_FRAGMENT.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        // One presentation context with one transfer syntax.
        body.extend_from_slice(&[1, 0, 0, 0, 0, 0, 1, 0]);
        body.extend_from_slice(&interface);
        body.extend_from_slice(&version.to_le_bytes());
        body.extend_from_slice(&NDR32);
        let request = self.pdu(PacketType::Bind, &body);
        let answer = self.transact(&request).await?;
        let header = header(&answer)?;
        // The result stands behind the secondary address, C706 12.6.4.4.
        let accepted = header.packet_type == Some(PacketType::BindAck)
            && answer
                .get(24..26)
                .and_then(|b| b.first_chunk::<2>())
                .map(|b| usize::from(u16::from_le_bytes(*b)))
                .and_then(|length| answer.get((26 + length).next_multiple_of(4) + 4..))
                .and_then(|result| result.first_chunk::<2>())
                .is_some_and(|result| *result == [0, 0]);
        if accepted {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::Unsupported,
                "the server does not have this interface",
            ))
        }
    }

    /// Calls a procedure: its arguments and its results in NDR.
    ///
    /// # Errors
    /// A fault, and what the server says.
    pub async fn call(&mut self, procedure: u16, arguments: &[u8]) -> Result<Vec<u8>> {
        self.call_id = self.call_id.wrapping_add(1);
        let mut body = Vec::with_capacity(arguments.len() + 8);
        body.extend_from_slice(
            &u32::try_from(arguments.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&procedure.to_le_bytes());
        body.extend_from_slice(arguments);
        if body.len() + HEADER_LENGTH > usize::from(MAX_FRAGMENT) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the arguments are too long for one fragment",
            ));
        }
        let request = self.pdu(PacketType::Request, &body);
        let mut bytes = self.transact(&request).await?.to_vec();
        let mut stub = Vec::new();
        loop {
            // A fragment may come in several reads.
            let header = loop {
                if let Ok(header) = header(&bytes)
                    && bytes.len() >= usize::from(header.fragment_length)
                {
                    break header;
                }
                let more = self.read().await?;
                if more.is_empty() || bytes.len() > MAX_RESPONSE {
                    return Err(malformed());
                }
                bytes.extend_from_slice(&more);
            };
            let end = usize::from(header.fragment_length);
            match header.packet_type {
                Some(PacketType::Response) => {
                    let part = bytes.get(HEADER_LENGTH + 8..end).ok_or_else(malformed)?;
                    // Fragments of nothing would go on for ever.
                    if part.is_empty() && header.flags & LAST_FRAGMENT == 0 {
                        return Err(malformed());
                    }
                    stub.extend_from_slice(part);
                }
                Some(PacketType::Fault) => {
                    let status = bytes
                        .get(HEADER_LENGTH + 8..)
                        .and_then(|b| b.first_chunk::<4>())
                        .map_or(0, |b| u32::from_le_bytes(*b));
                    let kind = if status == 5 {
                        ErrorKind::PermissionDenied
                    } else {
                        ErrorKind::Other
                    };
                    return Err(Error::new(
                        kind,
                        format!("the remote procedure failed with {status:#010x}"),
                    ));
                }
                _ => return Err(malformed()),
            }
            if header.flags & LAST_FRAGMENT != 0 {
                return Ok(stub);
            }
            if stub.len() > MAX_RESPONSE {
                return Err(malformed());
            }
            bytes.drain(..end);
        }
    }

    fn pdu(&self, kind: PacketType, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + HEADER_LENGTH).unwrap_or(u16::MAX);
        let mut out = vec![
            5,
            0,
            kind.byte(),
            FIRST_FRAGMENT | LAST_FRAGMENT,
            0x10,
            0,
            0,
            0,
        ];
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.call_id.to_le_bytes());
        out.extend_from_slice(body);
        out
    }

    /// Closes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn close(self) -> Result<()> {
        self.file.close().await
    }
}

fn header(bytes: &[u8]) -> Result<Header> {
    let header = bytes
        .first_chunk::<HEADER_LENGTH>()
        .and_then(Header::decode)
        .ok_or_else(malformed)?;
    if usize::from(header.fragment_length) < HEADER_LENGTH || header.big_endian {
        return Err(malformed());
    }
    Ok(header)
}
