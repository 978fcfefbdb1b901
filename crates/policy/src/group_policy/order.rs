//! The order in which links apply: the one place where it is decided.
//!
//! Containers: site, domain, outer organisational unit, inner one; the later overrules
//! the earlier ([MS-GPOL] 3.2.5.2). All enforced links come after all that are not;
//! among them the highest container overrules ([MS-GPOL] 3.2.5.1.5 step 4, and the
//! documentation of Windows).
//!
//! Inside one container sources disagree. [MS-GPOL] 3.2.5.1.5 read literally lets the
//! leftmost link of gPLink overrule. Windows' own tools number the links from the right,
//! number 1 overrules, and comparisons of Samba (which applies left to right) with
//! gpresult agree: so the **rightmost** link overrules here, enforced or not.

use super::container::Container;
use super::link::Link;

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Its container.
    pub container: &'a Container,
    /// The link.
    pub link: &'a Link,
    /// Its number as the tools of Windows show it: 1 overrules the others of its
    /// container.
    pub number: usize,
    /// Whether it counts.
    pub place: Place<'a>,
}

/// Whether a link counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// It does.
    Counts,
    /// It is disabled.
    Disabled,
    /// A container below blocks inheritance.
    Blocked(&'a Container),
}

/// All links in the order in which they apply: the later overrules the earlier.
/// `containers` are weakest first: site, domain, organisational units from the outside
/// inwards. Links that do not count stand where they would have applied.
pub fn apply_order(containers: &[Container]) -> Vec<Placed<'_>> {
    let mut order = Vec::new();
    for (at, container) in containers.iter().enumerate() {
        let below = containers.get(at + 1..).unwrap_or_default();
        let blocker = below.iter().rev().find(|one| one.blocks_inheritance);
        for (number, link) in within(container).filter(|(_, link)| !link.is_enforced()) {
            let place = match blocker {
                _ if link.is_disabled() => Place::Disabled,
                Some(by) => Place::Blocked(by),
                None => Place::Counts,
            };
            order.push(Placed {
                container,
                link,
                number,
                place,
            });
        }
    }
    for container in containers.iter().rev() {
        for (number, link) in within(container).filter(|(_, link)| link.is_enforced()) {
            order.push(Placed {
                container,
                link,
                number,
                place: Place::Counts,
            });
        }
    }
    order
}

/// The links of one container in the order in which they apply, with their numbers.
fn within(container: &Container) -> impl Iterator<Item = (usize, &Link)> {
    let count = container.links.len();
    container
        .links
        .iter()
        .enumerate()
        .map(move |(at, link)| (count.saturating_sub(at), link))
}
