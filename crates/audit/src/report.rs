//! Reports: peers by what they can do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::database::Losses;
use crate::printable;
use crate::record::{Counts, DIALECTS, Outcome, Row};
use crate::time::rfc3339;

/// How a peer's traffic is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// All sessions encrypted all requests.
    Encrypted,
    /// All requests signed or encrypted.
    Signed,
    /// Some sessions had requests in clear, some not.
    Sometimes,
    /// In clear.
    Unsigned,
    /// It was turned away.
    Refused,
}

impl Protection {
    /// All, in the order of the chart.
    pub const ALL: [Protection; 5] = [
        Protection::Encrypted,
        Protection::Signed,
        Protection::Sometimes,
        Protection::Unsigned,
        Protection::Refused,
    ];

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Protection::Encrypted => "encrypted",
            Protection::Signed => "signed",
            Protection::Sometimes => "sometimes",
            Protection::Unsigned => "unsigned",
            Protection::Refused => "refused",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Protection::Encrypted => "#1b6e53",
            Protection::Signed => "#4ca64c",
            Protection::Sometimes => "#e0a030",
            Protection::Unsigned => "#c8402e",
            Protection::Refused => "#8a8a8a",
        }
    }
}

/// A peer: address, machine, account and dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Address.
    pub address: String,
    /// Name its machine gave itself.
    pub machine: String,
    /// Account.
    pub user: String,
    /// `user`, `guest` or `anonymous`.
    pub identity: String,
    /// Dialect spoken; empty: none.
    pub dialect: String,
    /// Highest dialect offered.
    pub offered: String,
    /// How it is protected.
    pub protection: Protection,
    /// It says it can sign (SMB 2 and 3 always can).
    pub can_sign: bool,
    /// It insists on signing.
    pub insists: bool,
    /// Algorithm that signs.
    pub algorithm: String,
    /// Cipher agreed.
    pub cipher: String,
    /// How it proves who it is.
    pub authentication: String,
    /// Codes of what became of it, each once.
    pub reasons: Vec<String>,
    /// Exceptions it was let in by.
    pub exceptions: Vec<String>,
    /// First seen in the span, seconds since 1970.
    pub first_seen: u64,
    /// Last seen.
    pub last_seen: u64,
    /// How much.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// From, seconds since 1970.
    pub since: u64,
    /// To.
    pub until: u64,
    /// Peers, the last seen first.
    pub peers: Vec<Peer>,
    /// Number of peers by protection.
    pub totals: BTreeMap<&'static str, usize>,
    /// What should have been recorded in the span and was not.
    pub lost: Losses,
}

/// `None`: no session of it has ended yet, and nothing is agreed.
fn protection(row: &Row) -> Option<Protection> {
    let counts = &row.counts;
    let some = counts.signed + counts.encrypted > 0;
    Some(match (row.way.outcome, row.way.signing_required) {
        (Outcome::Refused, _) => Protection::Refused,
        _ if counts.clear > 0 && some => Protection::Sometimes,
        _ if counts.clear > 0 => Protection::Unsigned,
        _ if counts.encrypted > 0 && counts.signed == 0 => Protection::Encrypted,
        (_, true) => Protection::Signed,
        _ if some => Protection::Signed,
        _ => return None,
    })
}

fn together(a: Protection, b: Protection) -> Protection {
    match (a, b) {
        (a, b) if a == b => a,
        (Protection::Signed, Protection::Encrypted)
        | (Protection::Encrypted, Protection::Signed) => Protection::Signed,
        _ => Protection::Sometimes,
    }
}

impl Report {
    /// Peers of these rows.
    pub fn of(rows: &[Row], since: u64, until: u64) -> Report {
        let mut peers: BTreeMap<[&str; 5], Peer> = BTreeMap::new();
        let mut known: Vec<([&str; 5], Option<Protection>)> = Vec::new();
        let addresses: Vec<String> = rows.iter().map(|row| row.way.address.to_string()).collect();
        for (row, address) in rows.iter().zip(&addresses) {
            let way = &row.way;
            let key = [
                address.as_str(),
                &way.machine,
                &way.user,
                &way.dialect,
                way.outcome.name(),
            ];
            let one = protection(row);
            let peer = peers.entry(key).or_insert_with(|| Peer {
                address: address.clone(),
                machine: way.machine.clone(),
                user: way.user.clone(),
                identity: way.identity.clone(),
                dialect: way.dialect.clone(),
                offered: way.offered.clone(),
                protection: one.unwrap_or(Protection::Unsigned),
                can_sign: false,
                insists: false,
                algorithm: way.algorithm.clone(),
                cipher: way.cipher.clone(),
                authentication: way.authentication.clone(),
                reasons: Vec::new(),
                exceptions: Vec::new(),
                first_seen: row.first_seen,
                last_seen: 0,
                counts: Counts::default(),
            });
            known.push((key, one));
            peer.can_sign |= way.can_sign || (way.dialect != "smb1" && !way.dialect.is_empty());
            peer.insists |= way.insists;
            peer.first_seen = peer.first_seen.min(row.first_seen);
            peer.last_seen = peer.last_seen.max(row.last_seen);
            peer.counts.add(&row.counts);
            if !peer.reasons.contains(&way.reason) {
                peer.reasons.push(way.reason.clone());
            }
            if !way.exception.is_empty() && !peer.exceptions.contains(&way.exception) {
                peer.exceptions.push(way.exception.clone());
            }
        }
        let mut seen: BTreeMap<[&str; 5], Protection> = BTreeMap::new();
        for (key, one) in known {
            let Some(one) = one else { continue };
            seen.entry(key)
                .and_modify(|sum| *sum = together(*sum, one))
                .or_insert(one);
        }
        for (key, one) in seen {
            if let Some(peer) = peers.get_mut(&key) {
                peer.protection = one;
            }
        }
        let mut peers: Vec<Peer> = peers.into_values().collect();
        peers.sort_by_key(|peer| std::cmp::Reverse(peer.last_seen));
        let mut totals: BTreeMap<&'static str, usize> = BTreeMap::new();
        for one in Protection::ALL {
            totals.insert(one.name(), 0);
        }
        for peer in &peers {
            *totals.entry(peer.protection.name()).or_default() += 1;
        }
        Report {
            since,
            until,
            peers,
            totals,
            lost: Losses::default(),
        }
    }

    /// The same with what was lost.
    #[must_use]
    pub fn with_losses(mut self, lost: Losses) -> Report {
        self.lost = lost;
        self
    }

    /// A sentence on what was lost; nothing: all is there.
    pub fn lost_in_words(&self) -> Option<String> {
        self.lost.any().then(|| {
            format!(
                "Not complete: {} notes did not fit into the queue, {} could not be written.",
                self.lost.dropped, self.lost.failed
            )
        })
    }

    const PROTECTION: usize = 4;
    const HEAD: [&'static str; 12] = [
        "address",
        "machine",
        "user",
        "dialect",
        "protection",
        "algorithm",
        "cipher",
        "authentication",
        "reason",
        "connections",
        "bytes",
        "last seen",
    ];

    fn cells(peer: &Peer) -> [String; 12] {
        let or = |text: &str, otherwise: &str| {
            if text.is_empty() {
                otherwise.to_owned()
            } else {
                printable(text)
            }
        };
        [
            peer.address.clone(),
            or(&peer.machine, "-"),
            or(
                &peer.user,
                if peer.dialect.is_empty() {
                    "-"
                } else {
                    &peer.identity
                },
            ),
            or(&peer.dialect, "-"),
            peer.protection.name().to_owned(),
            or(&peer.algorithm, "-"),
            or(&peer.cipher, "-"),
            peer.authentication.clone(),
            peer.reasons.join(" "),
            peer.counts.connections.to_string(),
            peer.counts.bytes().to_string(),
            rfc3339(peer.last_seen),
        ]
    }

    /// Head and rows for a table.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        (
            Self::HEAD.iter().map(|word| word.to_uppercase()).collect(),
            self.peers
                .iter()
                .map(|peer| Self::cells(peer).to_vec())
                .collect(),
        )
    }

    /// RFC 4180, with a head.
    pub fn csv(&self) -> String {
        let mut out = String::new();
        let head = Self::HEAD.map(|word| word.replace(' ', "_"));
        for cells in std::iter::once(head).chain(self.peers.iter().map(Self::cells)) {
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            out.push_str(&cells.join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// A page that stands alone.
    pub fn html(&self) -> String {
        let mut rows = String::new();
        for peer in &self.peers {
            rows.push_str("<tr>");
            for (at, cell) in Self::cells(peer).into_iter().enumerate() {
                let class = if at == Self::PROTECTION {
                    format!(" class=\"{}\"", peer.protection.name())
                } else {
                    String::new()
                };
                // Writing to a String cannot fail.
                let _ = write!(rows, "<td{class}>{}</td>", html_text(&cell));
            }
            rows.push_str("</tr>\n");
        }
        let head: String = Self::HEAD
            .iter()
            .map(|word| format!("<th>{word}</th>"))
            .collect();
        let styles: String = Protection::ALL
            .iter()
            .map(|one| format!(".{}{{color:{};font-weight:600}}", one.name(), one.colour()))
            .collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>SMB peers</title>\n<style>body{{font:14px/1.4 system-ui,sans-serif;margin:2em;\
             color:#222}}table{{border-collapse:collapse}}th,td{{padding:.25em .7em;\
             border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}}\
             text{{font:13px system-ui,sans-serif}}{styles}</style></head><body>\n\
             <h1>SMB peers</h1>\n<p>Seen from {} to {}: {} peers.{}</p>\n{}\n\
             <table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>\n\
             </body></html>\n",
            rfc3339(self.since),
            rfc3339(self.until),
            self.peers.len(),
            self.lost_in_words()
                .map_or_else(String::new, |words| format!(" {words}")),
            self.chart()
        )
    }

    /// A bar for each dialect, as long as it has peers, in parts by protection.
    fn chart(&self) -> String {
        let mut bars: Vec<(&str, [usize; 5])> = Vec::new();
        for dialect in DIALECTS.iter().copied().rev().chain([""]) {
            let mut parts = [0; 5];
            for peer in self.peers.iter().filter(|peer| peer.dialect == dialect) {
                for (one, part) in Protection::ALL.iter().zip(parts.iter_mut()) {
                    *part += usize::from(*one == peer.protection);
                }
            }
            if parts.iter().sum::<usize>() > 0 {
                bars.push((dialect, parts));
            }
        }
        let most = bars
            .iter()
            .map(|(_, parts)| parts.iter().sum::<usize>())
            .max()
            .unwrap_or(1)
            .max(1);
        let height = 30 * bars.len() + 40;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" \
             role=\"img\" aria-label=\"Peers by dialect and protection\">\n"
        );
        for (at, (dialect, parts)) in bars.iter().enumerate() {
            let y = 30 * at + 6;
            let name = match *dialect {
                "" => "none agreed".to_owned(),
                "smb1" => "SMB1".to_owned(),
                other => format!("SMB {other}"),
            };
            let _ = writeln!(out, "<text x=\"0\" y=\"{}\">{name}</text>", y + 15);
            let mut x = 100;
            for (one, part) in Protection::ALL.iter().zip(parts) {
                let width = part * 560 / most;
                if *part > 0 {
                    let _ = writeln!(
                        out,
                        "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"20\" fill=\"{}\">\
                         <title>{name}, {}: {part}</title></rect>",
                        width.max(2),
                        one.colour(),
                        one.name()
                    );
                }
                x += width.max(usize::from(*part > 0) * 2);
            }
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\">{}</text>",
                x + 6,
                y + 15,
                parts.iter().sum::<usize>()
            );
        }
        let mut x = 100;
        for one in Protection::ALL {
            let y = height - 24;
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{}\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                one.colour(),
                x + 17,
                y + 11,
                one.name()
            );
            x += 115;
        }
        out.push_str("</svg>");
        out
    }
}

fn html_text(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A cell that begins like a formula would be one in a spreadsheet, also behind spaces,
/// and also where the program splits lines at other characters than commas.
fn csv_cell(text: &str) -> String {
    let formula = |c: char| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '\u{FF1D}' | '\u{FF0B}' | '\u{FF0D}' | '\u{FF20}'
        )
    };
    let text = if text.len() > 1 && text.trim_start().starts_with(formula) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', ';', '\t', '\r', '\n', '|']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
