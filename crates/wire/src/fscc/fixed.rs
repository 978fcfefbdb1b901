//! Structures of a fixed size, written down as a table.

use super::flags::{AccessMask, FileAttributes};
use crate::cursor::{Reader, Result, Writer};
use crate::dtyp::{FileTime, Guid};

/// A value with one form on the wire.
pub(super) trait Field: Sized {
    /// Reads it.
    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Self>;
    /// Appends it.
    fn write(&self, w: &mut Writer<'_>);
}

macro_rules! field {
    ($($t:ty: $r:ident, $read:expr, $w:ident, $v:ident, $write:expr;)*) => {
        $(impl Field for $t {
            fn read($r: &mut Reader<'_>, name: &'static str) -> Result<Self> {
                let read: fn(&mut Reader<'_>, &'static str) -> Result<Self> = $read;
                read($r, name)
            }
            fn write(&self, $w: &mut Writer<'_>) {
                let $v = self;
                $write
            }
        })*
    };
}

field! {
    u8: r, |r, n| r.u8(n), w, v, w.u8(*v);
    u16: r, |r, n| r.u16(n), w, v, w.u16(*v);
    u32: r, |r, n| r.u32(n), w, v, w.u32(*v);
    u64: r, |r, n| r.u64(n), w, v, w.u64(*v);
    bool: r, |r, n| Ok(r.u8(n)? != 0), w, v, w.u8(u8::from(*v));
    [u8; 16]: r, |r, n| r.array(n), w, v, w.bytes(v);
    [u8; 48]: r, |r, n| r.array(n), w, v, w.bytes(v);
    Guid: r, |r, n| Ok(Guid(r.array(n)?)), w, v, w.bytes(&v.0);
    FileTime: r, |r, n| Ok(FileTime(r.u64(n)?)), w, v, w.u64(v.0);
    FileAttributes: r, |r, n| Ok(FileAttributes::from_bits_retain(r.u32(n)?)), w, v, w.u32(v.bits());
    AccessMask: r, |r, n| Ok(AccessMask::from_bits_retain(r.u32(n)?)), w, v, w.u32(v.bits());
}

/// Structures whose fields stand one behind the other; `pad N` are bytes the
/// specification reserves.
macro_rules! fixed {
    ($($(#[$m:meta])* $name:ident = $len:literal {
        $($(#[$fm:meta])* $field:ident: $t:ty $(, pad $pad:literal)?;)*
    })*) => {
        $(
            $(#[$m])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name {
                $($(#[$fm])* pub $field: $t,)*
            }

            impl $name {
                /// Bytes on the wire.
                pub const LEN: usize = $len;

                /// Reads it.
                ///
                /// # Errors
                /// Fewer bytes than [`Self::LEN`].
                pub fn decode(bytes: &[u8]) -> $crate::cursor::Result<Self> {
                    let mut r = $crate::cursor::Reader::new(bytes);
                    let r = &mut r;
                    $(
                        let $field = <$t as $crate::fscc::fixed::Field>::read(r, stringify!($field))?;
                        $(r.skip($pad, "Reserved")?;)?
                    )*
                    Ok(Self { $($field,)* })
                }

                /// Appends it.
                pub fn encode(&self, w: &mut $crate::cursor::Writer<'_>) {
                    $(
                        $crate::fscc::fixed::Field::write(&self.$field, w);
                        $(w.zeros($pad);)?
                    )*
                }
            }
        )*
    };
}
pub(super) use fixed;
