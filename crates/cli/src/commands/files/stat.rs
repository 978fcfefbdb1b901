//! `countersign stat`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::transfer::{Entry, Found, expand};
use countersign_client::{Error, Share};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{complain, say, say_json};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{of_path, run as run_remote};
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
    let prepared = arguments.connect.prepare_all(&arguments.locations)?;
    run_remote(
        async {
            let mut rows = Vec::new();
            let mut failed = false;
            for prepared in prepared {
                let share = prepared.share().await?;
                let location = &prepared.location;
                if arguments.filesystem {
                    match volume(&share).await {
                        Ok(row) => rows.push(row),
                        Err(error) => return Err(of_path(&location.to_string(), &error)),
                    }
                    continue;
                }
                match expand(&share, &location.path).await {
                    Ok(found) if found.is_empty() => {
                        complain(&format!("{location}: nothing fits"));
                        failed = true;
                    }
                    Ok(found) => {
                        for one in found {
                            match file(&share, &one).await {
                                Ok(row) => rows.push(row),
                                Err(error) => {
                                    complain(&of_path(&shown(&one.path), &error));
                                    failed = true;
                                }
                            }
                        }
                    }
                    Err(error) => {
                        complain(&of_path(&location.to_string(), &error));
                        failed = true;
                    }
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
            if failed {
                return Err("not everything could be looked at".to_owned());
            }
            Ok(())
        },
        "",
    )
}

async fn file(share: &Share, found: &Found) -> Result<(Json, String), Error> {
    let metadata = share.metadata(&found.path).await?;
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
