//! [MS-GPOL] 2.2.4: gpt.ini.

/// Largest file read.
const LARGEST: usize = 64 << 10;

/// A version: the high half counts changes for users, the low half those for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GptVersion(pub u32);

impl GptVersion {
    /// Changes of the machine's part.
    pub fn machine(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

/// Why a gpt.ini cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GptError {
    /// Larger than this reader takes.
    #[error("gpt.ini is larger than {LARGEST} bytes")]
    TooLarge,
    /// The section is missing: the file is damaged.
    #[error("gpt.ini has no section [General]")]
    NoSection,
    /// The version is missing.
    #[error("gpt.ini has no Version")]
    NoVersion,
    /// The version is not a number.
    #[error("gpt.ini: Version is not a number below 2^32")]
    BadVersion,
}

/// Reads the version of a gpt.ini. The file is ANSI; what is not ASCII in it does not
/// matter. Names have no case; of several the first counts.
///
/// # Errors
/// [`GptError`].
pub fn gpt_version(bytes: &[u8]) -> Result<GptVersion, GptError> {
    if bytes.len() > LARGEST {
        return Err(GptError::TooLarge);
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{FEFF}');
    let (mut inside, mut seen) = (false, false);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inside = name.trim().eq_ignore_ascii_case("General");
            seen |= inside;
        } else if inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim().eq_ignore_ascii_case("Version")
        {
            let version = value.trim().parse().map_err(|_| GptError::BadVersion)?;
            return Ok(GptVersion(version));
        }
    }
    Err(if seen {
        GptError::NoVersion
    } else {
        GptError::NoSection
    })
}
