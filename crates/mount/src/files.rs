//! Open files and folders by their handles.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_client::{File, Metadata};
use parking_lot::Mutex;

/// Most files and folders open at once.
pub(crate) const MAX_OPEN: usize = 16_384;

/// A folder's names as they were when it was opened.
pub(crate) type Listing = Arc<Vec<(String, Metadata)>>;

/// What is open.
#[derive(Debug, Default)]
pub(crate) struct Files {
    next: AtomicU64,
    files: Mutex<HashMap<u64, Arc<File>>>,
    folders: Mutex<HashMap<u64, Listing>>,
}

impl Files {
    fn handle(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Keeps an open file; `None`: too many are open.
    pub(crate) fn keep(&self, file: File) -> Option<u64> {
        let mut files = self.files.lock();
        if files.len() >= MAX_OPEN {
            return None;
        }
        let handle = self.handle();
        files.insert(handle, Arc::new(file));
        Some(handle)
    }

    pub(crate) fn file(&self, handle: u64) -> Option<Arc<File>> {
        self.files.lock().get(&handle).cloned()
    }

    /// Lets a file go. It is closed when nobody works with it any more.
    pub(crate) fn release(&self, handle: u64) -> Option<Arc<File>> {
        self.files.lock().remove(&handle)
    }

    /// Keeps a folder's names; `None`: too many are open.
    pub(crate) fn keep_folder(&self, listing: Listing) -> Option<u64> {
        let mut folders = self.folders.lock();
        if folders.len() >= MAX_OPEN {
            return None;
        }
        let handle = self.handle();
        folders.insert(handle, listing);
        Some(handle)
    }

    pub(crate) fn folder(&self, handle: u64) -> Option<Listing> {
        self.folders.lock().get(&handle).cloned()
    }

    pub(crate) fn release_folder(&self, handle: u64) {
        self.folders.lock().remove(&handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_folders_than_the_limit() {
        let files = Files::default();
        let empty: Listing = Arc::new(Vec::new());
        let mut first = None;
        for _ in 0..MAX_OPEN {
            let handle = files.keep_folder(Arc::clone(&empty));
            assert!(handle.is_some());
            first = first.or(handle);
        }
        assert_eq!(files.keep_folder(Arc::clone(&empty)), None);
        files.release_folder(first.unwrap());
        assert!(files.keep_folder(empty).is_some());
        assert!(files.file(1).is_none());
    }
}
