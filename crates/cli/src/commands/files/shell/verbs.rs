//! The commands of the shell.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_client::Share;
use countersign_client::location::split_path;
use countersign_client::transfer::{
    Direction, Entry, Existing, Item, JOBS, Kind, Observer, Options, Remote, Whole,
    check_from_remote, copy, expand, join, remove_tree, to_remote, walk,
};

use crate::Outcome;
use crate::output::{printable, say, table};
use crate::remote::present::{attributes, human, shown, time};
use crate::remote::progress::Progress;

/// A command with what it is told with.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    arguments: &'static str,
    about: &'static str,
}

const fn verb(name: &'static str, arguments: &'static str, about: &'static str) -> Verb {
    Verb {
        name,
        arguments,
        about,
    }
}

pub(super) const VERBS: &[Verb] = &[
    verb("ls", "[NAME]", "list a folder, or what fits (also: dir)"),
    verb("cd", "[FOLDER]", "go to a folder"),
    verb("pwd", "", "tell the folder"),
    verb("get", "[-r] NAME [LOCAL]", "copy to here"),
    verb("put", "[-r] LOCAL [NAME]", "copy to the share"),
    verb("mget", "[-r] NAME...", "copy several, wildcards too"),
    verb("mput", "[-r] LOCAL...", "copy several to the share"),
    verb("reget", "NAME [LOCAL]", "continue a get"),
    verb("reput", "LOCAL [NAME]", "continue a put"),
    verb("cat", "NAME...", "show files (also: more)"),
    verb("rm", "[-r] NAME...", "remove, wildcards too (also: del)"),
    verb("mkdir", "NAME...", "make folders (also: md)"),
    verb("rmdir", "NAME...", "remove empty folders (also: rd)"),
    verb("mv", "NAME NEW", "rename or move (also: rename)"),
    verb(
        "stat",
        "NAME...",
        "times, size and attributes (also: allinfo)",
    ),
    verb("du", "[FOLDER]", "add up sizes"),
    verb("df", "", "space of the share"),
    verb("info", "", "what protects the connection"),
    verb("lcd", "[FOLDER]", "go to a local folder"),
    verb("lpwd", "", "tell the local folder"),
    verb("lls", "[FOLDER]", "list a local folder"),
    verb("help", "", "tell the commands (also: ?)"),
    verb("quit", "", "end (also: exit, q)"),
];

/// Where a word leads from a folder.
pub(super) fn resolve(folder: &[String], word: &str) -> Result<Vec<String>, String> {
    let text = if word.starts_with(['/', '\\']) {
        word.to_owned()
    } else {
        format!("{}\\{word}", folder.join("\\"))
    };
    split_path(&text).map_err(|error| error.to_string())
}

/// A share, and the folder the shell is in.
pub(super) struct Session {
    share: Share,
    folder: Vec<String>,
}

impl Session {
    pub(super) fn new(share: Share, folder: Vec<String>) -> Session {
        Session { share, folder }
    }

    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    pub(super) fn folder(&self) -> &[String] {
        &self.folder
    }

    /// The prompt.
    pub(super) fn place(&self) -> String {
        printable(&format!("{}:/{}", self.share.name(), self.folder.join("/")))
    }

    pub(super) fn describe(&self) -> String {
        let info = self.share.connection().info();
        let protection = match (info.encrypted, info.signed) {
            (Some(_), _) => "encrypted",
            (None, true) => "signed",
            (None, false) => "not signed",
        };
        format!(
            "connected to {} as {:?}, {:?}, {protection}",
            printable(&info.server),
            info.identity,
            info.dialect
        )
    }

    fn path(&self, word: &str) -> Result<String, String> {
        Ok(resolve(&self.folder, word)?.join("\\"))
    }

    pub(super) async fn run(&mut self, verb: &str, rest: &[String]) -> Outcome {
        let flags: Vec<&str> = rest
            .iter()
            .map(String::as_str)
            .take_while(|word| word.starts_with('-') && word.len() > 1)
            .collect();
        let words = rest.get(flags.len()..).unwrap_or_default();
        let recursive = flags.iter().any(|flag| flag.contains(['r', 'R']));
        match verb {
            "ls" | "dir" | "l" => self.list(words.first().map_or("", String::as_str)).await,
            "cd" => self.go(words.first().map_or("/", String::as_str)).await,
            "pwd" => {
                say(&self.place());
                Ok(())
            }
            "get" => self.get(words, recursive, false).await,
            "reget" => self.get(words, recursive, true).await,
            "put" => self.put(words, recursive, false).await,
            "reput" => self.put(words, recursive, true).await,
            "mget" => self.get_many(words, recursive).await,
            "mput" => self.put_many(words, recursive).await,
            "cat" | "more" => self.show(words).await,
            "rm" | "del" => self.remove(words, recursive).await,
            "mkdir" | "md" => {
                for word in some(words)? {
                    let path = self.path(word)?;
                    self.share.create_folder(&path).await.map_err(text)?;
                }
                Ok(())
            }
            "rmdir" | "rd" => {
                for word in some(words)? {
                    let path = self.path(word)?;
                    self.share.remove_folder(&path).await.map_err(text)?;
                }
                Ok(())
            }
            "mv" | "rename" | "ren" => self.rename(words).await,
            "stat" | "allinfo" => self.stat(words).await,
            "du" => self.add_up(words.first().map_or("", String::as_str)).await,
            "df" => self.space().await,
            "info" => {
                say(&self.describe());
                Ok(())
            }
            "lcd" => {
                let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
                let folder = words.first().map_or(home.as_str(), String::as_str);
                std::env::set_current_dir(folder).map_err(|error| format!("{folder}: {error}"))
            }
            "lpwd" => {
                let here = std::env::current_dir().map_err(|error| error.to_string())?;
                say(&here.display().to_string());
                Ok(())
            }
            "lls" => list_local(words.first().map_or(".", String::as_str)),
            "help" | "?" | "h" => {
                help();
                Ok(())
            }
            other => Err(format!(
                "there is no command `{other}`; `help` tells those there are"
            )),
        }
    }

    async fn list(&self, word: &str) -> Outcome {
        let parts = resolve(&self.folder, word)?;
        let path = parts.join("\\");
        let wild = parts
            .last()
            .is_some_and(|part| countersign_client::glob::is_pattern(part));
        let mut entries: Vec<Entry> = if wild {
            let found = expand(&self.share, &parts).await.map_err(text)?;
            found.into_iter().map(|one| one.entry).collect()
        } else if path.is_empty() {
            self.share.list("").await.map_err(text)?
        } else {
            let entry = self.share.entry(&path).await.map_err(text)?;
            if entry.kind == Kind::Folder {
                self.share.list(&path).await.map_err(text)?
            } else {
                vec![entry]
            }
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|entry| {
                let slash = if entry.kind == Kind::Folder { "/" } else { "" };
                vec![
                    attributes(entry.attributes),
                    format!("{:>6}", human(entry.size)),
                    time(entry.modified),
                    format!("{}{slash}", printable(&entry.name)),
                ]
            })
            .collect();
        say(&table(&["ATTR", "  SIZE", "MODIFIED", "NAME"], &rows));
        Ok(())
    }

    async fn go(&mut self, word: &str) -> Outcome {
        let parts = resolve(&self.folder, word)?;
        let entry = self.share.entry(&parts.join("\\")).await.map_err(text)?;
        if entry.kind != Kind::Folder {
            return Err(format!("{word} is not a folder"));
        }
        self.folder = parts;
        Ok(())
    }

    async fn transfer(
        &self,
        direction: Direction,
        items: Vec<Item>,
        recursive: bool,
        resume: bool,
    ) -> Outcome {
        let options = Options {
            recursive,
            existing: if resume {
                Existing::Resume
            } else {
                Existing::Replace
            },
            ..Options::default()
        };
        let observer: Arc<dyn Observer> = Arc::new(Progress::new(false, false));
        let shares = [self.share.clone()];
        let report = copy(&shares, direction, items, &options, observer).await;
        crate::remote::outcome::conclude(&report, "copied")?;
        say(&format!("{} files, {}", report.files, human(report.bytes)));
        Ok(())
    }

    async fn get(&self, words: &[String], recursive: bool, resume: bool) -> Outcome {
        let name = some(words)?.first().ok_or("name a file")?;
        let remote = self.path(name)?;
        let last = remote.rsplit('\\').next().unwrap_or("");
        check_from_remote(last).map_err(|error| error.to_string())?;
        let local = match words.get(1) {
            Some(local) if Path::new(local).is_dir() => Path::new(local).join(last),
            Some(local) => PathBuf::from(local),
            None => PathBuf::from(last),
        };
        let item = Item {
            remote,
            local,
            entry: None,
        };
        self.transfer(Direction::Down, vec![item], recursive, resume)
            .await
    }

    async fn get_many(&self, words: &[String], recursive: bool) -> Outcome {
        let mut items = Vec::new();
        for word in some(words)? {
            let found = expand(&self.share, &resolve(&self.folder, word)?).await;
            let found = found.map_err(text)?;
            if found.is_empty() {
                return Err(format!("{word}: nothing fits"));
            }
            // Without -r only files are meant.
            let files = found
                .into_iter()
                .filter(|one| recursive || one.entry.kind != Kind::Folder);
            for one in files {
                let last = one.path.rsplit('\\').next().unwrap_or("").to_owned();
                check_from_remote(&last).map_err(|error| error.to_string())?;
                items.push(Item {
                    remote: one.path,
                    local: PathBuf::from(last),
                    entry: Some(one.entry),
                });
            }
        }
        self.transfer(Direction::Down, items, recursive, false)
            .await
    }

    fn place_of(&self, local: &Path, name: Option<&str>) -> Result<String, String> {
        match name {
            Some(name) => self.path(name),
            None => {
                let last = local.file_name().ok_or("the path has no name")?;
                let last = to_remote(last).map_err(|error| error.to_string())?;
                self.path(last)
            }
        }
    }

    async fn put(&self, words: &[String], recursive: bool, resume: bool) -> Outcome {
        let local = PathBuf::from(some(words)?.first().ok_or("name a file")?);
        let mut remote = self.place_of(&local, words.get(1).map(String::as_str))?;
        if words.len() > 1
            && let Ok(entry) = self.share.entry(&remote).await
            && entry.kind == Kind::Folder
            && let Some(last) = local.file_name()
        {
            remote = join(&remote, to_remote(last).map_err(|error| error.to_string())?);
        }
        let item = Item {
            remote,
            local,
            entry: None,
        };
        self.transfer(Direction::Up, vec![item], recursive, resume)
            .await
    }

    async fn put_many(&self, words: &[String], recursive: bool) -> Outcome {
        let mut items = Vec::new();
        for word in some(words)? {
            for local in expand_local(word)? {
                if local.is_dir() && !recursive {
                    continue;
                }
                items.push(Item {
                    remote: self.place_of(&local, None)?,
                    local,
                    entry: None,
                });
            }
        }
        self.transfer(Direction::Up, items, recursive, false).await
    }

    async fn show(&self, words: &[String]) -> Outcome {
        use std::io::Write;
        for word in some(words)? {
            let path = self.path(word)?;
            let limit = self.share.whole_size();
            let whole = self.share.read_whole(&path, limit).await.map_err(text)?;
            match whole {
                Whole::Data { data, .. } => {
                    let mut out = std::io::stdout().lock();
                    let _ = out.write_all(&data);
                    let _ = out.flush();
                }
                Whole::Large(_) => return Err(format!("{word} is too long to show: get it")),
                Whole::Folder => return Err(format!("{word} is a folder")),
            }
        }
        Ok(())
    }

    async fn remove(&self, words: &[String], recursive: bool) -> Outcome {
        for word in some(words)? {
            let parts = resolve(&self.folder, word)?;
            if parts.is_empty() {
                return Err("the root of a share cannot be removed".to_owned());
            }
            let found = expand(&self.share, &parts).await.map_err(text)?;
            if found.is_empty() {
                return Err(format!("{word}: nothing fits"));
            }
            for one in found {
                if one.entry.kind != Kind::Folder {
                    let removed = Remote::remove_file(&self.share, &one.path).await;
                    removed.map_err(text)?;
                } else if recursive {
                    let observer: Arc<dyn Observer> = Arc::new(Progress::new(true, false));
                    let report = remove_tree(&self.share, &one.path, JOBS, observer).await;
                    crate::remote::outcome::conclude(&report, "removed")?;
                } else {
                    return Err(format!("{} is a folder: rm -r or rmdir", shown(&one.path)));
                }
            }
        }
        Ok(())
    }

    async fn rename(&self, words: &[String]) -> Outcome {
        let [from, to] = words else {
            return Err("name what is moved, and where to".to_owned());
        };
        let from = self.path(from)?;
        let mut to = self.path(to)?;
        if let Ok(entry) = self.share.entry(&to).await
            && entry.kind == Kind::Folder
            && !countersign_client::glob::same_name(&from, &to)
        {
            to = join(&to, from.rsplit('\\').next().unwrap_or(&from));
        }
        self.share
            .rename_with(&from, &to, false)
            .await
            .map_err(text)
    }

    async fn stat(&self, words: &[String]) -> Outcome {
        use crate::remote::present::{attribute_names, file_time};
        for word in some(words)? {
            let path = self.path(word)?;
            let metadata = self.share.metadata(&path).await.map_err(text)?;
            say(&format!(
                "{}: {} bytes, {}, changed {}, made {}",
                shown(&path),
                metadata.len(),
                attribute_names(metadata.attributes()).join(" "),
                time(file_time(metadata.modified())),
                time(file_time(metadata.created())),
            ));
        }
        Ok(())
    }

    async fn add_up(&self, word: &str) -> Outcome {
        let path = self.path(word)?;
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let failures = walk(&self.share, &path, |walked| {
            for entry in walked
                .entries
                .iter()
                .filter(|entry| entry.kind != Kind::Folder)
            {
                files += 1;
                bytes = bytes.saturating_add(entry.size);
            }
        })
        .await;
        say(&format!("{files} files, {} ({bytes} bytes)", human(bytes)));
        match failures.first() {
            None => Ok(()),
            Some(failure) => Err(format!("{}: {}", failure.path, failure.cause)),
        }
    }

    async fn space(&self) -> Outcome {
        let volume = self.share.volume().await.map_err(text)?;
        let (free, total) = (human(volume.available), human(volume.total));
        say(&format!("{free} of {total} are free"));
        Ok(())
    }
}

fn text(error: countersign_client::Error) -> String {
    error.to_string()
}

fn some(words: &[String]) -> Result<&[String], String> {
    if words.is_empty() {
        return Err("a name is missing".to_owned());
    }
    Ok(words)
}

/// A local name with wildcards in its last part.
fn expand_local(word: &str) -> Result<Vec<PathBuf>, String> {
    use countersign_client::glob::{is_pattern, matches};
    let (folder, last) = match word.rsplit_once('/') {
        Some(("", last)) => ("/", last),
        Some((folder, last)) => (folder, last),
        None => (".", word),
    };
    if !is_pattern(last) {
        return Ok(vec![PathBuf::from(word)]);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| matches(last, &entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    if found.is_empty() {
        return Err(format!("{word}: nothing fits"));
    }
    found.sort();
    Ok(found)
}

fn list_local(folder: &str) -> Outcome {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let slash = if entry.path().is_dir() { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    for name in names {
        say(&printable(&name));
    }
    Ok(())
}

fn help() {
    let rows: Vec<Vec<String>> = VERBS
        .iter()
        .map(|verb| {
            vec![
                format!("{} {}", verb.name, verb.arguments),
                verb.about.to_owned(),
            ]
        })
        .collect();
    say(&table(&["COMMAND", "WHAT IT DOES"], &rows));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_from_the_folder() {
        let here = ["a".to_owned(), "b".to_owned()];
        for (word, path) in [
            ("", "a/b"),
            ("c", "a/b/c"),
            ("../c", "a/c"),
            ("/c", "c"),
            ("\\c\\d", "c/d"),
            ("..", "a"),
            ("/", ""),
        ] {
            assert_eq!(resolve(&here, word).unwrap().join("/"), path, "{word}");
        }
        assert!(resolve(&here, "../../..").is_err());
    }

    #[test]
    fn local_wildcards() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.TXT", "c.bin"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let pattern = format!("{}/*.txt", folder.path().display());
        assert_eq!(expand_local(&pattern).unwrap().len(), 2);
        assert!(expand_local(&format!("{}/x*", folder.path().display())).is_err());
        assert_eq!(expand_local("plain").unwrap(), [PathBuf::from("plain")]);
    }
}
