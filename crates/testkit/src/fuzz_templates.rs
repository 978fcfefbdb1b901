//! Oracles of the files other programs write: whatever the bytes, a reader does not
//! panic; what it reads it writes back unchanged, and a value that is set is read again.

use countersign_policy::exchange::{Document, Format, Item};
use countersign_policy::{Setting, Value};

/// Security templates.
pub fn template_inf(bytes: &[u8]) {
    template(Format::Inf, bytes);
}

/// Registration files.
pub fn template_reg(bytes: &[u8]) {
    template(Format::Reg, bytes);
}

/// Registry.pol.
pub fn template_pol(bytes: &[u8]) {
    template(Format::Pol, bytes);
}

/// LGPO's text.
pub fn template_lgpo(bytes: &[u8]) {
    template(Format::Lgpo, bytes);
}

/// Our JSON.
pub fn template_json(bytes: &[u8]) {
    template(Format::Json, bytes);
}

fn template(format: Format, bytes: &[u8]) {
    let _ = Format::detect(bytes);
    let Ok(before) = Document::parse(format, bytes) else {
        return;
    };
    if format != Format::Json {
        assert_eq!(before.emit(), bytes, "what is read is written back");
    }
    for (setting, value) in [
        (Setting::ServerAlways, Value::Enabled),
        (Setting::ClientIfServerAgrees, Value::Disabled),
        (Setting::ClientAlways, Value::NotDefined),
    ] {
        let item = Item::Setting(setting);
        let mut document = before.clone();
        document.set(item, value);
        let contents = document.contents();
        if value == Value::NotDefined {
            assert!(!contents.get(item).is_enabled());
        } else {
            assert_eq!(contents.get(item), value);
        }
        for other in Item::all().filter(|other| *other != item) {
            assert_eq!(contents.get(other), before.contents().get(other));
        }
        let again = Document::parse(format, &document.emit()).expect("what is written reads");
        assert_eq!(again.contents(), contents);
    }
}

/// The corpus of `testdata/templates`, by target.
///
/// # Errors
/// When it cannot be read.
pub fn template_seeds(
    templates: &std::path::Path,
) -> std::io::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut seeds = Vec::new();
    for folder in ["good", "bad"] {
        for entry in std::fs::read_dir(templates.join(folder))? {
            let path = entry?.path();
            let target = match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some("inf") => "template_inf",
                Some("reg") => "template_reg",
                Some("pol") => "template_pol",
                Some("txt") => "template_lgpo",
                Some("json") => "template_json",
                _ => continue,
            };
            seeds.push((target, std::fs::read(path)?));
        }
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::ORACLES;

    /// The corpus, each byte of it changed in turn and cut in turn (long files: some).
    #[test]
    fn the_corpus_and_its_neighbours_hold() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/templates");
        let seeds = template_seeds(&folder).unwrap();
        assert!(seeds.len() > 80, "{}", seeds.len());
        for (target, seed) in seeds {
            let (_, oracle) = ORACLES.iter().find(|(name, _)| *name == target).unwrap();
            oracle(&seed);
            let step = (seed.len() / 60).max(1);
            for at in (0..seed.len()).step_by(step) {
                oracle(&seed[..at]);
                for change in [0x01, 0x80] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    oracle(&changed);
                }
            }
        }
    }
}
