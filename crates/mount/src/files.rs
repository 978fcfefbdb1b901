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
    files: Mutex<Table<File>>,
    folders: Mutex<HashMap<u64, Listing>>,
}

/// Open files by their handles, and handles by the number of what they are of.
#[derive(Debug)]
struct Table<T> {
    open: HashMap<u64, Open<T>>,
    by_number: HashMap<u64, Vec<u64>>,
}

#[derive(Debug)]
struct Open<T> {
    file: Arc<T>,
    number: u64,
    write: bool,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            open: HashMap::new(),
            by_number: HashMap::new(),
        }
    }
}

impl<T> Table<T> {
    fn keep(&mut self, handle: u64, number: u64, write: bool, file: T) -> bool {
        if self.open.len() >= MAX_OPEN {
            return false;
        }
        let file = Arc::new(file);
        let open = Open {
            file,
            number,
            write,
        };
        self.open.insert(handle, open);
        self.by_number.entry(number).or_default().push(handle);
        true
    }

    /// One that may write, if there is one.
    fn of(&self, number: u64) -> Option<Arc<T>> {
        let handles = self.by_number.get(&number)?;
        let all = || handles.iter().filter_map(|handle| self.open.get(handle));
        let open = all().find(|open| open.write).or_else(|| all().next())?;
        Some(Arc::clone(&open.file))
    }

    fn release(&mut self, handle: u64) -> Option<Arc<T>> {
        let open = self.open.remove(&handle)?;
        if let Some(handles) = self.by_number.get_mut(&open.number) {
            handles.retain(|one| *one != handle);
            if handles.is_empty() {
                self.by_number.remove(&open.number);
            }
        }
        Some(open.file)
    }
}

impl Files {
    pub(crate) fn handle(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Keeps an open file with the number it is of; `None`: too many are open.
    pub(crate) fn keep(&self, number: u64, write: bool, file: File) -> Option<u64> {
        let handle = self.handle();
        let kept = self.files.lock().keep(handle, number, write, file);
        kept.then_some(handle)
    }

    pub(crate) fn file(&self, handle: u64) -> Option<Arc<File>> {
        let files = self.files.lock();
        files.open.get(&handle).map(|open| Arc::clone(&open.file))
    }

    /// A file of this number that is open, best one that may write.
    pub(crate) fn of(&self, number: u64) -> Option<Arc<File>> {
        self.files.lock().of(number)
    }

    /// Lets a file go. It is closed when nobody works with it any more.
    pub(crate) fn release(&self, handle: u64) -> Option<Arc<File>> {
        self.files.lock().release(handle)
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

    #[test]
    fn files_by_their_numbers() {
        let mut table = Table::default();
        assert!(table.keep(1, 7, false, "reads") && table.keep(2, 7, true, "writes"));
        assert!(table.keep(3, 8, false, "another"));
        assert_eq!(table.of(7).as_deref(), Some(&"writes"));
        assert_eq!(table.release(2).as_deref(), Some(&"writes"));
        assert_eq!(table.of(7).as_deref(), Some(&"reads"));
        table.release(1);
        assert_eq!(table.of(7), None);
        assert_eq!(table.by_number.len(), 1);
        for handle in 10..10 + MAX_OPEN as u64 - 1 {
            assert!(table.keep(handle, 1, false, "many"));
        }
        assert!(!table.keep(9, 1, false, "too many"));
    }
}
