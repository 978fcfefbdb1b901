//! gPCFileSysPath: a path that the directory names is not used as it stands.

use std::fmt;

/// Most names in one path.
const DEEPEST: usize = 16;
/// Longest path.
const LONGEST: usize = 1024;

/// A place in SYSVOL: the names behind `\\HOST\sysvol`. The host of a gPCFileSysPath is
/// the domain; there is no Kerberos service of that name, so the controller stands in
/// for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysvolPath {
    names: Vec<String>,
}

impl SysvolPath {
    /// Of a gPCFileSysPath of an object of the domain `domain`:
    /// `\\DOMAIN\sysvol\DOMAIN\Policies\{GUID}`.
    ///
    /// # Errors
    /// What is wrong: another share, a name such as `..`, too long.
    pub fn parse(text: &str, domain: &str) -> Result<SysvolPath, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let inner = text
            .strip_prefix(r"\\")
            .ok_or(r"it does not begin with \\")?;
        let mut names = inner.trim_end_matches('\\').split('\\').map(str::to_owned);
        let host = names.next().unwrap_or_default();
        if host.is_empty() {
            return Err("it has no host".to_owned());
        }
        let share = names.next().unwrap_or_default();
        if !share.eq_ignore_ascii_case("sysvol") {
            return Err(format!("its share is `{share}`, not sysvol"));
        }
        let names: Vec<String> = names.collect();
        if names.is_empty() || names.len() > DEEPEST {
            return Err(format!("it has {} names behind the share", names.len()));
        }
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            return Err(format!("`{bad}` is not the name of a folder"));
        }
        let own = names
            .first()
            .is_some_and(|name| name.eq_ignore_ascii_case(domain));
        if !own {
            return Err(format!("it does not lead into the folder of {domain}"));
        }
        Ok(SysvolPath { names })
    }

    /// A file below it.
    #[must_use]
    pub fn file(&self, names: &[&str]) -> SysvolPath {
        let mut all = self.names.clone();
        all.extend(names.iter().map(|name| (*name).to_owned()));
        SysvolPath { names: all }
    }

    /// The names, from the share's root.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Display for SysvolPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join("\\"))
    }
}

/// A name that leads neither elsewhere nor to a stream or a wildcard.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.ends_with(['.', ' '])
        && !name
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_sysvol() {
        let good =
            r"\\lab.example\SysVol\LAB.example\Policies\{31B2F340-016D-11D2-945F-00C04FB984F9}";
        let path = SysvolPath::parse(good, "lab.example").unwrap();
        assert_eq!(path.names()[0], "LAB.example");
        assert!(path.file(&["gpt.ini"]).to_string().ends_with(r"9}\gpt.ini"));
        for bad in [
            "",
            "lab.example",
            r"\\lab.example",
            r"\\\sysvol\lab.example\x",
            r"\\lab.example\c$\lab.example\x",
            r"\\lab.example\sysvol",
            r"\\lab.example\sysvol\other.example\x",
            r"\\lab.example\sysvol\lab.example\..\..\x",
            r"\\lab.example\sysvol\lab.example\\x",
            r"\\lab.example\sysvol\lab.example\a/b",
            r"\\lab.example\sysvol\lab.example\a:b",
            r"\\lab.example\sysvol\lab.example\a*",
            r"\\lab.example\sysvol\lab.example\ \x",
            "\\\\lab.example\\sysvol\\lab.example\\a\0b",
        ] {
            assert!(SysvolPath::parse(bad, "lab.example").is_err(), "{bad}");
        }
        let deep = format!(r"\\h\sysvol\lab.example{}", r"\a".repeat(20));
        assert!(SysvolPath::parse(&deep, "lab.example").is_err());
    }
}
