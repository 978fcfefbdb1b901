//! The list of shares: [MS-SRVS] NetrShareEnum, level 1.

use countersign_core::client::ShareKind;
use countersign_rpc::ndr::{NdrReader, NdrWriter};

use crate::connection::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::file::malformed;

/// The interface 4B324FC8-1670-01D3-1278-5A47BF6EE188 version 3.0, as on the wire.
const SRVSVC: [u8; 16] = [
    0xC8, 0x4F, 0x32, 0x4B, 0x70, 0x16, 0xD3, 0x01, 0x12, 0x78, 0x5A, 0x47, 0xBF, 0x6E, 0xE1, 0x88,
];
/// NetrShareEnum.
const SHARE_ENUM: u16 = 15;
/// STYPE_SPECIAL.
const SPECIAL: u32 = 0x8000_0000;
/// Most shares that are listed.
const MAX_SHARES: usize = 65536;

/// A share as the server tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareInfo {
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: ShareKind,
    /// It is meant for administration (`C$`, `IPC$`).
    pub special: bool,
    /// Comment.
    pub comment: String,
}

pub(crate) async fn shares(connection: &Connection) -> Result<Vec<ShareInfo>> {
    let mut pipe = connection.pipe("srvsvc").await?;
    pipe.bind(SRVSVC, 3).await?;
    let mut w = NdrWriter::new();
    // ServerName, InfoStruct level 1 with an empty container, no limit, no handle.
    w.pointer(true);
    w.string(&format!(r"\\{}", connection.server()));
    w.align(4);
    w.u32(1);
    w.u32(1);
    w.pointer(true);
    w.u32(0);
    w.u32(0);
    w.u32(u32::MAX);
    w.u32(0);
    let result = pipe.call(SHARE_ENUM, &w.finish()).await?;
    pipe.close().await?;
    parse(&result)
}

fn parse(result: &[u8]) -> Result<Vec<ShareInfo>> {
    let bad = |_| malformed();
    let status = result
        .last_chunk::<4>()
        .map(|b| u32::from_le_bytes(*b))
        .ok_or_else(malformed)?;
    match status {
        0 | 234 => {}
        5 => {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "the server does not list its shares for this user",
            ));
        }
        other => {
            return Err(Error::new(
                ErrorKind::Other,
                format!("NetrShareEnum failed with {other}"),
            ));
        }
    }
    let mut r = NdrReader::new(result, false);
    let level = r.u32().map_err(bad)?;
    let switch = r.u32().map_err(bad)?;
    if level != 1 || switch != 1 {
        return Err(malformed());
    }
    if !r.pointer().map_err(bad)? {
        return Ok(Vec::new());
    }
    let count = r.count().map_err(bad)?;
    if !r.pointer().map_err(bad)? || count == 0 {
        return Ok(Vec::new());
    }
    let maximum = r.count().map_err(bad)?;
    if count > maximum || count > MAX_SHARES {
        return Err(malformed());
    }
    // All fixed parts, then all strings.
    let mut fixed = Vec::new();
    for _ in 0..count {
        let name = r.pointer().map_err(bad)?;
        let kind = r.u32().map_err(bad)?;
        let comment = r.pointer().map_err(bad)?;
        fixed.push((name, kind, comment));
    }
    let mut out = Vec::with_capacity(fixed.len());
    for (name, kind, comment) in fixed {
        let mut text = |present| -> Result<String> {
            if present {
                r.align(4);
                r.string().map_err(bad)
            } else {
                Ok(String::new())
            }
        };
        let name = text(name)?;
        let comment = text(comment)?;
        out.push(ShareInfo {
            name,
            kind: match kind & 0xFF {
                1 => ShareKind::Print,
                3 => ShareKind::Pipe,
                _ => ShareKind::Disk,
            },
            special: kind & SPECIAL != 0,
            comment,
        });
    }
    Ok(out)
}
