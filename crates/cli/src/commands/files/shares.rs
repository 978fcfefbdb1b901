//! `countersign shares`.

use clap::Args;
use countersign_client::ShareKind;
use countersign_client::location::Location;
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{end_with_reader, printable, say, say_json, table};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, misused, or_json, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct SharesArguments {
    /// The host: smb://HOST, //HOST or HOST
    #[arg(value_name = "HOST", value_parser = parse_host)]
    host: Location,
    /// Without the shares for administration (C$, IPC$)
    #[arg(long)]
    plain: bool,
    /// Print JSON: an array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// A host may be named without the slashes.
fn parse_host(text: &str) -> Result<Location, String> {
    let text = if Location::is_one(text) {
        text.to_owned()
    } else {
        format!("//{text}")
    };
    text.parse().map_err(|error| format!("{error}"))
}

pub(crate) fn run(arguments: &SharesArguments) -> Outcome {
    list(
        &arguments.host,
        &arguments.connect,
        arguments.json,
        !arguments.plain,
    )
}

/// Lists the shares of a host.
pub(super) fn list(
    host: &Location,
    connect: &ConnectArguments,
    as_json: bool,
    special: bool,
) -> Outcome {
    end_with_reader();
    if host.share.is_some() {
        misused(&format!("{host} is a share: name the host alone"));
    }
    let prepared = or_json(as_json, &json!([]), connect.prepare(host))?;
    run_remote(
        async {
            let listed = async {
                let connection = prepared.connect().await?;
                let shares = connection.shares().await;
                shares.map_err(|error| Trouble::at(prepared.location.to_string(), &error))
            };
            let listed = listed.await.map_err(String::from);
            let mut shares = or_json(as_json, &json!([]), listed)?;
            shares.retain(|share| special || !share.special);
            shares.sort_by_key(|share| share.name.to_lowercase());
            if as_json {
                let rows: Vec<Json> = shares
                    .iter()
                    .map(|share| {
                        json!({
                            "name": share.name,
                            "type": kind(share.kind),
                            "special": share.special,
                            "comment": share.comment,
                        })
                    })
                    .collect();
                return say_json(&rows);
            }
            let rows: Vec<Vec<String>> = shares
                .iter()
                .map(|share| {
                    vec![
                        printable(&share.name),
                        kind(share.kind).to_owned(),
                        printable(&share.comment),
                    ]
                })
                .collect();
            say(&table(&["SHARE", "TYPE", "COMMENT"], &rows));
            Ok(())
        },
        "",
    )
}

fn kind(kind: ShareKind) -> &'static str {
    match kind {
        ShareKind::Disk => "disk",
        ShareKind::Pipe => "pipe",
        ShareKind::Print => "printer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_slashes() {
        for text in ["files:4450", "//files:4450", "smb://files:4450/"] {
            let host = parse_host(text).unwrap();
            assert_eq!(
                (host.host.as_str(), host.port),
                ("files", Some(4450)),
                "{text}"
            );
        }
        assert_eq!(parse_host("::1").unwrap().host, "::1");
        assert!(parse_host("").is_err());
    }
}
