use std::path::Path;
use std::time::Duration;

use countersign_auth::GuestRule;
use countersign_core::config::Dialect;
use countersign_crypto::SigningAlgorithm;
use countersign_policy::{Profile, Value};

use super::reference::{EXAMPLE, reference};
use super::schema::Config;
use super::{ConfigError, Flags, OnTighten, Problem, ShareFlag, UserFlag};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("server.toml"))
}

fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Err(ConfigError::Mistakes(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

/// The one mistake of a text, as it is printed.
fn mistake(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_example_is_read() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.share.len(), 2);
    assert!(config.share[1].read_only && config.share[1].encrypt);
    assert_eq!(config.share[0].valid_users, ["alice", "@staff"]);
    assert_eq!(config.dialects.min, Dialect::Smb300);
}

#[test]
fn every_kind_of_value_is_read() {
    let config = parse(
        r#"
        listen = ["127.0.0.1:0"]
        listen-netbios = ["127.0.0.1:1139"]
        state = "/tmp/state"
        netbios-name = "NAS-1"
        [[user]]
        name = "alice"
        nt-hash = "FC525C9683E8FE067095BA2DDC971889"
        groups = ["staff"]
        [dialects]
        smb1 = true
        max = "3.0.2"
        oem-code-page = "cp437"
        [policy]
        profile = "windows-10"
        role = "domain-controller"
        server-always = "enabled"
        on-tighten = "keep"
        declined = true
        [signing]
        algorithms = ["hmac-sha256", "aes-128-cmac"]
        [encryption]
        required = true
        ciphers = ["aes-256-gcm"]
        [authentication]
        ntlmv1-smb1 = true
        guest = "unknown-user"
        failed-logon-delay = "250ms"
        lockout-after = 0
        lockout-for = 90
        [limits]
        max-transact = "1MiB"
        smb1-buffer = 0x4000
        token-bytes = "16 KiB"
        [logging]
        filter = "debug"
        format = "json"
        "#,
    )
    .unwrap();
    assert_eq!(config.policy.profile, Profile::Windows10);
    assert_eq!(config.policy.settings().server_always, Value::Enabled);
    assert_eq!(config.policy.on_tighten, OnTighten::Keep);
    assert_eq!(config.signing.algorithms[0], SigningAlgorithm::HmacSha256);
    assert_eq!(config.authentication.guest, GuestRule::UnknownUser);
    assert_eq!(
        config.authentication.failed_logon_delay,
        Duration::from_millis(250)
    );
    assert_eq!(config.authentication.lockout_for, Duration::from_secs(90));
    assert_eq!(config.limits.max_transact.0, 1 << 20);
    assert_eq!(config.limits.smb1_buffer.0, 0x4000);
    assert_eq!(config.limits.token_bytes.0, 16 << 10);
    let hash = config.user[0].nt_hash.as_ref().unwrap();
    assert_eq!(hash.0.as_bytes()[0], 0xFC);
    assert!(
        !format!("{config:?}").to_lowercase().contains("fc525c"),
        "a hash is never printed"
    );
}

#[test]
fn mistakes_have_a_place_and_a_suggestion() {
    for (text, expected) in [
        (
            "lisen = []",
            "server.toml:1:1: unknown key `lisen` (did you mean `listen`?)",
        ),
        (
            "[policy]\nserver-allways = \"enabled\"",
            "server.toml:2:1: unknown key `server-allways` in [policy] (did you mean `server-always`?)",
        ),
        (
            "[policy]\n  server_always = \"enabled\"",
            "server.toml:2:3: unknown key `server_always` in [policy] (did you mean `server-always`?)",
        ),
        (
            "[policy]\nserver-always = \"enable\"",
            "server.toml:2:17: server-always: `enable` is not allowed here: it is one of `enabled`, `disabled`, `not-defined` (did you mean `enabled`?)",
        ),
        (
            "[policy]\nserver-always = true",
            "server.toml:2:17: server-always: a string belongs here, not true or false",
        ),
        (
            "[dialects]\nmin = \"3.1\"",
            "server.toml:2:7: min: `3.1` is not allowed here: it is one of `smb1`, `2.0.2`, `2.1`, `3.0`, `3.0.2`, `3.1.1` (did you mean `3.1.1`?)",
        ),
        (
            "listen = [\"127.0.0.1\"]",
            "server.toml:1:11: `127.0.0.1` is not ADDRESS:PORT; write `127.0.0.1:4450`, `0.0.0.0:445` or `[::]:445`",
        ),
        (
            "[signing]\nalgorithms = [\"aes-128-gmac\", \"aes-128-cmak\"]",
            "server.toml:2:31: `aes-128-cmak` is not allowed here: it is one of `aes-128-gmac`, `aes-128-cmac`, `hmac-sha256` (did you mean `aes-128-cmac`?)",
        ),
        (
            "[limits]\ncredits = 70000",
            "server.toml:2:11: credits: `70000` is not between 0 and 65535",
        ),
        (
            "[limits]\nmax-transact = \"8 megs\"",
            "server.toml:2:16: max-transact: this is not a number of bytes; write `65536`, `\"64KiB\"` or `\"8MiB\"`",
        ),
        (
            "[authentication]\nfailed-logon-delay = \"soon\"",
            "server.toml:2:22: failed-logon-delay: `soon` is not a time; write `2s`, `500ms`, `10m` or `1h`",
        ),
        (
            "[[share]]\npath = \"/srv\"",
            "server.toml:1:1: the share has no `name`",
        ),
        (
            "[[share]]\nname = \"a/b\"\npath = \"/srv\"",
            "server.toml:2:8: `a/b` is not a share name: it contains `/`",
        ),
        (
            "[[share]]\nname = \"IPC$\"\npath = \"/srv\"",
            "server.toml:2:8: IPC$ always exists and cannot be defined",
        ),
        (
            "[[share]]\nname = \"a\"\npath = \"/x\"\n[[share]]\nname = \"A\"\npath = \"/y\"",
            "server.toml:5:8: there are two shares `A`",
        ),
        (
            "[dialects]\nmin = \"3.1.1\"\nmax = \"2.1\"",
            "server.toml:2:7: the lowest dialect 3.1.1 is above the highest 2.1",
        ),
        (
            "[encryption]\nrequired = true\nciphers = []",
            "server.toml:2:12: encryption is required, but `ciphers` is empty",
        ),
        (
            "netbios-name = \"much too long a name\"",
            "server.toml:1:16: `much too long a name` is not a NetBIOS name: 1 to 15 letters, digits or `-`",
        ),
        (
            "[limits]\nsmb1-mpx = 0",
            "server.toml:2:12: must be at least 1",
        ),
        (
            "[[user]]\nname = \"bob\"\nnt-hash = \"xyz\"",
            "server.toml:3:11: nt-hash: this is not an NT hash of 32 hexadecimal digits",
        ),
        (
            "policy = 3",
            "server.toml:1:10: policy: a table belongs here, not an integer",
        ),
        (
            "listen = 3",
            "server.toml:1:10: listen: a list belongs here, not an integer",
        ),
    ] {
        let problems = problems(text);
        assert!(
            problems
                .iter()
                .any(|problem| problem.to_string() == expected),
            "{text}\nexpected {expected}\nfound {problems:#?}"
        );
    }
}

#[test]
fn broken_toml_has_a_place() {
    let text = mistake("listen = [\n");
    assert!(text.starts_with("server.toml:"), "{text}");
    let text = mistake("a = 1\na = 2");
    assert!(text.starts_with("server.toml:2:"), "{text}");
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let problems = problems("lisen = []\n[polcy]\n[limits]\ncredits = -1\n");
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2, 4]);
}

#[test]
fn flags_lie_over_the_file() {
    let config = parse(
        "listen = [\"127.0.0.1:445\"]\n[[share]]\nname = \"a\"\npath = \"/file\"\n[policy]\nprofile = \"balanced\"",
    )
    .unwrap();
    let flags = Flags {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        shares: vec!["A=/flag,ro".parse().unwrap()],
        smb1: true,
        profile: Some(Profile::Secure),
        ..Flags::default()
    };
    let config = flags.over(config).unwrap();
    assert_eq!(config.listen, flags.listen);
    assert_eq!(config.share.len(), 1);
    assert!(config.share[0].read_only);
    assert!(config.dialects.smb1);
    assert_eq!(config.policy.profile, Profile::Secure);
    let above = Flags {
        min_dialect: Some(Dialect::Smb311),
        max_dialect: Some(Dialect::Smb210),
        ..Flags::default()
    };
    assert!(above.over(Config::default()).is_err());
}

#[test]
fn flags_of_shares_and_users_are_read() {
    let share = |text: &str| text.parse::<ShareFlag>();
    assert_eq!(share("a=/x,y,ro").unwrap().path, Path::new("/x,y"));
    assert!(share("a=/x,y,ro").unwrap().read_only);
    assert!(!share("a=/x").unwrap().read_only);
    for bad in ["a", "=/x", "a=", "ipc$=/x", "a?=/x"] {
        assert!(share(bad).is_err(), "{bad}");
    }
    let user: UserFlag = "bob:a:b".parse().unwrap();
    assert_eq!(user.nt_hash, countersign_auth::NtHash::from_password("a:b"));
    let error = "secret".parse::<UserFlag>().unwrap_err();
    assert!(!error.contains("secret"));
}

#[test]
fn the_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == reference(),
        "docs/configuration.md: run with UPDATE_SNAPSHOTS=1"
    );
}

proptest::proptest! {
    /// Whatever a file holds, it is read or refused with places inside it.
    #[test]
    fn any_text_is_read_or_refused_with_a_place(
        noise in "\\PC{0,40}",
        at in 0..EXAMPLE.len(),
        length in 0..30usize,
    ) {
        let start = (0..=at).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
        let end = (start + length).min(EXAMPLE.len());
        let text = format!("{}{noise}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        for text in [text.as_str(), noise.as_str()] {
            if let Err(ConfigError::Mistakes(problems)) = parse(text) {
                proptest::prop_assert!(!problems.is_empty());
                for problem in problems {
                    proptest::prop_assert!(problem.line <= text.matches('\n').count() + 1);
                    proptest::prop_assert!(problem.column >= 1);
                }
            }
        }
    }
}
