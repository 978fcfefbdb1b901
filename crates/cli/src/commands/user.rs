//! `countersign user`.

use clap::Subcommand;
use countersign_auth::NtHash;
use countersign_server::users;
use serde_json::json;

use crate::Outcome;
use crate::arguments::Place;
use crate::output::{say, say_json, table};
use crate::password::PasswordSource;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; asks for the password
    Add {
        /// Account name
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        /// Group; may be repeated. Members of `Administrators` administer
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a user
    Remove {
        /// Account name
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// List the users
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a user's password; asks for it
    Passwd {
        /// Account name
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: Place,
    },
}

pub(crate) fn run(command: UserCommand) -> Outcome {
    let failed = |error: users::UsersError| error.to_string();
    match command {
        UserCommand::Add {
            name,
            password,
            groups,
            place,
        } => {
            let file = file(&place)?;
            if !countersign_auth::users::is_valid_name(&name) {
                return Err(format!("`{name}` cannot be the name of an account"));
            }
            let hash = NtHash::from_password(&password.read(&name)?);
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            users::change(&file, |users| users.add(&name, hash, &groups).map(|_| ()))
                .map_err(failed)?;
            say(&format!("added {name}"));
        }
        UserCommand::Remove { name, place } => {
            users::change(&file(&place)?, |users| users.remove(&name).map(|_| ()))
                .map_err(failed)?;
            say(&format!("removed {name}"));
        }
        UserCommand::List { place, json } => {
            let users = users::load(&file(&place)?).map_err(failed)?;
            if json {
                let all: Vec<_> = users
                    .users()
                    .map(|user| {
                        json!({
                            "name": user.name,
                            "rid": user.rid,
                            "groups": user.groups,
                            "disabled": user.disabled,
                            "administrator": user.administrator,
                            "full-name": user.full_name,
                        })
                    })
                    .collect();
                return say_json(&json!({ "users": all }));
            }
            let rows: Vec<Vec<String>> = users
                .users()
                .map(|user| {
                    vec![
                        user.name.clone(),
                        user.rid.to_string(),
                        if user.disabled { "disabled" } else { "enabled" }.to_owned(),
                        user.groups.join(","),
                    ]
                })
                .collect();
            say(&table(&["NAME", "RID", "STATE", "GROUPS"], &rows));
        }
        UserCommand::Passwd {
            name,
            password,
            place,
        } => {
            let file = file(&place)?;
            let known = users::load(&file).map_err(failed)?;
            if countersign_auth::UserDirectory::find(&known, &name).is_none() {
                return Err(format!("{}: there is no user {name:?}", file.display()));
            }
            let hash = NtHash::from_password(&password.read(&name)?);
            users::change(&file, |users| users.set_hash(&name, hash)).map_err(failed)?;
            say(&format!("changed the password of {name}"));
        }
    }
    Ok(())
}

/// The user file; its folder exists afterwards.
fn file(place: &Place) -> Result<std::path::PathBuf, String> {
    let (state, config) = place.state()?;
    state.create().map_err(|error| error.to_string())?;
    Ok(state.file(&config.user_file))
}
