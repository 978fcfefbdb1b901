//! [MS-GPOL] 2.2.2: the gPLink attribute.

use super::dn::{DistinguishedName, DnError};

/// Most links read of one container.
const MOST: usize = 999;

/// One link of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The Group Policy object.
    pub gpo: DistinguishedName,
    /// GPLinkOptions.
    pub options: u32,
}

impl Link {
    /// The link is disabled: it is ignored, whatever else its options say.
    pub const fn is_disabled(&self) -> bool {
        self.options & 1 != 0
    }

    /// The link is enforced: it cannot be blocked and overrules what is below.
    pub const fn is_enforced(&self) -> bool {
        self.options & 3 == 2
    }
}

/// Why a gPLink cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Something other than `[LDAP://DN;OPTIONS]`.
    #[error("gPLink: link {0} is not [LDAP://DN;OPTIONS]")]
    Malformed(usize),
    /// The name of the object is none.
    #[error("gPLink: link {0}: {1}")]
    Name(usize, DnError),
    /// Beyond the limit of this reader.
    #[error("gPLink: more than {MOST} links")]
    TooMany,
}

/// Reads a gPLink: the links in the order of the text. `[ ]` and blanks are no links.
///
/// # Errors
/// [`LinkError`]. A link that cannot be read must not be passed over: it might be the
/// one that requires something.
pub fn parse_links(text: &str) -> Result<Vec<Link>, LinkError> {
    let mut links = Vec::new();
    let mut rest = text.trim();
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        if number > MOST {
            return Err(LinkError::TooMany);
        }
        let malformed = LinkError::Malformed(number);
        let inner = rest.strip_prefix('[').ok_or(malformed)?.trim_start();
        if let Some(behind) = inner.strip_prefix(']') {
            rest = behind.trim_start();
            continue;
        }
        let inner = strip_prefix_without_case(inner, "LDAP://").ok_or(malformed)?;
        let (name, options, behind) = end_of_link(inner).ok_or(malformed)?;
        let gpo = name
            .parse()
            .map_err(|error| LinkError::Name(number, error))?;
        links.push(Link { gpo, options });
        rest = behind.trim_start();
    }
    Ok(links)
}

/// Name, options and what is behind: the first `;DIGITS]`, since a name may itself
/// contain `;` and `]`.
fn end_of_link(inner: &str) -> Option<(&str, u32, &str)> {
    for (at, _) in inner.match_indices(';') {
        let (name, behind) = (inner.get(..at)?, inner.get(at + 1..)?);
        let (digits, rest) = behind.split_once(']')?;
        if let Ok(options) = digits.trim().parse::<u32>() {
            return Some((name, options, rest));
        }
    }
    None
}

fn strip_prefix_without_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| text.get(prefix.len()..))
        .flatten()
}
