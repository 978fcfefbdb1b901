//! Parameter words as structs that decode and encode themselves.

use crate::cursor::{Reader, Result, Writer};
use crate::{FileTime, NtStatus};

/// A value of fixed size in parameter words.
pub trait Field: Sized {
    /// Bytes on the wire.
    const SIZE: usize;
    /// Reads it.
    ///
    /// # Errors
    /// [`crate::DecodeError::Short`].
    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Self>;
    /// Writes it.
    fn write(&self, w: &mut Writer<'_>);
}

macro_rules! integer {
    ($($t:ident),*) => {$(
        impl Field for $t {
            const SIZE: usize = size_of::<$t>();
            fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Self> {
                Ok($t::from_le_bytes(r.array(name)?))
            }
            fn write(&self, w: &mut Writer<'_>) {
                w.bytes(&self.to_le_bytes());
            }
        }
    )*};
}
integer!(u8, u16, u32, u64, i16, i32);

impl<const N: usize> Field for [u8; N] {
    const SIZE: usize = N;
    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Self> {
        r.array(name)
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(self);
    }
}

impl Field for FileTime {
    const SIZE: usize = 8;
    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Self> {
        r.u64(name).map(FileTime)
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u64(self.0);
    }
}

impl Field for NtStatus {
    const SIZE: usize = 4;
    fn read(r: &mut Reader<'_>, name: &'static str) -> Result<Self> {
        r.u32(name).map(NtStatus)
    }
    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.0);
    }
}

/// Declares a struct of consecutive little-endian fields with `SIZE`,
/// `decode`, `encode` and `to_vec`. The fields bear the specification's names.
macro_rules! words {
    ($($(#[$m:meta])* $name:ident { $($field:ident : $t:ty),* $(,)? })*) => {$(
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // the fields are the specification's, by name
        pub struct $name { $(pub $field: $t),* }

        // Small structs of numbers: a reference is as good as a copy.
        #[allow(dead_code, unused_mut, unused_variables, clippy::wrong_self_convention)]
        impl $name {
            /// Bytes on the wire.
            pub const SIZE: usize = 0 $(+ <$t as $crate::smb1::words::Field>::SIZE)*;

            /// Reads the fields in order.
            ///
            /// # Errors
            /// [`crate::DecodeError::Short`] when a field is missing.
            pub fn decode(r: &mut $crate::Reader<'_>) -> $crate::cursor::Result<Self> {
                Ok(Self {
                    $($field: <$t as $crate::smb1::words::Field>::read(r, stringify!($field))?),*
                })
            }

            /// Writes the fields in order.
            pub fn encode(&self, w: &mut $crate::Writer<'_>) {
                $($crate::smb1::words::Field::write(&self.$field, w);)*
            }

            /// The bytes.
            #[allow(clippy::wrong_self_convention, reason = "some of the structures are Copy, others are not")]
            pub fn to_vec(&self) -> Vec<u8> {
                let mut out = Vec::with_capacity(Self::SIZE);
                self.encode(&mut $crate::Writer::new(&mut out));
                out
            }
        }
    )*};
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub)] // the macro declares public structs

    use super::*;

    words! {
        /// A test.
        Sample { a: u8, b: u16, c: [u8; 3], d: FileTime, e: i16 }
    }

    #[test]
    fn fields_in_order() {
        let s = Sample {
            a: 1,
            b: 0x0203,
            c: [4, 5, 6],
            d: FileTime(7),
            e: -2,
        };
        let bytes = s.to_vec();
        assert_eq!(bytes.len(), Sample::SIZE);
        assert_eq!(
            bytes,
            [1, 3, 2, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0xFE, 0xFF]
        );
        assert_eq!(Sample::decode(&mut Reader::new(&bytes)), Ok(s));
        for cut in 0..bytes.len() {
            assert!(Sample::decode(&mut Reader::new(&bytes[..cut])).is_err());
        }
    }
}
