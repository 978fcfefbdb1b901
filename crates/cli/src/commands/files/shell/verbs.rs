//! The commands of the shell.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_client::location::split_path;
use countersign_client::transfer::{
    Direction, Entry, Existing, Item, JOBS, Kind, Observer, Options, Remote, check_from_remote,
    copy, expand, join, remove_one, remove_tree, to_remote, walk,
};

use countersign_client::{Dialect, Identity, Share};

use super::super::get::all_different;
use crate::Outcome;
use crate::output::{printable, say, table};
use crate::remote::present::{attributes, human, shown, time};
use crate::remote::progress::Progress;

/// A command with what it is told with.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// Other words for it.
    also: &'static [&'static str],
    arguments: &'static str,
    /// Most words it takes.
    most: usize,
    about: &'static str,
}

const ANY: usize = usize::MAX;

const fn verb(
    name: &'static str,
    also: &'static [&'static str],
    arguments: &'static str,
    most: usize,
    about: &'static str,
) -> Verb {
    Verb {
        name,
        also,
        arguments,
        most,
        about,
    }
}

pub(super) const VERBS: &[Verb] = &[
    verb(
        "ls",
        &["dir", "l"],
        "[NAME]",
        1,
        "list a folder, or what fits",
    ),
    verb("cd", &[], "[FOLDER]", 1, "go to a folder"),
    verb("pwd", &[], "", 0, "tell the folder"),
    verb("get", &[], "[-r] NAME [LOCAL]", 2, "copy to here"),
    verb("put", &[], "[-r] LOCAL [NAME]", 2, "copy to the share"),
    verb(
        "mget",
        &[],
        "[-r] NAME...",
        ANY,
        "copy several, wildcards too",
    ),
    verb(
        "mput",
        &[],
        "[-r] LOCAL...",
        ANY,
        "copy several to the share",
    ),
    verb("reget", &[], "[-r] NAME [LOCAL]", 2, "continue a get"),
    verb("reput", &[], "[-r] LOCAL [NAME]", 2, "continue a put"),
    verb("cat", &["more"], "NAME...", ANY, "show files"),
    verb("rm", &["del"], "[-r] NAME...", ANY, "remove, wildcards too"),
    verb("mkdir", &["md"], "NAME...", ANY, "make folders"),
    verb("rmdir", &["rd"], "NAME...", ANY, "remove empty folders"),
    verb("mv", &["rename", "ren"], "NAME NEW", 2, "rename or move"),
    verb(
        "stat",
        &["allinfo"],
        "NAME...",
        ANY,
        "times, size and attributes",
    ),
    verb("du", &[], "[FOLDER]", 1, "add up sizes"),
    verb("df", &[], "", 0, "space of the share"),
    verb("info", &[], "", 0, "what protects the connection"),
    verb("lcd", &[], "[FOLDER]", 1, "go to a local folder"),
    verb("lpwd", &[], "", 0, "tell the local folder"),
    verb("lls", &[], "[FOLDER]", 1, "list a local folder"),
    verb(
        "help",
        &["?", "h"],
        "[COMMAND]",
        1,
        "tell the commands, or one of them",
    ),
    verb("quit", &["exit", "q", "bye"], "", 0, "end"),
];

fn find_verb(word: &str) -> Option<&'static Verb> {
    VERBS
        .iter()
        .find(|verb| verb.name == word || verb.also.contains(&word))
}

/// Options and names of a command: `-r` where it has a meaning, `--` before names that
/// begin with a dash.
fn options<'a>(verb: &Verb, rest: &'a [String]) -> Result<(bool, &'a [String]), String> {
    let mut recursive = false;
    let mut words = rest;
    while let Some((first, more)) = words.split_first() {
        let Some(letters) = first.strip_prefix('-').filter(|text| !text.is_empty()) else {
            break;
        };
        words = more;
        match letters {
            "-" => break,
            "r" | "R" if verb.arguments.starts_with("[-r]") => recursive = true,
            _ => {
                return Err(format!(
                    "`{}` has no option {first}; `--` stands before names that begin with a dash",
                    verb.name
                ));
            }
        }
    }
    if words.len() > verb.most {
        return Err(format!(
            "more words than `{} {}` takes; names with blanks stand in quotation marks",
            verb.name, verb.arguments
        ));
    }
    Ok((recursive, words))
}

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
        let protection = match (info.encrypted, info.signing_algorithm) {
            (Some(cipher), _) => format!("encrypted with {cipher:?}"),
            (None, _) if self.share.is_encrypted() => "encrypted".to_owned(),
            (None, Some(algorithm)) if info.signed => format!("signed with {algorithm}"),
            (None, None) if info.signed => "signed".to_owned(),
            (None, _) => format!("not signed ({})", info.signing_reason),
        };
        let who = match info.identity {
            Identity::User => "a user",
            Identity::Guest => "a guest",
            Identity::Anonymous => "nobody",
        };
        format!(
            "connected to {} as {who} by {}, {}, {protection}",
            printable(&info.server),
            info.mechanism,
            dialect_name(info.dialect),
        )
    }

    fn path(&self, word: &str) -> Result<String, String> {
        Ok(resolve(&self.folder, word)?.join("\\"))
    }

    pub(super) async fn run(&mut self, word: &str, rest: &[String]) -> Outcome {
        let verb = find_verb(word)
            .ok_or_else(|| format!("there is no command `{word}`; `help` tells those there are"))?;
        let (recursive, words) = options(verb, rest)?;
        match verb.name {
            "ls" => self.list(words.first().map_or("", String::as_str)).await,
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
            "cat" => self.show(words).await,
            "rm" => self.remove(words, recursive).await,
            "mkdir" => {
                for word in some(words)? {
                    let path = self.path(word)?;
                    self.share.create_folder(&path).await.map_err(text)?;
                }
                Ok(())
            }
            "rmdir" => {
                for word in some(words)? {
                    let path = self.path(word)?;
                    self.share.remove_folder(&path).await.map_err(text)?;
                }
                Ok(())
            }
            "mv" => self.rename(words).await,
            "stat" => self.stat(words).await,
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
            "help" => help(words.first().map(String::as_str)),
            other => Err(format!("`{other}` is not done here")),
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
        if items.is_empty() {
            return Err("only folders fit: -r copies them".to_owned());
        }
        all_different(Direction::Down, &items)?;
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
        if items.is_empty() {
            return Err("only folders fit: -r copies them".to_owned());
        }
        all_different(Direction::Up, &items)?;
        self.transfer(Direction::Up, items, recursive, false).await
    }

    async fn show(&self, words: &[String]) -> Outcome {
        for word in some(words)? {
            let path = self.path(word)?;
            let shown = super::super::cat::one(&self.share, &path).await;
            shown.map_err(|why| format!("{word}: {why}"))?;
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
                    let removed = remove_one(&self.share, &one.path, one.entry.kind).await;
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn dialect_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Smb1 => "SMB1",
        Dialect::Smb202 => "SMB 2.0.2",
        Dialect::Smb210 => "SMB 2.1",
        Dialect::Smb300 => "SMB 3.0",
        Dialect::Smb302 => "SMB 3.0.2",
        Dialect::Smb311 => "SMB 3.1.1",
    }
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

fn help(word: Option<&str>) -> Outcome {
    if let Some(word) = word {
        let verb = find_verb(word).ok_or_else(|| format!("there is no command `{word}`"))?;
        say(format!("{} {}", verb.name, verb.arguments).trim_end());
        say(&format!("  {}", verb.about));
        if verb.arguments.starts_with("[-r]") {
            say("  -r: folders with their content");
        }
        if !verb.also.is_empty() {
            say(&format!("  also: {}", verb.also.join(", ")));
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = VERBS
        .iter()
        .map(|verb| {
            vec![
                format!("{} {}", verb.name, verb.arguments),
                verb.about.to_owned(),
                verb.also.join(", "),
            ]
        })
        .collect();
    say(&table(&["COMMAND", "WHAT IT DOES", "ALSO"], &rows));
    Ok(())
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
    fn options_and_words_of_a_command() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let (first, rest) = words.split_first().unwrap();
            let (recursive, words) = options(find_verb(first).unwrap(), rest)?;
            Ok::<_, String>((recursive, words.join(" ")))
        };
        assert_eq!(of("get -r a b"), Ok((true, "a b".to_owned())));
        assert_eq!(of("del a -r"), Ok((false, "a -r".to_owned())));
        assert_eq!(of("rm -- -r"), Ok((false, "-r".to_owned())));
        assert_eq!(of("put - x"), Ok((false, "- x".to_owned())));
        for wrong in ["ls -r", "rm -rf a", "get a b c", "pwd x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let mut names: Vec<&str> = VERBS
            .iter()
            .flat_map(|verb| verb.also.iter().chain([&verb.name]))
            .copied()
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "two commands of one name");
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
