//! Sets of addresses as spans: a network is as small as an address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;

/// Where addresses are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    V4,
    V6,
}

/// Addresses from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) space: Space,
    pub(crate) first: u128,
    pub(crate) last: u128,
}

impl Span {
    pub(crate) fn new(space: Space, first: u128, last: u128) -> Self {
        Self { space, first, last }
    }

    /// One address; IPv4 in IPv6's clothes is IPv4.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let number = u128::from(u32::from(v4));
                Self::new(Space::V4, number, number)
            }
            IpAddr::V6(v6) => Self::new(Space::V6, u128::from(v6), u128::from(v6)),
        }
    }

    /// How many addresses.
    pub(crate) fn len(self) -> u128 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// One after the other.
    pub(crate) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (self.first..=self.last).map(move |number| match self.space {
            Space::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Space::V6 => Ipv6Addr::from(number).into(),
        })
    }
}

/// Addresses of one space: spans that do not meet, by their first address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans(BTreeMap<u128, u128>);

impl Spans {
    /// The parts of a span that are not in here.
    pub(crate) fn missing(&self, span: Span) -> Vec<Span> {
        let over = self.0.range(..=span.first).next_back();
        let inside = self
            .0
            .range((Bound::Excluded(span.first), Bound::Included(span.last)));
        let mut parts = Vec::new();
        let mut at = span.first;
        for (first, last) in over.into_iter().chain(inside) {
            if *last < at {
                continue;
            }
            if *first > at {
                parts.push(Span::new(span.space, at, first.saturating_sub(1)));
            }
            match last.checked_add(1) {
                Some(next) if next <= span.last => at = next,
                _ => return parts,
            }
        }
        parts.push(Span::new(span.space, at, span.last));
        parts
    }

    /// Adds what is missing of a span.
    pub(crate) fn add(&mut self, span: Span) {
        for part in self.missing(span) {
            self.0.insert(part.first, part.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    proptest::proptest! {
        /// The same as a set of numbers, whatever is added and asked for.
        #[test]
        fn as_a_set(added in proptest::collection::vec((0_u8..60, 0_u8..12), 0..12), from in 0_u8..60, length in 0_u8..20) {
            let span = |first: u8, length: u8| {
                Span::new(Space::V4, u128::from(first), u128::from(first) + u128::from(length))
            };
            let mut spans = Spans::default();
            let mut set = BTreeSet::new();
            for (first, length) in added {
                spans.add(span(first, length));
                set.extend(first..=first + length);
            }
            let missing: Vec<u128> = spans
                .missing(span(from, length))
                .into_iter()
                .flat_map(|part| part.first..=part.last)
                .collect();
            let wanted: Vec<u128> = (from..=from + length)
                .filter(|one| !set.contains(one))
                .map(u128::from)
                .collect();
            assert_eq!(missing, wanted);
        }
    }

    #[test]
    fn the_ends_of_the_space() {
        let all = Span::new(Space::V6, 0, u128::MAX);
        let mut spans = Spans::default();
        spans.add(all);
        assert!(spans.missing(all).is_empty());
        assert_eq!(all.len(), u128::MAX);
        let mapped = Span::of("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped, Span::of("10.0.0.1".parse().unwrap()));
    }
}
