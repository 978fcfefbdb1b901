//! [RFC 4511] 4.5.1.7: what a search asks for. Values are bytes and never pass
//! through the text form of a filter: nothing in them can change its meaning.

use lber::common::TagClass;
use lber::structure::{PL, StructureTag};

/// A condition on entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    And(Vec<Filter>),
    /// One of them.
    Or(Vec<Filter>),
    /// The attribute has the value.
    Equals(&'static str, Vec<u8>),
    /// The attribute is there.
    Present(&'static str),
}

impl Filter {
    /// The attribute has the value.
    pub fn equals(attribute: &'static str, value: impl AsRef<[u8]>) -> Filter {
        Filter::Equals(attribute, value.as_ref().to_vec())
    }

    /// Every entry.
    pub fn any() -> Filter {
        Filter::Present("objectClass")
    }
}

/// The filter's encoding.
pub(crate) fn encode(filter: &Filter) -> StructureTag {
    let tag = |id, payload| StructureTag {
        class: TagClass::Context,
        id,
        payload,
    };
    let all = |filters: &[Filter]| PL::C(filters.iter().map(encode).collect());
    match filter {
        Filter::And(filters) => tag(0, all(filters)),
        Filter::Or(filters) => tag(1, all(filters)),
        Filter::Equals(attribute, value) => tag(
            3,
            PL::C(vec![
                super::message::octets(attribute.as_bytes()),
                super::message::octets(value),
            ]),
        ),
        Filter::Present(attribute) => tag(7, PL::P(attribute.as_bytes().to_vec())),
    }
}
