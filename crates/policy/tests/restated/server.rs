//! What a server does.

use crate::case::{
    Case, Cell, Enabled, Posture, Required, SIGNED, accept, agreed, denied, disconnect, says,
    smb1_message, smb2_reason,
};

/// A server announces what its settings say: SMB1 0x04 and 0x08, SMB2 0x01 always and 0x02.
pub(crate) fn server_negotiate(case: &Case<'_>) -> String {
    let always = case.always();
    let can = !case.smb1() || matches!(case.posture(), Enabled | Required);
    let reason = if always {
        "policy-requires"
    } else {
        "not-required"
    };
    accept(
        &[
            (can, "announce-enabled"),
            (always, "announce-required"),
            (always, "required"),
        ],
        reason,
    )
}

pub(crate) fn server_logon(case: &Case<'_>) -> String {
    if case.smb1() {
        smb1_server_logon(case, case.posture())
    } else {
        smb2_server_logon(case, case.always())
    }
}

/// The first real logon that was agreed to be signed activates the connection's key;
/// later logons travel under it. No key where signing is due: the logon fails.
pub(crate) fn smb1_server_logon(case: &Case<'_>, own: Posture) -> String {
    let active = !case.is("established", "new");
    if case.guest() {
        return match (own == Required, active) {
            (true, _) => denied(active, "guest-under-required"),
            (false, true) => accept(&SIGNED, "peer-requires"),
            (false, false) => accept(&[], "no-key-for-identity"),
        };
    }
    if active {
        let reason = if own == Required {
            "policy-requires"
        } else {
            "peer-requires"
        };
        return accept(&SIGNED, reason);
    }
    match agreed(own, case) {
        (Cell::Refused, _) => denied(false, "peer-requires-we-cannot"),
        (Cell::Unsigned, _) => accept(&[], "not-required"),
        (Cell::Signed, _) if case.is("key", "no-key") => denied(false, "no-key-under-required"),
        (Cell::Signed, reason) => accept(&SIGNED, reason),
    }
}

/// Session.SigningRequired is own policy or the peer's bit; a re-authentication keeps the
/// key and what was required; guests have none; 3.1.1 cannot do without a key; the final
/// response of a real user is signed in any case.
pub(crate) fn smb2_server_logon(case: &Case<'_>, own: bool) -> String {
    let required = own || case.insists();
    if !case.is("established", "new") {
        let had = case.is("established", "had-required");
        let reason = smb2_reason(own, case.insists() || had);
        return accept(&[(true, "sign"), (required || had, "required")], reason);
    }
    if case.guest() {
        return if own {
            denied(false, "guest-under-required")
        } else {
            accept(&[], "no-key-for-identity")
        };
    }
    if case.is("key", "no-key") {
        return if required || case.is("dialect", "Smb311") {
            denied(false, "no-key-under-required")
        } else {
            accept(&[], "not-required")
        };
    }
    let reason = smb2_reason(own, case.insists());
    accept(&[(true, "sign"), (required, "required")], reason)
}

/// [MS-SMB2] 3.3.5.2.4, 3.3.5.2.9, 3.3.5.5 and 3.3.5.7. CANCEL has no response.
pub(crate) fn server_message_of(case: &Case<'_>, excepted: bool) -> String {
    if case.smb1() {
        return smb1_message(case, false, excepted);
    }
    let (command, state) = (case.get("command"), case.get("state"));
    let clear = state == "Unsigned";
    if command == "Negotiate" {
        return if clear {
            accept(&[], "unsigned-by-design")
        } else {
            "refuse INVALID_PARAMETER [negotiate-signed]".to_owned()
        };
    }
    let cancel = command == "Cancel";
    if case.is("identity", "none") {
        return match (clear, cancel) {
            (true, _) => accept(&[], "unsigned-by-design"),
            (false, true) => "ignore [unknown-session]".to_owned(),
            (false, false) => "refuse USER_SESSION_DELETED [unknown-session]".to_owned(),
        };
    }
    let key = case.is("key", "key");
    let required = case.is("required", "required");
    let refuse = |signed: bool, reason: &str| {
        if cancel {
            format!("ignore [{reason}]")
        } else {
            denied(signed, reason)
        }
    };
    let logon = ["SessionSetup", "SessionBind"].contains(&command);
    match state {
        "Encrypted" => return accept(&[(required, "required")], "encrypted"),
        "BadSignature" => return refuse(key, "bad-signature"),
        "SignedNoKey" => return refuse(false, "signed-without-key"),
        _ => {}
    }
    if case.is("encrypt", "encrypt") && !logon {
        return refuse(key, "unencrypted-on-required");
    }
    if state == "Verified" {
        let reason = if required {
            "policy-requires"
        } else {
            "peer-signs"
        };
        return accept(&[(true, "sign"), (required, "required")], reason);
    }
    if command == "SessionBind" {
        return "refuse INVALID_PARAMETER [bind-unsigned]".to_owned();
    }
    if required {
        return refuse(key, "unsigned-on-required");
    }
    if command == "TreeConnect" && case.is("dialect", "Smb311") && !case.guest() {
        return disconnect("tree-connect-unsigned");
    }
    let reason = if command == "SessionSetup" && !key {
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

pub(crate) fn server_message(case: &Case<'_>) -> String {
    server_message_of(case, false)
}

pub(crate) fn server_message_excepted(case: &Case<'_>) -> String {
    server_message_of(case, true)
}

/// [MS-SMB2] 3.3.4.1.1: as the request was, or as the session requires; the end of a real
/// logon always; STATUS_PENDING and breaks never. SMB1: everything but breaks.
pub(crate) fn server_sends(case: &Case<'_>) -> String {
    let asked = case.is("request", "request-signed") || case.is("required", "required");
    let sign = match case.get("reply") {
        "Interim" | "Break" => false,
        "SessionSetupFinal" => true,
        _ => case.smb1() || asked,
    };
    says(sign && case.is("key", "key"))
}

/// An exception weakens the requirement where there is one and the policy allows it.
pub(crate) fn exception_speaks(case: &Case<'_>) -> bool {
    case.always() && case.is("exceptions", "allowed")
}

/// SMB1's client gives up where it reads that it must sign; in SMB2 every client can, so
/// the requirement stands and its logon decides.
pub(crate) fn excepted_negotiate(case: &Case<'_>) -> String {
    if exception_speaks(case) && case.smb1() {
        accept(&[(true, "announce-enabled")], "exception")
    } else {
        server_negotiate(case)
    }
}

/// Whom it is for may stay unsigned; what the peer requires, or agreed before, stands.
pub(crate) fn excepted_logon(case: &Case<'_>) -> String {
    let for_it = match case.get("identity") {
        "User" => true,
        "Guest" => case.is("exception", "guests too"),
        _ => false,
    };
    if !exception_speaks(case) || !for_it {
        return server_logon(case);
    }
    if !case.smb1() {
        let verdict = smb2_server_logon(case, false);
        let lifted = verdict.starts_with("accept") && !verdict.contains("required ");
        return match verdict.split_once(" [") {
            Some((accepted, _)) if lifted => format!("{accepted} [exception]"),
            _ => verdict,
        };
    }
    if !case.is("established", "new") {
        return server_logon(case);
    }
    // Required becomes Enabled.
    let (cell, reason) = agreed(Enabled, case);
    match (cell, case.guest(), case.is("key", "key")) {
        (Cell::Signed, false, true) => accept(&SIGNED, reason),
        (Cell::Signed, false, false) if case.insists() => denied(false, "no-key-under-required"),
        _ => accept(&[], "exception"),
    }
}

/// An unsigned session under an exception has the shares the exception names.
pub(crate) fn shares(case: &Case<'_>) -> String {
    let exception = case.get("exception");
    if case.is("session", "protected") {
        accept(&SIGNED, "policy-requires")
    } else if !exception_speaks(case) || exception == "none" {
        accept(&[], "not-required")
    } else if case.is("share", "SCANS") || (case.is("share", "IPC$") && exception == "with IPC$") {
        accept(&[], "exception")
    } else {
        denied(false, "exception-share")
    }
}
