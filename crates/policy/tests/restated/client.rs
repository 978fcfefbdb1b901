//! What a client does.

use crate::case::{
    Case, Cell, SIGNED, accept, agreed, disconnect, says, smb1_message, smb2_reason,
};

/// A client reads what the server announced. Where it can sign and the server wants it,
/// it says so; where it insists, that too.
pub(crate) fn client_negotiate(case: &Case<'_>) -> String {
    let always = case.always();
    let (sign, required, reason) = if case.smb1() {
        match agreed(case.posture(), case) {
            (Cell::Refused, _) => return disconnect("server-requires-we-cannot"),
            (Cell::Signed, reason) => (true, always, reason),
            (Cell::Unsigned, _) => (false, false, "not-required"),
        }
    } else {
        let required = always || case.insists();
        (required, required, smb2_reason(always, case.insists()))
    };
    accept(
        &[
            (sign || !case.smb1(), "announce-enabled"),
            (always, "announce-required"),
            (sign, "sign"),
            (required, "required"),
        ],
        reason,
    )
}

/// A client that requires refuses to be a guest; one that agreed to sign believes nothing
/// but a right signature of the last response, and never falls back.
pub(crate) fn client_logon(case: &Case<'_>) -> String {
    let new = case.is("established", "new");
    let no_key = case.is("key", "no-key") && new;
    let response = case.get("response");
    if case.smb1() {
        if case.guest() && case.always() {
            return disconnect("guest-under-required");
        }
        if case.guest() && new {
            return accept(&[], "no-key-for-identity");
        }
        let reason = match agreed(case.posture(), case) {
            (Cell::Refused, _) => return disconnect("server-requires-we-cannot"),
            (Cell::Signed, reason) => reason,
            (Cell::Unsigned, _) if new => return accept(&[], "not-required"),
            (Cell::Unsigned, _) => "peer-requires",
        };
        return match response {
            _ if no_key => disconnect("no-key-under-required"),
            "Verified" => accept(&SIGNED, reason),
            "BadSignature" => disconnect("bad-signature"),
            _ => disconnect("final-response-unsigned"),
        };
    }
    let had = case.is("established", "had-required");
    let required = case.always() || case.insists() || had;
    let smb311 = case.is("dialect", "Smb311");
    if case.guest() && new {
        return if case.always() || case.insists() {
            disconnect("guest-under-required")
        } else {
            accept(&[], "no-key-for-identity")
        };
    }
    if no_key && (required || smb311) {
        return disconnect("no-key-under-required");
    }
    let reason = smb2_reason(case.always(), case.insists() || had);
    let words = [(true, "sign"), (required, "required")];
    match response {
        "Verified" => accept(&words, reason),
        "Encrypted" => accept(&words, "encrypted"),
        "Unsigned" if required || smb311 => disconnect("final-response-unsigned"),
        "Unsigned" => accept(&[(case.is("key", "key"), "sign")], reason),
        _ => disconnect("bad-signature"),
    }
}

/// [MS-SMB2] 3.2.5.1.3 and 3.2.5.14.12.
pub(crate) fn client_message(case: &Case<'_>) -> String {
    if case.smb1() {
        return smb1_message(case, true, false);
    }
    let (command, state) = (case.get("command"), case.get("state"));
    let required = case.is("required", "required");
    let words = [(required, "required")];
    match state {
        "Encrypted" => return accept(&words, "encrypted"),
        "Verified" if required => return accept(&words, "policy-requires"),
        "Verified" => return accept(&words, "peer-signs"),
        _ => {}
    }
    if ["Interim", "Break"].contains(&command) {
        return accept(&words, "unsigned-by-design");
    }
    if case.is("status", "keyless-failure") {
        return accept(&words, "keyless-failure");
    }
    if state != "Unsigned" {
        return disconnect("bad-signature");
    }
    if case.is("identity", "none") {
        return accept(&[], "unsigned-by-design");
    }
    if case.is("encrypt", "encrypt") {
        return disconnect("unencrypted-on-required");
    }
    match command {
        "ValidateNegotiate" => disconnect("validate-unsigned"),
        "Negotiate" => accept(&[], "unsigned-by-design"),
        _ if required || case.is("request", "request-signed") => disconnect("response-unsigned"),
        _ => accept(&[], "not-required"),
    }
}

/// SMB1: everything once there is a key. SMB2: what is required; else what proves the
/// negotiation, and a bind.
pub(crate) fn client_sends(case: &Case<'_>) -> String {
    let sign = case.smb1() || case.is("required", "required");
    let sign = match case.get("command") {
        "Negotiate" => false,
        "SessionBind" => true,
        "TreeConnect" | "ValidateNegotiate" => sign || !case.guest(),
        _ => sign,
    };
    says(sign && case.is("key", "key"))
}
