//! Which path an inode number stands for.

use std::collections::HashMap;

/// The root's number.
pub(crate) const ROOT: u64 = 1;

#[derive(Debug)]
struct Node {
    /// None: the name is gone, and only what has it open still knows of it.
    path: Option<String>,
    /// How often the kernel was told of it.
    lookups: u64,
}

/// Numbers and paths. A number is kept as long as the kernel knows of it.
///
/// Names that differ in case alone have two numbers, for one file: so a file can be
/// given its name in another case, and shares that tell case apart are told right.
#[derive(Debug)]
pub(crate) struct Nodes {
    by_number: HashMap<u64, Node>,
    by_path: HashMap<String, u64>,
    next: u64,
}

impl Nodes {
    /// With the root alone.
    pub(crate) fn new(root: &str) -> Nodes {
        let node = Node {
            path: Some(root.to_owned()),
            lookups: 1,
        };
        Nodes {
            by_number: HashMap::from([(ROOT, node)]),
            by_path: HashMap::from([(root.to_owned(), ROOT)]),
            next: ROOT + 1,
        }
    }

    /// The path of a number.
    pub(crate) fn path(&self, number: u64) -> Option<String> {
        self.by_number.get(&number)?.path.clone()
    }

    /// The path of a name in a folder.
    pub(crate) fn child(&self, folder: u64, name: &str) -> Option<String> {
        let folder = self.by_number.get(&folder)?.path.as_deref()?;
        Some(join(folder, name))
    }

    /// The number of a path, if it has one.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.by_path.get(path).copied()
    }

    /// The number of a path, which the kernel is told of once more.
    pub(crate) fn tell(&mut self, path: &str) -> u64 {
        if let Some(number) = self.number(path)
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.lookups += 1;
            return number;
        }
        let number = self.next;
        self.next += 1;
        let node = Node {
            path: Some(path.to_owned()),
            lookups: 1,
        };
        self.by_number.insert(number, node);
        self.by_path.insert(path.to_owned(), number);
        number
    }

    /// The kernel knows of it so many times less.
    pub(crate) fn forget(&mut self, number: u64, times: u64) {
        let Some(node) = self.by_number.get_mut(&number) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups == 0 && number != ROOT {
            let node = self.by_number.remove(&number);
            if let Some(path) = node.and_then(|node| node.path) {
                self.by_path.remove(&path);
            }
        }
    }

    /// The name is gone: a new file of that name has another number.
    pub(crate) fn removed(&mut self, path: &str) {
        if let Some(number) = self.by_path.remove(path)
            && let Some(node) = self.by_number.get_mut(&number)
        {
            node.path = None;
        }
    }

    /// What was at `from`, and everything below it, is at `to` now.
    pub(crate) fn renamed(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        self.removed(to);
        let below = format!("{from}\\");
        let moved: Vec<(String, u64)> = self
            .by_path
            .iter()
            .filter(|(path, _)| *path == from || path.starts_with(&below))
            .map(|(path, number)| (path.clone(), *number))
            .collect();
        for (old, number) in moved {
            let rest = old.get(from.len()..).unwrap_or("");
            let path = format!("{to}{rest}");
            self.by_path.remove(&old);
            self.by_path.insert(path.clone(), number);
            if let Some(node) = self.by_number.get_mut(&number) {
                node.path = Some(path);
            }
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
        assert_eq!(nodes.tell("a"), a);
        assert_ne!(nodes.tell("A"), a);
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
        let file = nodes.tell("base\\d\\f\\g");
        let other = nodes.tell("base\\dd");
        let replaced = nodes.tell("base\\e");
        nodes.renamed("base\\d", "base\\e");
        assert_eq!(nodes.path(folder).as_deref(), Some("base\\e"));
        assert_eq!(nodes.path(file).as_deref(), Some("base\\e\\f\\g"));
        assert_eq!(nodes.path(other).as_deref(), Some("base\\dd"));
        assert_eq!(nodes.tell("base\\e"), folder);
        // The other one is still known, but not by a name.
        assert_eq!(nodes.path(replaced), None);
        nodes.forget(replaced, 1);
        assert_eq!(nodes.tell("base\\e"), folder);
        nodes.renamed("base\\e", "base\\e");
        assert_eq!(nodes.number("base\\e\\f\\g"), Some(file));
    }

    #[test]
    fn a_removed_name_gets_a_new_number() {
        let mut nodes = Nodes::new("");
        let a = nodes.tell("a");
        nodes.removed("a");
        assert_eq!(nodes.path(a), None);
        let again = nodes.tell("a");
        assert_ne!(a, again);
        nodes.forget(a, 1);
        assert_eq!(nodes.path(again).as_deref(), Some("a"));
    }
}
