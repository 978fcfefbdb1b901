//! Telling the host's changes from our own, which the host reports as well.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::types::ChangeAction;

/// How long a report of the host may lag behind what we did.
const LAG: Duration = Duration::from_secs(2);
/// Paths remembered; beyond it old ones are dropped.
const MOST: usize = 8192;

/// What kind of report an own change makes the host send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Appears,
    Vanishes,
    Changes,
}

fn kind(action: ChangeAction) -> Kind {
    match action {
        ChangeAction::Added | ChangeAction::RenamedNewName => Kind::Appears,
        ChangeAction::Removed | ChangeAction::RenamedOldName => Kind::Vanishes,
        ChangeAction::Modified
        | ChangeAction::AddedStream
        | ChangeAction::RemovedStream
        | ChangeAction::ModifiedStream => Kind::Changes,
    }
}

/// Changes made by this server lately.
#[derive(Default)]
pub(super) struct OwnChanges {
    recent: Mutex<HashMap<(usize, String, Kind), Duration>>,
}

impl OwnChanges {
    /// Notes an own change. Whatever we do to a file, its attributes may be
    /// touched with it.
    pub(super) fn note(&self, share: usize, path: &str, action: ChangeAction, now: Duration) {
        let mut recent = self.recent.lock();
        if recent.len() >= MOST {
            recent.retain(|_, at| now.saturating_sub(*at) < LAG);
            if recent.len() >= MOST {
                recent.clear();
            }
        }
        let base = path.split_once(':').map_or(path, |(base, _)| base);
        recent.insert((share, base.to_owned(), Kind::Changes), now);
        let kind = kind(action);
        if kind != Kind::Changes {
            recent.insert((share, path.to_owned(), kind), now);
        }
    }

    /// Whether a report of the host is about what we did ourselves.
    pub(super) fn is_ours(
        &self,
        share: usize,
        path: &str,
        action: ChangeAction,
        now: Duration,
    ) -> bool {
        self.recent
            .lock()
            .get(&(share, path.to_owned(), kind(action)))
            .is_some_and(|at| now.saturating_sub(*at) < LAG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_changes_are_known_for_a_while() {
        let own = OwnChanges::default();
        let s = Duration::from_secs;
        own.note(1, "a\\b", ChangeAction::Added, s(10));
        assert!(own.is_ours(1, "a\\b", ChangeAction::Added, s(11)));
        assert!(own.is_ours(1, "a\\b", ChangeAction::Modified, s(11)));
        assert!(!own.is_ours(1, "a\\b", ChangeAction::Removed, s(11)));
        assert!(!own.is_ours(2, "a\\b", ChangeAction::Added, s(11)));
        assert!(!own.is_ours(1, "a\\b", ChangeAction::Added, s(13)));
    }

    #[test]
    fn few_are_remembered() {
        let own = OwnChanges::default();
        for i in 0..3 * MOST {
            own.note(1, &format!("{i}"), ChangeAction::Modified, Duration::ZERO);
        }
        assert!(own.recent.lock().len() <= MOST);
    }
}
