//! smb.conf of Samba: `server signing` and `client signing`.

use super::{Contents, Item};
use crate::settings::{Setting, Value};

/// What the two settings of a side come to; nothing: neither is defined.
fn word(
    contents: &Contents,
    always: Setting,
    if_agrees: Setting,
    words: [&'static str; 3],
) -> Option<&'static str> {
    let [required, offered, off] = words;
    let said = |setting| contents.get(Item::Setting(setting));
    match (said(always), said(if_agrees)) {
        (Value::Enabled, _) => Some(required),
        (_, Value::Enabled) => Some(offered),
        (Value::NotDefined, Value::NotDefined) => None,
        _ => Some(off),
    }
}

/// Writes a section `[global]`.
pub fn emit(contents: &Contents) -> String {
    let server = word(
        contents,
        Setting::ServerAlways,
        Setting::ServerIfClientAgrees,
        ["mandatory", "auto", "disabled"],
    );
    let client = word(
        contents,
        Setting::ClientAlways,
        Setting::ClientIfServerAgrees,
        ["required", "desired", "disabled"],
    );
    let mut out = String::from("[global]\n");
    match server {
        Some(word) => {
            if word == "disabled" {
                out.push_str(
                    "\t# smbd still signs where a client requires it, and with SMB 2 and 3\n",
                );
            }
            out.push_str(&format!("\tserver signing = {word}\n"));
        }
        None => out.push_str("\t# server signing: not defined\n"),
    }
    match client {
        Some(word) => out.push_str(&format!("\tclient signing = {word}\n")),
        None => out.push_str("\t# client signing: not defined\n"),
    }
    out
}
