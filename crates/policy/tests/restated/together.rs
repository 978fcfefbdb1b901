//! What a changed policy does, what profiles come to, and both sides together.

use crate::case::{Case, Cell, Disabled, Enabled, Posture, Required, accept, posture, table};

/// A relaxed policy touches nothing; a tightened one keeps what signs or is encrypted.
pub(crate) fn live(case: &Case<'_>) -> String {
    let signs = case.is("key", "key");
    if !case.is("change", "tighten") {
        "keep".to_owned()
    } else if case.guest() {
        "end [policy-tightened-guest]".to_owned()
    } else if case.is("encrypt", "encrypt") || (signs && case.is("required", "required")) {
        "keep".to_owned()
    } else if signs && !case.smb1() && case.is("so far", "Always") {
        "keep, and require from now on".to_owned()
    } else {
        "end [policy-tightened]".to_owned()
    }
}

/// The documentation's effective defaults by role, and what later Windows changed: 24H2
/// requires signing both ways, Server 2025 outbound (and, as before, a domain controller
/// inbound). Ours: `secure` requires both ways, `balanced` offers both ways.
pub(crate) fn defaults(profile: &str, role: &str, server: bool) -> Posture {
    let controller = role == "domain-controller";
    match (profile, server) {
        ("secure" | "windows-11-24h2", _) | ("windows-server-2025", false) => Required,
        (_, true) if controller && profile != "balanced" => Required,
        ("balanced", _) | ("windows-10", false) => Enabled,
        _ => Disabled,
    }
}

pub(crate) fn profiles(case: &Case<'_>) -> String {
    let server = case.is("side", "Server");
    let own = defaults(case.get("profile"), case.get("role"), server);
    let required = own == Required;
    // Nothing is known of the peer: a client announces what it would do alone.
    let announces = match (case.smb1(), server) {
        (true, true) => matches!(own, Enabled | Required),
        (true, false) => required,
        (false, _) => true,
    };
    let verdict = accept(
        &[
            (announces, "announce-enabled"),
            (required, "announce-required"),
            (required && !server, "sign"),
            (required, "required"),
        ],
        if required {
            "policy-requires"
        } else {
            "not-required"
        },
    );
    if case.smb1() {
        format!("{}: {verdict}", own.name())
    } else {
        verdict
    }
}

/// Both sides together: the table of the settings in SMB1, "always" alone in SMB2.
pub(crate) fn meetings(case: &Case<'_>) -> String {
    let side = |side: &str| {
        posture(
            case.get(&format!("{side} always")),
            case.get(&format!("{side} if-agrees")),
            case.get(&format!("{side} off means")),
        )
    };
    let (client, server) = (side("client"), side("server"));
    let either = client == Required || server == Required;
    let blocked = case.smb1() && table(client, server) == Cell::Refused;
    let (outcome, reason) = match (case.guest(), blocked) {
        // The client reads the requirement before it logs on.
        (_, true) if server == Required => ("refused", "server-requires-we-cannot"),
        (false, true) => ("refused", "peer-requires-we-cannot"),
        (true, _) if either => ("refused", "guest-under-required"),
        (true, _) => ("unsigned", "no-key-for-identity"),
        (false, false) if server == Required => ("signed", "policy-requires"),
        (false, false) if client == Required => ("signed", "peer-requires"),
        (false, false) if case.smb1() && table(client, server) == Cell::Signed => {
            ("signed", "both-agree")
        }
        (false, false) => ("unsigned", "not-required"),
    };
    format!("{outcome} [{reason}]")
}
