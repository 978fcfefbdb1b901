//! Kinds of values in the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use countersign_auth::GuestRule;
use countersign_core::config::{Dialect, OemCodePage, OnTighten};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{Profile, Role, Setting, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Field, Reader, SectionDoc, Wrong, mistyped};

impl Field for bool {
    fn kind() -> String {
        "`true` or `false`".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, _: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        match value.get_ref() {
            DeValue::Boolean(on) => Ok(Some(*on)),
            other => Err(mistyped(other, "true or false")),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! integer_fields {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn kind() -> String {
                "integer".to_owned()
            }

            fn read(
                value: &Spanned<DeValue<'_>>,
                _: &mut Reader<'_>,
            ) -> Result<Option<Self>, Wrong> {
                match value.get_ref() {
                    DeValue::Integer(number) => {
                        <$type>::from_str_radix(number.as_str(), number.radix())
                            .map(Some)
                            .map_err(|_| {
                                Wrong::new(format!(
                                    "`{number}` is not between 0 and {}",
                                    <$type>::MAX
                                ))
                            })
                    }
                    other => Err(mistyped(other, "an integer")),
                }
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
integer_fields!(u16, u32, usize);

impl Field for String {
    fn kind() -> String {
        "string".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, _: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        match value.get_ref() {
            DeValue::String(text) => Ok(Some(text.clone().into_owned())),
            other => Err(mistyped(other, "a string")),
        }
    }

    fn show(&self) -> Option<String> {
        Some(format!("\"{}\"", self.escape_default()))
    }
}

impl Field for PathBuf {
    fn kind() -> String {
        "path".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        let text = <String as Field>::read(value, reader)?.unwrap_or_default();
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("this is not a path"));
        }
        Ok(Some(PathBuf::from(text)))
    }

    fn show(&self) -> Option<String> {
        if self.as_os_str().is_empty() {
            return None;
        }
        Some(format!("\"{}\"", self.display()))
    }
}

impl<T: Field> Field for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        Ok(T::read(value, reader)?.map(Some))
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Field::show)
    }
}

impl<T: Field> Field for Vec<T> {
    fn kind() -> String {
        format!("list of: {}", T::kind())
    }

    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        let DeValue::Array(items) = value.get_ref() else {
            return Err(mistyped(value.get_ref(), "a list"));
        };
        let mut list = Vec::new();
        for item in items.iter() {
            match T::read(item, reader) {
                Ok(Some(one)) => list.push(one),
                Ok(None) => {}
                Err(wrong) => reader.problem(item.span(), wrong),
            }
        }
        Ok(Some(list))
    }

    fn show(&self) -> Option<String> {
        if T::section().is_some() {
            return None;
        }
        Some(format!(
            "[{}]",
            self.iter()
                .filter_map(Field::show)
                .collect::<Vec<_>>()
                .join(", ")
        ))
    }

    fn section() -> Option<(SectionDoc, bool)> {
        T::section().map(|(section, _)| (section, true))
    }
}

/// A span of time: `"2s"`, `"500ms"`, `"10m"`, `"1h"`, or whole seconds.
impl Field for Duration {
    fn kind() -> String {
        "time, as `\"2s\"`, `\"500ms\"`, `\"10m\"`, `\"1h\"`".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, _: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix())
                .map(|seconds| Some(Duration::from_secs(u64::from(seconds))))
                .map_err(|_| Wrong::new(format!("`{number}` seconds is too long or negative"))),
            DeValue::String(text) => duration(text).map(Some).ok_or_else(|| {
                Wrong::new(format!(
                    "`{text}` is not a time; write `2s`, `500ms`, `10m` or `1h`"
                ))
            }),
            other => Err(mistyped(other, "a time such as \"2s\"")),
        }
    }

    fn show(&self) -> Option<String> {
        let text = match (self.as_secs(), self.subsec_millis()) {
            (0, 0) => "0s".to_owned(),
            (seconds, 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            (seconds, 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
            (seconds, 0) => format!("{seconds}s"),
            _ => format!("{}ms", self.as_millis()),
        };
        Some(format!("\"{text}\""))
    }
}

fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(split)?;
    let number = u64::from(digits.parse::<u32>().ok()?);
    Some(match unit.trim() {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    })
}

/// A number of bytes: `"8MiB"`, `"64KiB"`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Field for Bytes {
    fn kind() -> String {
        "bytes, as `65536`, `\"64KiB\"` or `\"8MiB\"`".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, _: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        let bytes = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => bytes(text),
            other => return Err(mistyped(other, "a number of bytes")),
        };
        bytes.map(|bytes| Some(Bytes(bytes))).ok_or_else(|| {
            Wrong::new("this is not a number of bytes; write `65536`, `\"64KiB\"` or `\"8MiB\"`")
        })
    }

    fn show(&self) -> Option<String> {
        Some(match self.0 {
            0 => "0".to_owned(),
            bytes if bytes % (1 << 20) == 0 => format!("\"{}MiB\"", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => format!("\"{}KiB\"", bytes >> 10),
            bytes => bytes.to_string(),
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let number: u64 = digits.parse().ok()?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" | "kb" => 10,
        "m" | "mib" | "mb" => 20,
        "g" | "gib" | "gb" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A listening address: `127.0.0.1:445`, `[::1]:4450`; port 0 takes a free one.
impl Field for SocketAddr {
    fn kind() -> String {
        "address and port".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        let text = <String as Field>::read(value, reader)?.unwrap_or_default();
        text.parse()
            .map(Some)
            .map_err(|_| Wrong::new(address_help(&text)))
    }

    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

/// Why a text is not an address to listen on.
pub fn address_help(text: &str) -> String {
    format!("`{text}` is not ADDRESS:PORT; write `127.0.0.1:4450`, `0.0.0.0:445` or `[::]:445`")
}

/// A value out of a list of words.
pub trait Word: Sized + Copy + PartialEq + 'static {
    /// Every word and what it stands for, the preferred one of each meaning first.
    const WORDS: &'static [(&'static str, Self)];

    /// What a word stands for.
    ///
    /// # Errors
    /// When it is none of them.
    fn parse(text: &str) -> Result<Self, Wrong> {
        Self::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()))
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
                Wrong::word(text, &words)
            })
    }

    /// The word for a value.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, meaning)| *meaning == self)
            .map_or("", |(word, _)| *word)
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

macro_rules! words {
    ($type:ty: $($word:literal => $meaning:expr),* $(,)?) => {
        impl Word for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $meaning)),*];
        }

        impl Field for $type {
            fn kind() -> String {
                let words: Vec<String> =
                    <$type>::WORDS.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }

            fn read(
                value: &Spanned<DeValue<'_>>,
                reader: &mut Reader<'_>,
            ) -> Result<Option<Self>, Wrong> {
                let text = <String as Field>::read(value, reader)?.unwrap_or_default();
                <$type as Word>::parse(&text).map(Some)
            }

            fn show(&self) -> Option<String> {
                Some(format!("\"{}\"", self.word()))
            }
        }
    };
}

words!(Dialect:
    "smb1" => Dialect::Smb1, "2.0.2" => Dialect::Smb202, "2.1" => Dialect::Smb210,
    "3.0" => Dialect::Smb300, "3.0.2" => Dialect::Smb302, "3.1.1" => Dialect::Smb311);
words!(OnTighten: "end" => OnTighten::End, "keep" => OnTighten::Keep);
words!(LogFormat: "text" => LogFormat::Text, "json" => LogFormat::Json);
words!(OemCodePage: "cp437" => OemCodePage::Cp437, "cp850" => OemCodePage::Cp850);
words!(GuestRule:
    "never" => GuestRule::Never, "unknown-user" => GuestRule::UnknownUser,
    "bad-password" => GuestRule::BadPassword);
words!(SigningAlgorithm:
    "aes-128-gmac" => SigningAlgorithm::AesGmac, "aes-128-cmac" => SigningAlgorithm::AesCmac,
    "hmac-sha256" => SigningAlgorithm::HmacSha256);
words!(Cipher:
    "aes-128-gcm" => Cipher::Aes128Gcm, "aes-128-ccm" => Cipher::Aes128Ccm,
    "aes-256-gcm" => Cipher::Aes256Gcm, "aes-256-ccm" => Cipher::Aes256Ccm);
words!(Profile:
    "secure" => Profile::Secure, "balanced" => Profile::Balanced,
    "windows-10" => Profile::Windows10, "windows-11-24h2" => Profile::Windows11_24H2,
    "windows-server-2025" => Profile::WindowsServer2025);
words!(Role:
    "stand-alone" => Role::StandAlone, "member" => Role::Member,
    "domain-controller" => Role::DomainController, "client" => Role::Client);
words!(Value:
    "enabled" => Value::Enabled, "disabled" => Value::Disabled,
    "not-defined" => Value::NotDefined);
words!(Setting:
    "server-if-client-agrees" => Setting::ServerIfClientAgrees,
    "server-always" => Setting::ServerAlways,
    "client-if-server-agrees" => Setting::ClientIfServerAgrees,
    "client-always" => Setting::ClientAlways);

/// An NT hash: 32 hexadecimal digits, as good as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct HashText(pub countersign_auth::NtHash);

impl std::fmt::Debug for HashText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashText(..)")
    }
}

impl Field for HashText {
    fn kind() -> String {
        "32 hexadecimal digits".to_owned()
    }

    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Result<Option<Self>, Wrong> {
        let text = <String as Field>::read(value, reader)?.unwrap_or_default();
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|pair| {
                let digits = std::str::from_utf8(pair).ok()?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                u8::from_str_radix(digits, 16).ok()
            })
            .collect();
        match (
            bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()),
            odd,
        ) {
            (Some(bytes), []) => Ok(Some(HashText(countersign_auth::NtHash::new(bytes)))),
            _ => Err(Wrong::new(
                "this is not an NT hash of 32 hexadecimal digits",
            )),
        }
    }

    fn show(&self) -> Option<String> {
        None
    }
}
