//! The whole table: every client against every server, in both protocol families.

use serde::Serialize;

use crate::explain::{Explanation, Meeting, Outcome, client_of, explain};
use crate::facts::{Family, Identity};
use crate::layers::Effective;
use crate::posture::Posture;
use crate::settings::{Setting, Settings, Value};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The client.
    pub client: &'static str,
    /// The server.
    pub server: &'static str,
    /// What comes out.
    pub outcome: Outcome,
    /// Why, a code of `docs/reasons.md`.
    pub reason: &'static str,
}

/// A table: clients down, servers across.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The family, `smb1` or `smb2`.
    pub family: &'static str,
    /// Who logs on.
    pub identity: &'static str,
    /// The clients.
    pub clients: Vec<&'static str>,
    /// The servers.
    pub servers: Vec<&'static str>,
    /// Which of the servers this one is.
    pub here: Option<&'static str>,
    /// The cells, client by client.
    pub cells: Vec<Cell>,
}

/// The settings that make a posture, and whether off means Declined.
const fn posture(posture: Posture) -> (Value, Value, bool) {
    match posture {
        Posture::Required => (Value::Enabled, Value::Enabled, false),
        Posture::Enabled => (Value::Disabled, Value::Enabled, false),
        Posture::Declined => (Value::Disabled, Value::Disabled, true),
        Posture::Disabled => (Value::Disabled, Value::Disabled, false),
    }
}

fn server_of((always, if_agrees, declined): (Value, Value, bool)) -> Effective {
    let settings = Settings::default()
        .with(Setting::ServerAlways, always)
        .with(Setting::ServerIfClientAgrees, if_agrees);
    Effective::of(settings).with_declined(declined)
}

/// Strongest first. Declined is MS-SMB's; Windows' settings cannot say it.
const SMB1: [Posture; 4] = [
    Posture::Required,
    Posture::Enabled,
    Posture::Declined,
    Posture::Disabled,
];

const SMB2: [(&str, Posture); 2] = [
    ("required", Posture::Required),
    ("not required", Posture::Enabled),
];

impl Table {
    fn new(
        family: Family,
        identity: Identity,
        sides: &[(&'static str, Posture)],
        here: Option<&'static str>,
    ) -> Table {
        let mut cells = Vec::new();
        for (client, of_client) in sides {
            let (always, if_agrees, declined) = posture(*of_client);
            let own = client_of(always, if_agrees, declined);
            for (server, of_server) in sides {
                let Explanation {
                    outcome, reason, ..
                } = explain(&Meeting {
                    server: &server_of(posture(*of_server)),
                    client: &own,
                    family,
                    identity,
                    exception: None,
                    share: None,
                });
                cells.push(Cell {
                    client,
                    server,
                    outcome,
                    reason: reason.code(),
                });
            }
        }
        let names: Vec<&'static str> = sides.iter().map(|(name, _)| *name).collect();
        Table {
            family: if family == Family::Smb1 {
                "smb1"
            } else {
                "smb2"
            },
            identity: match identity {
                Identity::User => "user",
                Identity::Guest => "guest",
                Identity::Anonymous => "anonymous",
            },
            clients: names.clone(),
            servers: names,
            here,
            cells,
        }
    }

    /// The cell of a pair.
    pub fn get(&self, client: &str, server: &str) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.client == client && cell.server == server)
    }

    /// What stands over it.
    pub fn title(&self) -> String {
        let family = match self.family {
            "smb1" => "SMB1",
            _ => "SMB 2 and 3",
        };
        match self.identity {
            "user" => family.to_owned(),
            "guest" => format!("{family}, guests and null sessions"),
            other => format!("{family}, {other}"),
        }
    }
}

/// The tables: both families, users and guests (null sessions are as guests). `here`:
/// the policy of this server, to be marked.
pub fn matrix(here: Option<&Effective>) -> Vec<Table> {
    let smb1: Vec<(&str, Posture)> = SMB1.iter().map(|one| (one.name(), *one)).collect();
    let here1 = here.map(|policy| policy.server_posture().name());
    let here2 = here.map(|policy| {
        if policy.server_requires() {
            "required"
        } else {
            "not required"
        }
    });
    let mut tables = Vec::new();
    for identity in [Identity::User, Identity::Guest] {
        tables.push(Table::new(Family::Smb1, identity, &smb1, here1));
        tables.push(Table::new(Family::Smb311, identity, &SMB2, here2));
    }
    tables
}

/// The tables as text.
pub fn text(tables: &[Table]) -> String {
    let mut out = String::new();
    for table in tables {
        let mark = |server: &str| {
            if table.here == Some(server) {
                format!("{server} *")
            } else {
                server.to_owned()
            }
        };
        let mut rows = vec![
            std::iter::once("client \\ server".to_owned())
                .chain(table.servers.iter().map(|server| mark(server)))
                .collect::<Vec<_>>(),
        ];
        for client in &table.clients {
            let cells = table
                .servers
                .iter()
                .filter_map(|server| table.get(client, server))
                .map(|cell| cell.outcome.to_string());
            rows.push(std::iter::once((*client).to_owned()).chain(cells).collect());
        }
        out.push_str(&table.title());
        out.push('\n');
        for row in rows {
            let line: Vec<String> = row.iter().map(|cell| format!("{cell:<17}")).collect();
            out.push_str(line.concat().trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    if tables.iter().any(|table| table.here.is_some()) {
        out.push_str("* this server\n");
    }
    out
}

const CELL: (usize, usize) = (132, 40);
const LEFT: usize = 150;
const TOP: usize = 24;

/// The tables as a picture.
pub fn svg(tables: &[Table]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    let mut width = 0;
    for table in tables {
        y += 26;
        body.push_str(&label(16, y, "start", "title", &table.title()));
        y += 30;
        body.push_str(&label(
            16,
            y,
            "start",
            "quiet",
            "client \u{2193}  server \u{2192}",
        ));
        for (column, server) in table.servers.iter().enumerate() {
            let x = LEFT + column * CELL.0 + CELL.0 / 2;
            if table.here == Some(*server) {
                body.push_str(&label(x, y, "middle", "here", server));
                body.push_str(&label(x, y + 16, "middle", "quiet", "this server"));
            } else {
                body.push_str(&label(x, y, "middle", "head", server));
            }
        }
        y += 24;
        for client in &table.clients {
            body.push_str(&label(16, y + 25, "start", "head", client));
            for (column, server) in table.servers.iter().enumerate() {
                let Some(cell) = table.get(client, server) else {
                    continue;
                };
                let x = LEFT + column * CELL.0;
                body.push_str(&format!(
                    "<g><title>{}</title><rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\"/>",
                    cell.reason,
                    cell.outcome,
                    x + 3,
                    y + 2,
                    CELL.0 - 6,
                    CELL.1 - 4
                ));
                body.push_str(&label(
                    x + CELL.0 / 2,
                    y + 25,
                    "middle",
                    "cell",
                    cell.outcome.name(),
                ));
                body.push_str("</g>\n");
            }
            y += CELL.1;
        }
        width = width.max(LEFT + table.servers.len() * CELL.0 + 16);
    }
    let height = y + TOP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"Signing, by what client and server require\">\n<style>text{{font:14px system-ui,sans-serif;fill:#1b1f24}}.title{{font-weight:600;font-size:17px}}.head{{fill:#444c56}}.here{{font-weight:600}}.quiet{{fill:#6b7480;font-size:12px}}.cell{{font-weight:600}}.signed{{fill:#b9e3c6}}.unsigned{{fill:#f6dfa4}}.refused{{fill:#f3bcb4}}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn label(x: usize, y: usize, anchor: &str, class: &str, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>")
}
