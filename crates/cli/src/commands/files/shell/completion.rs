//! Completion of commands, remote names and local names.

use std::time::Duration;

use countersign_client::Share;
use countersign_client::transfer::{Kind, Remote};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use tokio::runtime::Handle;

use super::line::{last_word, quoted};
use super::verbs::{Session, VERBS, resolve};

/// How long a server is waited for while somebody types.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most names that are offered.
const MOST: usize = 500;

/// Knows the names.
pub(super) struct Names {
    runtime: Handle,
    share: Share,
    folder: Vec<String>,
}

impl Names {
    pub(super) fn new(runtime: Handle, session: &Session) -> Names {
        Names {
            runtime,
            share: session.share().clone(),
            folder: session.folder().to_vec(),
        }
    }

    /// The session is in another folder now.
    pub(super) fn moved(&mut self, session: &Session) {
        self.folder = session.folder().to_vec();
    }

    fn remote(&self, word: &str) -> Vec<String> {
        let cut = word.rfind(['/', '\\']).map_or(0, |at| at + 1);
        let (folder, begin) = word.split_at_checked(cut).unwrap_or(("", word));
        let Ok(parts) = resolve(&self.folder, folder) else {
            return Vec::new();
        };
        let share = self.share.clone();
        let listed = self.runtime.block_on(async move {
            tokio::time::timeout(PATIENCE, share.list(&parts.join("\\"))).await
        });
        let Ok(Ok(entries)) = listed else {
            return Vec::new();
        };
        let begin = begin.to_lowercase();
        entries
            .iter()
            .filter(|entry| entry.name.to_lowercase().starts_with(&begin))
            .filter(|entry| !entry.name.contains(char::is_control))
            .map(|entry| {
                let slash = if entry.kind == Kind::Folder { "/" } else { "" };
                format!("{folder}{}{slash}", entry.name)
            })
            .collect()
    }
}

fn local(word: &str) -> Vec<String> {
    let cut = word.rfind('/').map_or(0, |at| at + 1);
    let (folder, begin) = word.split_at_checked(cut).unwrap_or(("", word));
    let path = if folder.is_empty() { "." } else { folder };
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let slash = if entry.path().is_dir() { "/" } else { "" };
            name.starts_with(begin)
                .then(|| format!("{folder}{name}{slash}"))
        })
        .collect()
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let text = line.get(..position).unwrap_or(line);
        let (start, word) = last_word(text);
        let before: Vec<&str> = text.get(..start).unwrap_or("").split_whitespace().collect();
        let mut names = match before.first() {
            None => VERBS
                .iter()
                .map(|verb| verb.name.to_owned())
                .filter(|name| name.starts_with(&word))
                .collect(),
            Some(&("put" | "mput" | "reput" | "lcd" | "lls")) => local(&word),
            Some(&("get" | "reget")) if before.len() > 1 => local(&word),
            Some(_) => self.remote(&word),
        };
        names.sort();
        names.truncate(MOST);
        let pairs = names.into_iter().map(|name| Pair {
            replacement: quoted(&name),
            display: name,
        });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}
