//! What must not succeed, with which code and which words.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Commands, Context, judge};
use crate::Res;
use crate::process::run as run_program;
use crate::server::{PASSWORD, Setup, USER, free_port};

use super::LIMIT;

pub(super) fn exit_codes(c: &Commands) -> Res<()> {
    let out = c.local("out");
    let missing = c.at("none-such");
    c.bad(
        &["get", &missing, &out],
        1,
        &["STATUS_OBJECT_NAME_NOT_FOUND", "spelling"],
    )?;
    c.bad(&["cat", &missing], 1, &["STATUS_OBJECT_NAME_NOT_FOUND"])?;
    c.bad(&["stat", &missing], 1, &["STATUS_OBJECT_NAME_NOT_FOUND"])?;
    c.bad(
        &["ls", &c.at("no/such/path")],
        1,
        &["STATUS_OBJECT_PATH_NOT_FOUND"],
    )?;
    c.bad(&["put", "/none-such-file", &c.at("")], 1, &["No such file"])?;
    let nowhere = format!("smb://127.0.0.1:{}/none-such", c.port);
    c.bad(&["ls", &nowhere], 1, &["STATUS_BAD_NETWORK_NAME", "shares"])?;
    c.good(&["mkdir", &c.at("folder")])?;
    c.bad(&["get", &c.at("folder"), &out], 1, &["--recursive"])?;
    c.bad(&["cat", &c.at("folder")], 1, &["folder"])?;
    // Half of what was asked for is not success.
    let there = c.file("there", b"x")?;
    c.bad(
        &["put", &there, "/none-such-file", &c.at("folder")],
        1,
        &["No such file"],
    )?;
    if !c.share.join("folder/there").exists() {
        return Err("the other file was not copied".to_owned());
    }
    c.good(&["rm", "-r", &c.at("folder")])?;
    c.bad(&["get"], 2, &["Usage"])?;
    c.bad(&["ls", "not-a-location"], 2, &["smb://host/share/path"])?;
    c.bad(
        &["ls", "--sign", "maybe", &c.at("")],
        2,
        &["required, offered or off"],
    )?;
    c.bad(&["ls", "--dialect", "9", &c.at("")], 2, &["no dialect"])?;
    let nobody = format!("smb://127.0.0.1:{}/share", free_port()?);
    c.bad(&["ls", "--timeout", "5", &nobody], 1, &["127.0.0.1"])
}

pub(super) fn passwords(c: &Commands) -> Res<()> {
    let bare = |args: &[&str]| {
        let mut command = c.command(args);
        command
            .env_remove("COUNTERSIGN_PASSWORD")
            .env_remove("COUNTERSIGN_USER");
        run_program(command, LIMIT)
    };
    let good = |args: &[&str]| -> Res<()> {
        let out = bare(args)?;
        judge(args, &out, 0, &[])
    };
    let root = c.at("");
    let file = c.file("password", format!("{PASSWORD}\n").as_bytes())?;
    good(&["ls", "-U", USER, "--password-file", &file, &root])?;
    good(&["ls", "-U", &format!("{USER}%{PASSWORD}"), &root])?;
    let in_location = format!(
        "smb://{USER}:{}@127.0.0.1:{}/share",
        PASSWORD.replace('!', "%21"),
        c.port
    );
    good(&["ls", &in_location])?;
    let netrc = c.file(
        "netrc",
        format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n").as_bytes(),
    )?;
    let mode = |mode: u32| {
        std::fs::set_permissions(&netrc, std::fs::Permissions::from_mode(mode))
            .map_err(|e| e.to_string())
    };
    mode(0o600)?;
    good(&["ls", "--netrc", &netrc, &root])?;
    mode(0o644)?;
    let args = ["ls", "--netrc", &netrc, &root];
    judge(&args, &bare(&args)?, 1, &["chmod 600"])?;
    let args = ["ls", "-U", USER, &root];
    judge(&args, &bare(&args)?, 1, &["--password-file"])?;
    let args = ["ls", "-U", &format!("{USER}%wrong"), &root];
    judge(
        &args,
        &bare(&args)?,
        1,
        &["STATUS_LOGON_FAILURE", "password"],
    )
}

/// `--sign` is the command line's word, the server and this machine have theirs.
pub(super) fn policy(context: &Context, folder: &Path) -> Res<()> {
    let place = folder.join("refusing");
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let server = Setup::new(&context.binary, &place)
        .policy("disabled", "disabled")
        .start()?;
    let c = Commands {
        binary: context.binary.clone(),
        folder: place.clone(),
        port: server.port,
        share: server.share.clone(),
    };
    let root = c.at("");
    // SMB1 has signing that is off: who requires it is not served.
    c.bad(
        &["ls", "--dialect", "smb1", "--sign", "required", &root],
        1,
        &["sign"],
    )?;
    c.good(&["ls", "--dialect", "smb1", "--sign", "offered", &root])?;
    // Behind SMB1 everybody signs for who requires it.
    c.good(&["ls", "--sign", "required", &root])?;
    c.good(&["ls", "--sign", "off", &root])?;
    // The machine's local policy counts where the command line says nothing.
    let state = c.local("machine");
    let set = ["policy", "set", "client-always=disabled", "--state", &state];
    c.good(&set)?;
    c.good(&["ls", "--dialect", "smb1", "--state", &state, &root])?;
    let set = ["policy", "set", "client-always=enabled", "--state", &state];
    c.good(&set)?;
    c.bad(
        &["ls", "--dialect", "smb1", "--state", &state, &root],
        1,
        &["sign"],
    )?;
    c.good(&[
        "ls",
        "--dialect",
        "smb1",
        "--sign",
        "off",
        "--state",
        &state,
        &root,
    ])?;
    // Who is nobody has no key to sign with.
    c.bad(&["ls", "--anonymous", &root], 1, &[])?;
    server.stop()?;
    let place = folder.join("insisting");
    std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let mut setup = Setup::new(&context.binary, &place).policy("enabled", "enabled");
    setup.smb1 = false;
    let server = setup.start()?;
    let c = Commands {
        binary: context.binary.clone(),
        folder: place,
        port: server.port,
        share: server.share.clone(),
    };
    c.good(&["ls", "--sign", "off", &c.at("")])?;
    c.bad(&["ls", "--dialect", "smb1", &c.at("")], 1, &["127.0.0.1"])?;
    server.stop()
}
