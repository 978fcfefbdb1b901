//! Which path an inode number stands for.

use std::collections::HashMap;

/// The root's number.
pub(crate) const ROOT: u64 = 1;

#[derive(Debug)]
struct Node {
    path: String,
    /// How often the kernel was told of it.
    lookups: u64,
}

/// Numbers and paths. A number is kept as long as the kernel knows of it.
#[derive(Debug)]
pub(crate) struct Nodes {
    by_number: HashMap<u64, Node>,
    by_path: HashMap<String, u64>,
    next: u64,
}

/// Paths that a share does not tell apart are one.
fn key(path: &str) -> String {
    path.to_uppercase()
}

impl Nodes {
    /// With the root alone.
    pub(crate) fn new(root: &str) -> Nodes {
        let node = Node {
            path: root.to_owned(),
            lookups: 1,
        };
        Nodes {
            by_number: HashMap::from([(ROOT, node)]),
            by_path: HashMap::from([(key(root), ROOT)]),
            next: ROOT + 1,
        }
    }

    /// The path of a number.
    pub(crate) fn path(&self, number: u64) -> Option<String> {
        self.by_number.get(&number).map(|node| node.path.clone())
    }

    /// The path of a name in a folder.
    pub(crate) fn child(&self, folder: u64, name: &str) -> Option<String> {
        let folder = &self.by_number.get(&folder)?.path;
        Some(join(folder, name))
    }

    /// The number of a path, which the kernel is told of once more.
    pub(crate) fn tell(&mut self, path: &str) -> u64 {
        if let Some(number) = self.by_path.get(&key(path)).copied()
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.lookups += 1;
            return number;
        }
        let number = self.next;
        self.next += 1;
        let node = Node {
            path: path.to_owned(),
            lookups: 1,
        };
        self.by_number.insert(number, node);
        self.by_path.insert(key(path), number);
        number
    }

    /// The kernel knows of it so many times less.
    pub(crate) fn forget(&mut self, number: u64, times: u64) {
        let Some(node) = self.by_number.get_mut(&number) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups == 0 && number != ROOT {
            let path = key(&node.path);
            self.by_number.remove(&number);
            if self.by_path.get(&path) == Some(&number) {
                self.by_path.remove(&path);
            }
        }
    }

    /// The name is gone: a new file of that name has another number.
    pub(crate) fn removed(&mut self, path: &str) {
        self.by_path.remove(&key(path));
    }

    /// What was at `from`, and everything below it, is at `to` now.
    pub(crate) fn renamed(&mut self, from: &str, to: &str) {
        self.by_path.remove(&key(to));
        let from_key = key(from);
        let below = format!("{from_key}\\");
        let moved: Vec<u64> = self
            .by_path
            .iter()
            .filter(|(path, _)| **path == from_key || path.starts_with(&below))
            .map(|(_, number)| *number)
            .collect();
        for number in moved {
            let Some(node) = self.by_number.get_mut(&number) else {
                continue;
            };
            let depth = from.split('\\').count();
            let rest: Vec<&str> = node.path.split('\\').skip(depth).collect();
            let path = rest
                .iter()
                .fold(to.to_owned(), |path, part| join(&path, part));
            self.by_path.remove(&key(&node.path));
            self.by_path.insert(key(&path), number);
            node.path = path;
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}\\{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_while_the_kernel_knows_them() {
        let mut nodes = Nodes::new("");
        let a = nodes.tell("a");
        assert_eq!(nodes.tell("A"), a);
        nodes.forget(a, 1);
        assert_eq!(nodes.path(a).as_deref(), Some("a"));
        nodes.forget(a, 1);
        assert_eq!(nodes.path(a), None);
        assert_ne!(nodes.tell("a"), a);
        nodes.forget(ROOT, 5);
        assert_eq!(nodes.child(ROOT, "x").as_deref(), Some("x"));
    }

    #[test]
    fn renames_take_along_what_is_below() {
        let mut nodes = Nodes::new("base");
        let folder = nodes.tell("base\\d");
        let file = nodes.tell("base\\D\\f\\g");
        let other = nodes.tell("base\\dd");
        let replaced = nodes.tell("base\\e");
        nodes.renamed("base\\d", "base\\e");
        assert_eq!(nodes.path(folder).as_deref(), Some("base\\e"));
        assert_eq!(nodes.path(file).as_deref(), Some("base\\e\\f\\g"));
        assert_eq!(nodes.path(other).as_deref(), Some("base\\dd"));
        assert_eq!(nodes.tell("base\\e"), folder);
        assert_ne!(folder, replaced);
        // The other one is still known, but no longer by its name.
        nodes.forget(replaced, 1);
        assert_eq!(nodes.tell("base\\e"), folder);
    }

    #[test]
    fn a_removed_name_gets_a_new_number() {
        let mut nodes = Nodes::new("");
        let a = nodes.tell("a");
        nodes.removed("a");
        let again = nodes.tell("a");
        assert_ne!(a, again);
        nodes.forget(a, 1);
        assert_eq!(nodes.path(again).as_deref(), Some("a"));
    }
}
