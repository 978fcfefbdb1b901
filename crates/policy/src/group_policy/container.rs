//! [MS-GPOL] 3.2.5.1.3 to 3.2.5.1.5: the containers a computer's policy comes from.

use crate::source::ContainerKind;

use super::dn::DistinguishedName;
use super::link::{Link, LinkError, parse_links};

/// A container (scope of management) with its links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Site, domain or organisational unit.
    pub kind: ContainerKind,
    /// Its name.
    pub dn: DistinguishedName,
    /// Its links, in the order of gPLink.
    pub links: Vec<Link>,
    /// gPOptions is 1: links of the containers above that are not enforced stay out.
    pub blocks_inheritance: bool,
}

/// Why a container cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Its links.
    #[error("{dn}: {error}")]
    Links {
        /// The container.
        dn: String,
        /// What is wrong.
        error: LinkError,
    },
    /// Its options.
    #[error("{dn}: gPOptions is `{value}`, which is not a number")]
    Options {
        /// The container.
        dn: String,
        /// What stands there.
        value: String,
    },
}

impl Container {
    /// Of the attributes gPLink and gPOptions; both are usually absent. A container
    /// without links still blocks.
    ///
    /// # Errors
    /// [`ContainerError`].
    pub fn new(
        kind: ContainerKind,
        dn: DistinguishedName,
        links: Option<&str>,
        options: Option<&str>,
    ) -> Result<Container, ContainerError> {
        let links =
            parse_links(links.unwrap_or_default()).map_err(|error| ContainerError::Links {
                dn: dn.to_string(),
                error,
            })?;
        let options = match options.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => text.parse::<i64>().map_err(|_| ContainerError::Options {
                dn: dn.to_string(),
                value: text.chars().take(40).collect(),
            })?,
            None => 0,
        };
        Ok(Container {
            kind,
            dn,
            links,
            blocks_inheritance: options & 1 != 0,
        })
    }
}

/// The organisational units a computer lies in and its domain, nearest first. What is
/// neither (as `CN=Computers`) cannot have links and is passed over.
pub fn containers_of(computer: &DistinguishedName) -> Vec<(ContainerKind, DistinguishedName)> {
    let mut found = Vec::new();
    for ancestor in computer.ancestors() {
        match ancestor.first().0 {
            "ou" => found.push((ContainerKind::Ou, ancestor)),
            "dc" => {
                found.push((ContainerKind::Domain, ancestor));
                break;
            }
            _ => {}
        }
    }
    found
}
