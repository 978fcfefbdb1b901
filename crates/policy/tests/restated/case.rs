//! A case, the postures and the table of the settings, and how a verdict is written.

pub(crate) type Values = &'static [&'static str];

pub(crate) const DIALECTS: Values = &["Smb1", "Smb2", "Smb311"];

pub(crate) const VALUES: Values = &["enabled", "disabled", "not-defined"];

pub(crate) const OFF: Values = &["plain", "declined"];

pub(crate) const PEERS: Values = &["silent", "can", "insists", "only-insists"];

pub(crate) const WHO: Values = &["User", "Guest", "Anonymous"];

pub(crate) const WHO_OR_NONE: Values = &["none", "User", "Guest", "Anonymous"];

pub(crate) const KEY: Values = &["no-key", "key"];

pub(crate) const KEY_OR_NONE: Values = &["-", "no-key", "key"];

pub(crate) const REQUIRED: Values = &["optional", "required"];

pub(crate) const REQUIRED_OR_NONE: Values = &["-", "optional", "required"];

pub(crate) const ENCRYPT: Values = &["clear", "encrypt"];

pub(crate) const ENCRYPT_OR_NONE: Values = &["-", "clear", "encrypt"];

pub(crate) const ESTABLISHED: Values = &["new", "had-optional", "had-required"];

pub(crate) const UNSIGNED: Values = &["Unsigned"];

pub(crate) const STATES: Values = &[
    "Unsigned",
    "Verified",
    "BadSignature",
    "SignedNoKey",
    "Encrypted",
];

pub(crate) const COMMANDS: Values = &[
    "Negotiate",
    "SessionSetup",
    "SessionBind",
    "TreeConnect",
    "Cancel",
    "ValidateNegotiate",
    "Interim",
    "Break",
    "Other",
];

/// A case: the names of its dimensions and their values.
pub(crate) struct Case<'a> {
    pub(crate) names: &'a [&'static str],
    pub(crate) values: &'a [&'static str],
}

impl Case<'_> {
    pub(crate) fn get(&self, name: &str) -> &'static str {
        let at = self.names.iter().position(|one| *one == name);
        self.values[at.unwrap_or_else(|| panic!("there is no dimension {name}"))]
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    pub(crate) fn smb1(&self) -> bool {
        self.is("dialect", "Smb1")
    }

    pub(crate) fn guest(&self) -> bool {
        !self.is("identity", "User")
    }

    /// The side's settings, in SMB1 a state of [MS-SMB] 3.2.1.1.
    pub(crate) fn posture(&self) -> Posture {
        posture(
            self.get("always"),
            self.get("if-agrees"),
            self.get("off means"),
        )
    }

    pub(crate) fn always(&self) -> bool {
        self.is("always", "enabled")
    }

    /// The peer insists. SMB2 looks at no other bit; in SMB1 the weaker reading of a
    /// requirement without an ability would be none.
    pub(crate) fn insists(&self) -> bool {
        ["insists", "only-insists"].contains(&self.get("peer"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posture {
    Disabled,
    Declined,
    Enabled,
    Required,
}

pub(crate) use Posture::{Declined, Disabled, Enabled, Required};

/// "Always" wins whatever the other says; "not defined" acts as disabled.
pub(crate) fn posture(always: &str, if_agrees: &str, off: &str) -> Posture {
    match (always, if_agrees, off) {
        ("enabled", _, _) => Required,
        (_, "enabled", _) => Enabled,
        (_, _, "declined") => Declined,
        _ => Disabled,
    }
}

impl Posture {
    pub(crate) fn name(self) -> &'static str {
        ["disabled", "declined", "enabled", "required"][self as usize]
    }
}

/// What the table of the settings says of two sides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Unsigned,
    Signed,
    Refused,
}

/// The table of the settings' documentation with the fourth state of [MS-SMB] 3.2.4.2.4;
/// the same whichever side is asked.
pub(crate) fn table(one: Posture, other: Posture) -> Cell {
    use Cell::{Refused, Signed, Unsigned};
    const TABLE: [[Cell; 4]; 4] = [
        // Disabled, Declined, Enabled, Required.
        [Unsigned, Unsigned, Unsigned, Refused],
        [Unsigned, Unsigned, Unsigned, Signed],
        [Unsigned, Unsigned, Signed, Signed],
        [Refused, Signed, Signed, Signed],
    ];
    TABLE[one as usize][other as usize]
}

/// SMB1, by what one side knows of the other: a peer that says nothing may be Declined,
/// so one that requires goes on and looks at the signature.
pub(crate) fn agreed(own: Posture, case: &Case<'_>) -> (Cell, &'static str) {
    let peer = match case.get("peer") {
        "silent" => Declined,
        "can" => Enabled,
        _ => Required,
    };
    let reason = match (own, peer) {
        (Required, _) => "policy-requires",
        (_, Required) => "peer-requires",
        _ => "both-agree",
    };
    (table(own, peer), reason)
}

pub(crate) fn accept(words: &[(bool, &str)], reason: &str) -> String {
    let mut text = "accept".to_owned();
    for (_, word) in words.iter().filter(|(on, _)| *on) {
        text.push(' ');
        text.push_str(word);
    }
    format!("{text} [{reason}]")
}

pub(crate) fn denied(signed: bool, reason: &str) -> String {
    let signed = if signed { " signed" } else { "" };
    format!("refuse ACCESS_DENIED{signed} [{reason}]")
}

pub(crate) fn disconnect(reason: &str) -> String {
    format!("disconnect [{reason}]")
}

/// SMB2: signed when either side requires it.
pub(crate) fn smb2_reason(own: bool, peer: bool) -> &'static str {
    match (own, peer) {
        (true, _) => "policy-requires",
        (false, true) => "peer-requires",
        (false, false) => "not-required",
    }
}

pub(crate) const SIGNED: [(bool, &str); 2] = [(true, "sign"), (true, "required")];

/// SMB1: once the connection has a key, everything is signed or the connection ends;
/// breaks of oplocks alone are never signed.
pub(crate) fn smb1_message(case: &Case<'_>, of_client: bool, excepted: bool) -> String {
    let none = case.is("identity", "none");
    let state = case.get("state");
    if case.is("key", "key") {
        return match state {
            "Verified" => accept(&SIGNED, "policy-requires"),
            _ if of_client && case.is("command", "Break") => {
                accept(&[(true, "required")], "unsigned-by-design")
            }
            _ => disconnect("bad-signature"),
        };
    }
    if !["Unsigned", "SignedNoKey"].contains(&state) {
        return disconnect("signed-without-key");
    }
    let reason = if none || ["Negotiate", "SessionSetup"].contains(&case.get("command")) {
        "unsigned-by-design"
    } else if excepted {
        "exception"
    } else if case.guest() {
        "no-key-for-identity"
    } else {
        "not-required"
    };
    accept(&[], reason)
}

pub(crate) fn says(sign: bool) -> String {
    if sign { "sign" } else { "do not sign" }.to_owned()
}
