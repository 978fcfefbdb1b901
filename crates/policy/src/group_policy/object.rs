//! [MS-GPOL] 2.2.4: the attributes of a groupPolicyContainer.

use serde::{Deserialize, Serialize};

use super::access::Dacl;
use super::dn::DistinguishedName;
use super::gpt::GptVersion;

/// A client side extension that is obeyed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extension {
    /// [MS-GPSB]: security settings, GptTmpl.inf.
    Security,
    /// [MS-GPREG]: administrative templates, Registry.pol.
    Registry,
}

impl Extension {
    /// All that are obeyed.
    pub const ALL: [Extension; 2] = [Extension::Security, Extension::Registry];

    /// Its GUID.
    pub const fn guid(self) -> &'static str {
        match self {
            Extension::Security => "{827D319E-6EAC-11D2-A4EA-00C04F79F83A}",
            Extension::Registry => "{35378EAC-683F-11D2-A89A-00C04FBBCFA2}",
        }
    }

    /// Its file below gPCFileSysPath, as a list of names.
    pub const fn file(self) -> &'static [&'static str] {
        match self {
            Extension::Security => &[
                "MACHINE",
                "Microsoft",
                "Windows NT",
                "SecEdit",
                "GptTmpl.inf",
            ],
            Extension::Registry => &["MACHINE", "Registry.pol"],
        }
    }

    /// It stands in a gPCMachineExtensionNames: `[{extension}{tool}...]...`. (Windows
    /// stops reading such a list where it is not sorted; here all of it is read.)
    pub fn is_in(self, names: &str) -> bool {
        names.split('[').skip(1).any(|group| {
            group
                .trim_start()
                .get(..self.guid().len())
                .is_some_and(|first| first.eq_ignore_ascii_case(self.guid()))
        })
    }
}

/// A WMI filter on an object, gPCWQLFilter `[domain;{id};flags]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WmiFilter {
    /// The attribute's text.
    pub text: String,
    /// The filter's name and query, when the filter exists. One that does not exist
    /// lets the object apply ([MS-GPOL] 3.2.5.1.7).
    pub query: Option<(String, String)>,
}

impl WmiFilter {
    /// Domain and id of a gPCWQLFilter; a blank one is no filter.
    pub fn reference(text: &str) -> Option<(&str, &str)> {
        let inner = text.trim().strip_prefix('[')?;
        let mut fields = inner.trim_end_matches(']').split(';');
        let domain = fields.next()?.trim();
        let id = fields.next()?.trim();
        (!domain.is_empty() && !id.is_empty()).then_some((domain, id))
    }
}

/// A Group Policy object as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyObject {
    /// Its name in the directory.
    pub dn: DistinguishedName,
    /// cn: its GUID, with braces.
    pub guid: String,
    /// displayName.
    pub name: String,
    /// gPCFileSysPath.
    pub path: Option<String>,
    /// versionNumber.
    pub version: GptVersion,
    /// gPCMachineExtensionNames.
    pub extensions: String,
    /// gPCFunctionalityVersion.
    pub functionality: Option<i64>,
    /// flags: 1 the user's part is off, 2 the machine's part is off.
    pub flags: i64,
    /// The WMI filter.
    pub wmi: Option<WmiFilter>,
    /// The DACL of nTSecurityDescriptor; `None`: it could not be read.
    pub dacl: Option<Dacl>,
}

impl PolicyObject {
    /// The machine's part is switched off.
    pub const fn machine_is_off(&self) -> bool {
        self.flags & 2 != 0
    }
}
