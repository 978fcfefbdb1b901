//! From entries of the directory to what policy decides about.

use countersign_policy::group_policy::{
    AccessEntry, Dacl, Decision, GptVersion, PolicyObject, WmiFilter,
};
use countersign_wire::dtyp::{AceBody, AceFlags, SdControl, SecurityDescriptor, Sid, ace_type};

use crate::error::Error;
use crate::ldap::Entry;

/// The attributes of a Group Policy object that are asked for, [MS-GPOL] 2.2.4.
pub(super) const ATTRIBUTES: &[&str] = &[
    "nTSecurityDescriptor",
    "cn",
    "displayName",
    "gPCFileSysPath",
    "versionNumber",
    "gPCMachineExtensionNames",
    "gPCFunctionalityVersion",
    "flags",
    "gPCWQLFilter",
];

/// An object as the directory has it; its WMI filter is not looked up yet.
pub(super) fn object(entry: &Entry) -> Result<PolicyObject, Error> {
    let doing = "reading a Group Policy object";
    let wrong = |what: String| Error::peer(doing, format!("{}: {what}", entry.dn));
    let dn = entry
        .dn
        .parse()
        .map_err(|error| wrong(format!("{error}")))?;
    let number = |attribute: &str| match entry.text(attribute) {
        Some(text) => match text.trim().parse::<i64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong(format!("{attribute} is not a number"))),
        },
        None => Ok(None),
    };
    let guid = entry.text("cn").unwrap_or_default().to_owned();
    let dacl = match entry.value("nTSecurityDescriptor") {
        Some(bytes) => Some(dacl(bytes).map_err(wrong)?),
        None => None,
    };
    // The directory's integers have a sign; the version has none.
    let [a, b, c, d, ..] = number("versionNumber")?.unwrap_or(0).to_le_bytes();
    let wmi = entry
        .text("gPCWQLFilter")
        .filter(|text| !text.trim().is_empty())
        .map(|text| WmiFilter {
            text: text.to_owned(),
            query: None,
        });
    Ok(PolicyObject {
        dn,
        name: entry.text("displayName").unwrap_or(&guid).to_owned(),
        guid,
        path: entry.text("gPCFileSysPath").map(str::to_owned),
        version: GptVersion(u32::from_le_bytes([a, b, c, d])),
        extensions: entry
            .text("gPCMachineExtensionNames")
            .unwrap_or_default()
            .to_owned(),
        functionality: number("gPCFunctionalityVersion")?,
        flags: number("flags")?.unwrap_or(0),
        wmi,
        dacl,
    })
}

fn dacl(bytes: &[u8]) -> Result<Dacl, String> {
    let descriptor = SecurityDescriptor::decode(bytes).map_err(|error| error.to_string())?;
    let Some(acl) = descriptor.dacl else {
        return if descriptor.control.contains(SdControl::DACL_PRESENT) {
            Ok(Dacl::Null)
        } else {
            Err("its security descriptor has no DACL".to_owned())
        };
    };
    let entries = acl.aces.into_iter().filter_map(|ace| {
        use ace_type as t;
        let (decision, conditional) = match ace.kind {
            t::ACCESS_ALLOWED | t::ACCESS_ALLOWED_OBJECT => (Decision::Allow, false),
            t::ACCESS_DENIED | t::ACCESS_DENIED_OBJECT => (Decision::Deny, false),
            t::ACCESS_ALLOWED_CALLBACK | t::ACCESS_ALLOWED_CALLBACK_OBJECT => {
                (Decision::Allow, true)
            }
            t::ACCESS_DENIED_CALLBACK | t::ACCESS_DENIED_CALLBACK_OBJECT => (Decision::Deny, true),
            _ => return None,
        };
        let inherit_only = ace.flags.contains(AceFlags::INHERIT_ONLY);
        let (mask, object, sid) = match ace.body {
            AceBody::Plain { mask, sid, .. } => (mask, None, sid),
            AceBody::Object {
                mask,
                object_type,
                sid,
                ..
            } => (mask, object_type.map(|guid| guid.0), sid),
            AceBody::Other(_) => return None,
        };
        Some(AccessEntry {
            decision,
            conditional,
            inherit_only,
            mask: mask.bits(),
            object,
            sid: sid.to_string(),
        })
    });
    Ok(Dacl::Entries(entries.collect()))
}

/// SIDs of an attribute, as text.
pub(super) fn sids(entry: &Entry, attribute: &str) -> Result<Vec<String>, Error> {
    entry
        .values(attribute)
        .iter()
        .map(|bytes| {
            Sid::from_bytes(bytes)
                .map(|sid| sid.to_string())
                .map_err(|error| Error::peer("reading SIDs", error.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policy::group_policy::{APPLY_GROUP_POLICY, Right, Token, may_apply};
    use countersign_wire::Guid;
    use countersign_wire::dtyp::{Ace, Acl};
    use countersign_wire::fscc::AccessMask;

    fn descriptor(kind: u8, sid: Sid) -> Vec<u8> {
        let ace = Ace {
            kind,
            flags: AceFlags::CONTAINER_INHERIT,
            body: AceBody::Object {
                mask: AccessMask::from_bits_retain(0x100),
                object_type: Some(Guid(APPLY_GROUP_POLICY)),
                inherited_object_type: None,
                sid,
                data: Vec::new(),
            },
        };
        let descriptor = SecurityDescriptor {
            dacl: Some(Acl {
                revision: 4,
                aces: vec![ace],
            }),
            ..SecurityDescriptor::default()
        };
        descriptor.to_bytes()
    }

    fn entry() -> Entry {
        let mut entry = Entry::default();
        "CN={A},CN=Policies,CN=System,DC=lab,DC=example".clone_into(&mut entry.dn);
        entry
    }

    #[test]
    fn an_entry_becomes_an_object() {
        let allow = descriptor(ace_type::ACCESS_ALLOWED_OBJECT, Sid::authenticated_users());
        let entry = entry()
            .with("cn", b"{A}")
            .with("displayName", b"Signing")
            .with("versionNumber", b"-65533")
            .with("gPCFunctionalityVersion", b"2")
            .with("flags", b"1")
            .with("gPCWQLFilter", b" ")
            .with("nTSecurityDescriptor", &allow);
        let made = object(&entry).unwrap();
        assert_eq!(made.name, "Signing");
        assert_eq!(made.version.machine(), 3);
        assert_eq!(made.flags, 1);
        assert_eq!(made.wmi, None);
        let token = Token::new([]);
        assert_eq!(may_apply(&made.dacl.unwrap(), token.sids()), Right::Granted);
    }

    #[test]
    fn denying_and_conditional_entries() {
        let token = Token::new([]);
        let ask = |kind| {
            let entry = entry().with(
                "nTSecurityDescriptor",
                &descriptor(kind, Sid::authenticated_users()),
            );
            may_apply(&object(&entry).unwrap().dacl.unwrap(), token.sids())
        };
        let who = "S-1-5-11".to_owned();
        assert_eq!(
            ask(ace_type::ACCESS_DENIED_OBJECT),
            Right::Denied(who.clone())
        );
        assert_eq!(
            ask(ace_type::ACCESS_ALLOWED_CALLBACK_OBJECT),
            Right::Conditional(who)
        );
        assert_eq!(ask(ace_type::SYSTEM_AUDIT_OBJECT), Right::Missing);
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_over() {
        assert!(object(&entry().with("nTSecurityDescriptor", b"\x01")).is_err());
        assert!(object(&entry().with("flags", b"x")).is_err());
        assert!(object(&entry()).unwrap().dacl.is_none());
        assert!(sids(&entry().with("tokenGroups", b"\x01\x01"), "tokenGroups").is_err());
    }
}
