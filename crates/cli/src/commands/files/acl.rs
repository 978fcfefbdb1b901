//! `countersign acl`.

use clap::Args;
use countersign_client::location::Location;
use countersign_client::{AccessMask, SecurityDescriptor, SecurityInfo, Share};
use countersign_wire::dtyp::{Ace, AceFlags, Acl, SdControl, Sid, ace_type};
use serde_json::{Value as Json, json};

use crate::Outcome;
use crate::output::{end_with_reader, say, say_json, table};
use crate::remote::login::ConnectArguments;
use crate::remote::outcome::{Trouble, no_wildcards, or_json, run as run_remote};

#[derive(Debug, Args)]
pub(crate) struct AclArguments {
    /// A file or folder
    #[arg(value_name = "LOCATION")]
    location: Location,
    /// Allow: SID=full, change, read, or a mask like 0x1200A9; a folder's goes to what is
    /// made in it
    #[arg(long, value_name = "SID=RIGHTS", value_parser = parse_grant)]
    grant: Vec<(Sid, AccessMask)>,
    /// Deny, in the same form
    #[arg(long, value_name = "SID=RIGHTS", value_parser = parse_grant)]
    deny: Vec<(Sid, AccessMask)>,
    /// Take out all entries of a SID that are not inherited
    #[arg(long, value_name = "SID", value_parser = parse_sid)]
    revoke: Vec<Sid>,
    /// Set the owner
    #[arg(long, value_name = "SID", value_parser = parse_sid)]
    owner: Option<Sid>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// Rights by the names Explorer has for them.
const RIGHTS: [(&str, u32); 4] = [
    ("full", 0x001F_01FF),
    ("change", 0x0013_01BF),
    ("read", 0x0012_00A9),
    ("write", 0x0010_0116),
];

/// SIDs everybody knows, [MS-DTYP] 2.4.2.4.
const KNOWN: [(&str, &str); 12] = [
    ("S-1-1-0", "Everyone"),
    ("S-1-3-0", "CREATOR OWNER"),
    ("S-1-3-1", "CREATOR GROUP"),
    ("S-1-3-4", "OWNER RIGHTS"),
    ("S-1-5-2", "NETWORK"),
    ("S-1-5-7", "ANONYMOUS LOGON"),
    ("S-1-5-11", "Authenticated Users"),
    ("S-1-5-18", "SYSTEM"),
    ("S-1-5-32-544", "BUILTIN\\Administrators"),
    ("S-1-5-32-545", "BUILTIN\\Users"),
    ("S-1-5-32-546", "BUILTIN\\Guests"),
    ("S-1-22-2-0", "Unix group 0"),
];

fn parse_sid(text: &str) -> Result<Sid, String> {
    let known = KNOWN
        .iter()
        .find(|(_, name)| name.eq_ignore_ascii_case(text));
    Sid::parse(known.map_or(text, |(sid, _)| sid))
        .ok_or_else(|| format!("`{text}` is not a SID (S-1-5-...) or a well-known name"))
}

fn parse_rights(text: &str) -> Result<AccessMask, String> {
    if let Some((_, bits)) = RIGHTS.iter().find(|(name, _)| *name == text) {
        return Ok(AccessMask::from_bits_retain(*bits));
    }
    let digits = text.strip_prefix("0x").unwrap_or("");
    u32::from_str_radix(digits, 16)
        .map(AccessMask::from_bits_retain)
        .map_err(|_| {
            format!("`{text}` is neither full, change, read, write nor a mask like 0x1F01FF")
        })
}

fn parse_grant(text: &str) -> Result<(Sid, AccessMask), String> {
    let (sid, rights) = text
        .rsplit_once('=')
        .ok_or_else(|| "it is SID=RIGHTS".to_owned())?;
    Ok((parse_sid(sid)?, parse_rights(rights)?))
}

impl AclArguments {
    fn changes(&self) -> bool {
        !(self.grant.is_empty() && self.deny.is_empty() && self.revoke.is_empty())
    }

    /// The new entries in the order that counts: denials first, then what is allowed,
    /// then what is inherited ([MS-DTYP] 2.4.5).
    ///
    /// # Errors
    /// When there is nothing to revoke.
    fn change(&self, descriptor: &mut SecurityDescriptor, folder: bool) -> Result<(), String> {
        let inherit = if folder {
            AceFlags::OBJECT_INHERIT | AceFlags::CONTAINER_INHERIT
        } else {
            AceFlags::empty()
        };
        let own = |ace: &Ace| !ace.flags.contains(AceFlags::INHERITED);
        let all = AccessMask::from_bits_retain(0x001F_01FF);
        // No list lets everybody do everything, an empty one nobody anything.
        let mut acl = descriptor.dacl.take().unwrap_or_else(|| Acl {
            aces: vec![Ace::allow(all, Sid::everyone(), inherit)],
            ..Acl::default()
        });
        for sid in &self.revoke {
            let has = |ace: &&Ace| ace.sid() == Some(sid);
            if !acl.aces.iter().any(|ace| own(ace) && has(&ace)) {
                let inherited = if acl.aces.iter().any(|ace| has(&ace)) {
                    ": what it has is inherited, and is revoked at the folder it comes from"
                } else {
                    ""
                };
                return Err(format!("{} has no entry here{inherited}", sid_name(sid)));
            }
        }
        acl.aces.retain(|ace| {
            let revoked = ace.sid().is_some_and(|sid| self.revoke.contains(sid));
            !(revoked && own(ace))
        });
        let denials = self.deny.iter();
        let grants = self.grant.iter();
        let mut new: Vec<Ace> = denials
            .map(|(sid, mask)| Ace::deny(*mask, sid.clone(), inherit))
            .chain(grants.map(|(sid, mask)| Ace::allow(*mask, sid.clone(), inherit)))
            .collect();
        new.append(&mut acl.aces);
        new.sort_by_key(|ace| match (own(ace), ace.kind) {
            (true, ace_type::ACCESS_DENIED) => 0,
            (true, _) => 1,
            (false, _) => 2,
        });
        acl.aces = new;
        descriptor.dacl = Some(acl);
        Ok(())
    }

    async fn work(&self, share: &Share, location: &Location) -> Result<Json, Trouble> {
        let path = location.remote_path();
        let said = |error| Trouble::at(location.to_string(), &error);
        let parts = SecurityInfo::OWNER | SecurityInfo::GROUP | SecurityInfo::DACL;
        if self.changes() {
            let folder = share.metadata(&path).await.map_err(said)?.is_dir();
            let dacl = SecurityInfo::DACL;
            let mut descriptor = share.security(&path, dacl).await.map_err(said)?;
            self.change(&mut descriptor, folder)
                .map_err(|why| Trouble::of(location.to_string(), why))?;
            let set = share.set_security(&path, dacl, &descriptor).await;
            set.map_err(said)?;
        }
        if let Some(owner) = &self.owner {
            let descriptor = SecurityDescriptor {
                owner: Some(owner.clone()),
                ..SecurityDescriptor::default()
            };
            let set = share.set_security(&path, SecurityInfo::OWNER, &descriptor);
            set.await.map_err(said)?;
        }
        let descriptor = share.security(&path, parts).await.map_err(said)?;
        if let Some(what) = self.not_kept(&descriptor) {
            return Err(Trouble::of(
                location.to_string(),
                format!(
                    "the server took the change and did not keep it: {what}; it may know only \
                     the rights of its file system"
                ),
            ));
        }
        if !self.json {
            show(&descriptor);
        }
        Ok(to_json(&descriptor))
    }

    /// What was asked for and is not there. Masks are the server's to round.
    fn not_kept(&self, descriptor: &SecurityDescriptor) -> Option<String> {
        let aces = descriptor.dacl.as_ref().map_or(&[][..], |acl| &acl.aces);
        let has = |sid: &Sid, kind: u8| {
            aces.iter()
                .any(|ace| ace.sid() == Some(sid) && ace.kind == kind)
        };
        let missing = |entries: &[(Sid, AccessMask)], kind: u8, word: &str| {
            let gone = entries.iter().find(|(sid, _)| !has(sid, kind))?;
            Some(format!("{word} {}", sid_name(&gone.0)))
        };
        if let Some(owner) = &self.owner
            && descriptor.owner.as_ref() != Some(owner)
        {
            return Some(format!("owner {}", sid_name(owner)));
        }
        missing(&self.deny, ace_type::ACCESS_DENIED, "deny")
            .or_else(|| missing(&self.grant, ace_type::ACCESS_ALLOWED, "allow"))
    }
}

pub(crate) fn run(arguments: &AclArguments) -> Outcome {
    end_with_reader();
    no_wildcards(&arguments.location);
    let prepared = arguments.connect.prepare(&arguments.location);
    let prepared = or_json(arguments.json, &Json::Null, prepared)?;
    run_remote(
        async {
            let done = async {
                let share = prepared.share().await?;
                arguments.work(&share, &prepared.location).await
            };
            let done = done.await.map_err(String::from);
            let descriptor = or_json(arguments.json, &Json::Null, done)?;
            if arguments.json {
                say_json(&descriptor)?;
            }
            Ok(())
        },
        "",
    )
}

fn sid_name(sid: &Sid) -> String {
    let text = sid.to_string();
    match KNOWN.iter().find(|(known, _)| *known == text) {
        Some((_, name)) => (*name).to_owned(),
        None => text,
    }
}

fn rights_name(mask: AccessMask) -> String {
    match RIGHTS.iter().find(|(_, bits)| *bits == mask.bits()) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("0x{:08X}", mask.bits()),
    }
}

fn ace_kind(ace: &Ace) -> &'static str {
    match ace.kind {
        ace_type::ACCESS_ALLOWED => "allow",
        ace_type::ACCESS_DENIED => "deny",
        ace_type::SYSTEM_AUDIT => "audit",
        _ => "other",
    }
}

fn flag_names(flags: AceFlags) -> Vec<&'static str> {
    [
        (AceFlags::INHERITED, "inherited"),
        (AceFlags::OBJECT_INHERIT, "files"),
        (AceFlags::CONTAINER_INHERIT, "folders"),
        (AceFlags::INHERIT_ONLY, "only-below"),
        (AceFlags::NO_PROPAGATE_INHERIT, "one-level"),
    ]
    .iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| *name)
    .collect()
}

fn to_json(descriptor: &SecurityDescriptor) -> Json {
    let aces = descriptor.dacl.as_ref().map(|acl| {
        acl.aces
            .iter()
            .map(|ace| {
                json!({
                    "type": ace_kind(ace),
                    "sid": ace.sid().map(ToString::to_string),
                    "name": ace.sid().map(sid_name),
                    "mask": ace.mask().map(|mask| format!("0x{:08X}", mask.bits())),
                    "rights": ace.mask().map(rights_name),
                    "flags": flag_names(ace.flags),
                })
            })
            .collect::<Vec<_>>()
    });
    json!({
        "owner": descriptor.owner.as_ref().map(ToString::to_string),
        "group": descriptor.group.as_ref().map(ToString::to_string),
        "protected": descriptor.control.contains(SdControl::DACL_PROTECTED),
        "dacl": aces,
    })
}

fn show(descriptor: &SecurityDescriptor) {
    let name = |sid: Option<&Sid>| sid.map_or_else(|| "-".to_owned(), sid_name);
    say(&format!("owner  {}", name(descriptor.owner.as_ref())));
    say(&format!("group  {}", name(descriptor.group.as_ref())));
    let Some(acl) = &descriptor.dacl else {
        say("no list of rights: everybody may do everything");
        return;
    };
    let rows: Vec<Vec<String>> = acl
        .aces
        .iter()
        .map(|ace| {
            vec![
                ace_kind(ace).to_owned(),
                name(ace.sid()),
                ace.mask().map_or_else(|| "-".to_owned(), rights_name),
                flag_names(ace.flags).join(","),
            ]
        })
        .collect();
    say(&table(&["ENTRY", "WHO", "RIGHTS", "INHERITANCE"], &rows));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        acl: AclArguments,
    }

    #[test]
    fn words_of_rights() {
        assert_eq!(parse_rights("full").unwrap().bits(), 0x001F_01FF);
        assert_eq!(parse_rights("0x1200A9").unwrap().bits(), 0x0012_00A9);
        assert!(parse_rights("some").is_err() && parse_rights("12").is_err());
        let (sid, mask) = parse_grant("everyone=read").unwrap();
        assert_eq!((sid, rights_name(mask).as_str()), (Sid::everyone(), "read"));
        assert!(parse_grant("S-1-1-0").is_err() && parse_grant("me=full").is_err());
    }

    #[test]
    fn denials_stand_first_and_inherited_entries_last() {
        let line = Line::parse_from([
            "x",
            "//h/s/f",
            "--grant",
            "Everyone=read",
            "--deny",
            "S-1-5-7=full",
            "--revoke",
            "S-1-5-32-545",
        ]);
        let inherited = AceFlags::INHERITED;
        let mask = AccessMask::from_bits_retain(1);
        let mut descriptor = SecurityDescriptor::default();
        let acl = Acl {
            aces: vec![
                Ace::allow(mask, Sid::users(), AceFlags::empty()),
                Ace::allow(mask, Sid::users(), inherited),
                Ace::allow(mask, Sid::administrators(), AceFlags::empty()),
            ],
            ..Acl::default()
        };
        descriptor.dacl = Some(acl);
        line.acl.change(&mut descriptor, true).unwrap();
        let got: Vec<(&str, String)> = descriptor
            .dacl
            .unwrap()
            .aces
            .iter()
            .map(|ace| (ace_kind(ace), ace.sid().map(sid_name).unwrap()))
            .collect();
        let expected = [
            ("deny", "ANONYMOUS LOGON"),
            ("allow", "Everyone"),
            ("allow", "BUILTIN\\Administrators"),
            ("allow", "BUILTIN\\Users"),
        ];
        assert_eq!(got, expected.map(|(kind, name)| (kind, name.to_owned())));
    }

    #[test]
    fn what_the_server_did_not_keep_is_told() {
        let line = Line::parse_from(["x", "//h/s/f", "--deny", "S-1-5-7=full"]).acl;
        let mut descriptor = SecurityDescriptor::default();
        assert!(
            line.not_kept(&descriptor)
                .is_some_and(|what| what == "deny ANONYMOUS LOGON")
        );
        line.change(&mut descriptor, false).unwrap();
        assert_eq!(line.not_kept(&descriptor), None);
        let line = Line::parse_from(["x", "//h/s/f", "--owner", "S-1-5-18"]).acl;
        assert_eq!(line.not_kept(&descriptor).as_deref(), Some("owner SYSTEM"));
    }

    #[test]
    fn no_list_is_everybody_and_nothing_is_revoked_in_silence() {
        let line = |args: &[&str]| Line::parse_from([&["x", "//h/s/f"], args].concat()).acl;
        let mut descriptor = SecurityDescriptor::default();
        let deny = line(&["--deny", "S-1-5-7=full"]);
        deny.change(&mut descriptor, false).unwrap();
        let aces = descriptor.dacl.as_ref().unwrap().aces.clone();
        let got: Vec<String> = aces
            .iter()
            .map(|ace| ace.sid().map(sid_name).unwrap())
            .collect();
        assert_eq!(got, ["ANONYMOUS LOGON", "Everyone"]);
        let revoke = line(&["--revoke", "S-1-5-18"]);
        let error = revoke.change(&mut descriptor, false).unwrap_err();
        assert!(error.contains("SYSTEM has no entry"), "{error}");
    }
}
