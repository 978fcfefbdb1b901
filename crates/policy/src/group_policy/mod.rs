//! Machine Group Policy, as far as it can be decided without asking anybody
//! ([MS-GPOL], [MS-GPSB]).
//!
//! The shell reads the directory and SYSVOL; this module says what to read and what it
//! comes to. [`plan()`] takes the containers of the computer and the objects linked to
//! them and says which apply, in which order, and why the others do not;
//! [`conclude()`] takes what stands in the files of those that apply and makes the
//! layers of policy of it.

mod access;
mod conclude;
mod container;
mod content;
mod dn;
mod gpt;
mod last_good;
mod link;
mod object;
mod order;
mod plan;
mod report;

pub use access::{APPLY_GROUP_POLICY, AccessEntry, Dacl, Decision, Right, may_apply};
pub use conclude::{Conclusion, Undecided, conclude};
pub use container::{Container, ContainerError, containers_of};
pub use content::{ContentError, Key, REGISTRY_KEY, Values, registry_values, template_values};
pub use dn::{DistinguishedName, DnError};
pub use gpt::{GptError, GptVersion, gpt_version};
pub use last_good::{LastGood, Said};
pub use link::{Link, LinkError, parse_links};
pub use object::{Extension, PolicyObject, WmiFilter};
pub use order::{Place, Placed, apply_order};
pub use plan::{Files, Plan, Step, Token, Wanted, plan};
pub use report::{Considered, Fate, Filtered, Versions};

#[cfg(test)]
mod tests;
