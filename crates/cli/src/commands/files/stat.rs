//! `countersign stat`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Entry, Found, Kind};
use countersign_client::{Error, Share};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{end_with_reader, say, say_json};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, Troubles, or_json, run as run_remote};
use crate::remote::present::{
    attribute_names, entry_json, file_time, human, kind_name, shown, time, time_json,
};

#[derive(Debug, Args)]
pub(crate) struct StatArguments {
    /// Files and folders
    #[arg(required = true, value_name = "LOCATION")]
    locations: Vec<Location>,
    /// The volume instead: its label, file system and space
    #[arg(short, long)]
    filesystem: bool,
    /// Print JSON: an array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(crate) fn run(arguments: &StatArguments) -> Outcome {
    end_with_reader();
    let prepared = arguments.connect.prepare_all(&arguments.locations);
    let prepared = or_json(arguments.json, &json!([]), prepared)?;
    run_remote(
        async {
            let mut rows = Vec::new();
            let mut troubles = Troubles::default();
            for prepared in &prepared {
                let Some(share) = troubles.take(prepared.share().await) else {
                    continue;
                };
                let location = &prepared.location;
                if arguments.filesystem {
                    let row = volume(&share).await;
                    let row = row.map_err(|error| Trouble::at(location.to_string(), &error));
                    rows.extend(troubles.take(row));
                    continue;
                }
                for one in troubles.expand(&share, location).await {
                    let row = file(&share, &one).await;
                    let row = row.map_err(|error| Trouble::at(shown(&one.path), &error));
                    rows.extend(troubles.take(row));
                }
            }
            if arguments.json {
                say_json(&rows.iter().map(|(json, _)| json).collect::<Vec<_>>())?;
            } else {
                let texts: Vec<&str> = rows.iter().map(|(_, text)| text.as_str()).collect();
                if !texts.is_empty() {
                    say(&texts.join("\n\n"));
                }
            }
            troubles.end("not everything could be looked at")
        },
        "",
    )
}

async fn file(share: &Share, found: &Found) -> Result<(Json, String), Error> {
    let metadata = match found.entry.kind {
        Kind::Link => share.symlink_metadata(&found.path).await?,
        _ => share.metadata(&found.path).await?,
    };
    let entry = Entry::of(&found.entry.name, &metadata);
    let times = [
        ("created", file_time(metadata.created())),
        ("modified", file_time(metadata.modified())),
        ("changed", file_time(metadata.changed())),
        ("accessed", file_time(metadata.accessed())),
    ];
    let mut object = entry_json(&found.path, &entry);
    if let Some(object) = object.as_object_mut() {
        for (name, at) in times {
            object.insert(name.to_owned(), time_json(at));
        }
        object.insert("allocated".to_owned(), json!(metadata.allocation_size()));
        object.insert("readonly".to_owned(), json!(metadata.is_readonly()));
    }
    let path = if found.path.is_empty() {
        "/".to_owned()
    } else {
        shown(&found.path)
    };
    let mut text = format!(
        "{path}\n  type        {}\n  size        {} ({})\n  allocated   {}\n  attributes  {}",
        kind_name(entry.kind),
        metadata.len(),
        human(metadata.len()),
        metadata.allocation_size(),
        attribute_names(metadata.attributes()).join(", "),
    );
    for (name, at) in times {
        text.push_str(&format!("\n  {name:<11} {}", time(at)));
    }
    Ok((object, text))
}

async fn volume(share: &Share) -> Result<(Json, String), Error> {
    let volume = share.volume().await?;
    let json = json!({
        "share": share.name(),
        "label": volume.label,
        "serial": format!("{:08X}", volume.serial),
        "file_system": volume.file_system,
        "total": volume.total,
        "free": volume.free,
        "available": volume.available,
        "unit": volume.unit,
        "longest_name": volume.max_component,
    });
    let text = format!(
        "{}\n  label       {}\n  serial      {:08X}\n  type        {}\n  total       {}\n  \
         free        {}\n  available   {}\n  unit        {}",
        share.name(),
        crate::output::printable(&volume.label),
        volume.serial,
        crate::output::printable(&volume.file_system),
        human(volume.total),
        human(volume.free),
        human(volume.available),
        volume.unit,
    );
    Ok((json, text))
}
