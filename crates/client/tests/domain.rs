//! The client with Kerberos in a real domain: at its controller, and at a server of
//! ours on `LAB_FILES_PORT`. `cargo xtask interop kerberos` sets what is needed;
//! without it these tests say so and do nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::path::PathBuf;

use countersign_client::{Client, Credentials, Dialect, ErrorKind, Signing};

struct Lab {
    controller: String,
    account: String,
    keytab: PathBuf,
    user: String,
    password: String,
    files: String,
    port: Option<u16>,
}

fn lab() -> Option<Lab> {
    let get = |name: &str| std::env::var(name).ok();
    let Some(controller) = get("LAB_DC_HOST") else {
        println!("skipped: no domain controller (cargo xtask lab run cargo test ...)");
        return None;
    };
    Some(Lab {
        controller,
        account: get("LAB_FILES_ACCOUNT").unwrap(),
        keytab: get("LAB_FILES_KEYTAB").unwrap().into(),
        user: get("LAB_USER").unwrap(),
        password: get("LAB_USER_PASSWORD").unwrap(),
        files: get("LAB_FILES_HOST").unwrap(),
        port: get("LAB_FILES_PORT").and_then(|port| port.parse().ok()),
    })
}

fn client(credentials: Credentials, dialect: Option<Dialect>) -> Client {
    let mut builder = Client::builder()
        .credentials(credentials)
        .signing(Signing::Required)
        .require_mutual_authentication(true);
    if let Some(dialect) = dialect {
        builder = builder.dialects(dialect, dialect);
    }
    builder.build()
}

#[tokio::test]
async fn at_the_controller() {
    let Some(lab) = lab() else { return };
    for credentials in [
        Credentials::kerberos_password(&lab.user, &lab.password).unwrap(),
        Credentials::kerberos_keytab(&lab.keytab, &lab.account).unwrap(),
    ] {
        let connection = client(credentials, None)
            .connect(&lab.controller)
            .await
            .unwrap();
        let info = connection.info();
        assert!(info.signed && info.mutual, "{info:?}");
        assert_eq!(info.mechanism, "Kerberos");
        let sysvol = connection.share("sysvol").await.unwrap();
        let found = sysvol.metadata("lab.example/Policies").await.unwrap();
        assert!(found.is_dir());
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn at_our_server_in_each_dialect() {
    let Some(lab) = lab() else { return };
    let Some(port) = lab.port else {
        println!("skipped: no server of ours in the domain");
        return;
    };
    let credentials = Credentials::kerberos_password(&lab.user, &lab.password).unwrap();
    for dialect in [
        Dialect::Smb1,
        Dialect::Smb202,
        Dialect::Smb210,
        Dialect::Smb300,
        Dialect::Smb302,
        Dialect::Smb311,
    ] {
        let client = client(credentials.clone(), Some(dialect));
        let server = format!("{}:{port}", lab.files);
        let connection = client.connect(&server).await.unwrap();
        let info = connection.info();
        assert!(info.signed && info.mutual, "{info:?}");
        assert_eq!((info.mechanism, info.dialect), ("Kerberos", dialect));
        let share = connection.share("share").await.unwrap();
        let name = format!("{dialect:?}.txt");
        share.write(&name, name.as_bytes()).await.unwrap();
        assert_eq!(share.read(&name).await.unwrap(), name.as_bytes());
        share.remove_file(&name).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_a_ticket_is_not_talked_to() {
    let Some(lab) = lab() else { return };
    let credentials = Credentials::kerberos_password(&lab.user, &lab.password).unwrap();
    // By its address the controller has no name a ticket could be for.
    let address = std::env::var("LAB_DC_ADDRESS").unwrap();
    let Err(error) = client(credentials, None).connect(&address).await else {
        panic!("no ticket is for an address");
    };
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(
        error.to_string().contains("not found in Kerberos"),
        "{error}"
    );
}
