//! The reference of the configuration file, made of the types that read it.

use std::fmt::Write as _;

use super::reader::{Section, SectionDoc};
use super::schema::Config;

/// `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\nGenerated from the types that read the file: `countersign config reference`.\n\n",
    );
    let document = Config::document();
    out.push_str(&paragraph(&document.text));
    out.push_str("\n\n```toml\n");
    out.push_str(EXAMPLE);
    out.push_str("```\n");
    write_section(&mut out, "Top level", &document);
    out
}

/// A file that shows the usual keys; a test reads it.
pub const EXAMPLE: &str = r#"listen = ["0.0.0.0:445", "[::]:445"]
state = "/var/lib/countersign"

[[share]]
name = "projects"
path = "/srv/projects"
valid-users = ["alice", "@staff"]

[[share]]
name = "archive"
path = "/srv/archive"
read-only = true
encrypt = true

[policy]
profile = "secure"
on-tighten = "end"

[dialects]
min = "3.0"

[logging]
filter = "info"
"#;

fn write_section(out: &mut String, title: &str, section: &SectionDoc) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## {title}\n\n");
    if title != "Top level" {
        let _ = write!(out, "{}\n\n", paragraph(&section.text));
    }
    out.push_str("| key | value | default | |\n|---|---|---|---|\n");
    for key in section.keys.iter().filter(|key| key.section.is_none()) {
        let default = key
            .default
            .as_ref()
            .map_or(String::new(), |text| format!("`{text}`"));
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {} |",
            key.key,
            key.kind,
            paragraph(&key.text)
        );
    }
    for key in &section.keys {
        if let Some((section, repeated)) = &key.section {
            let title = if *repeated {
                format!("[[{}]]", key.key)
            } else {
                format!("[{}]", key.key)
            };
            write_section(out, &format!("`{title}`"), section);
        }
    }
}

fn paragraph(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
