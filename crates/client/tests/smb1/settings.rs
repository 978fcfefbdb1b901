//! The table of the client's settings and `server signing`.

use countersign_client::ErrorKind;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Signed,
    Unsigned,
    Refused,
}
use Came::{Refused, Signed, Unsigned};

async fn came(smbd: &Smbd, signing: Signing, extended: bool) -> Came {
    let client = client(signing, extended).build();
    match client.connect(&smbd.address()).await {
        Ok(connection) => {
            let share = connection.share("share").await.unwrap();
            share.write("proof.txt", b"written").await.unwrap();
            assert_eq!(share.read("proof.txt").await.unwrap(), b"written");
            match connection.info().signed {
                true => Signed,
                false => Unsigned,
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Policy, "{error}");
            Refused
        }
    }
}

#[tokio::test]
async fn the_table_of_both_sides() {
    let rows = [
        ("disabled", [Unsigned, Unsigned, Signed]),
        ("auto", [Unsigned, Signed, Signed]),
        ("mandatory", [Refused, Signed, Signed]),
    ];
    for (server, row) in rows {
        let Some(smbd) = Smbd::start(server, "") else {
            return;
        };
        let clients = [Signing::Off, Signing::Offered, Signing::Required];
        for (signing, expected) in clients.into_iter().zip(row) {
            let got = came(&smbd, signing, true).await;
            assert_eq!(got, expected, "{server}, {signing:?}");
            // Without extended security smbd has no key and never signs, even
            // where it says that it must: what was to be signed is refused here.
            let expected = match expected {
                Signed => Refused,
                other => other,
            };
            let got = came(&smbd, signing, false).await;
            assert_eq!(
                got, expected,
                "{server}, {signing:?}, without extended security"
            );
        }
    }
}

#[tokio::test]
async fn wrong_passwords_guests_and_anonymous() {
    let Some(smbd) = Smbd::start("auto", " map to guest = Bad User") else {
        return;
    };
    for extended in [true, false] {
        let wrong = client(Signing::Offered, extended)
            .credentials(Credentials::password(USER, "wrong"))
            .build()
            .connect(&smbd.address())
            .await;
        assert_eq!(
            wrong.err().expect("a refusal").kind(),
            ErrorKind::LogonFailed
        );
        // A name that is not known makes a guest, which nobody asked for.
        for signing in [Signing::Offered, Signing::Required] {
            let guest = client(signing, extended)
                .credentials(Credentials::password("nobody-knows", PASSWORD))
                .build()
                .connect(&smbd.address())
                .await;
            assert!(guest.is_err(), "{signing:?}");
        }
        let asked = client(Signing::Offered, extended)
            .credentials(Credentials::password("nobody-knows", PASSWORD))
            .allow_guest(true)
            .build()
            .connect(&smbd.address())
            .await
            .unwrap();
        assert_eq!(asked.info().identity, countersign_client::Identity::Guest);
        assert!(!asked.info().signed);
        let nobody = client(Signing::Offered, extended)
            .credentials(Credentials::anonymous())
            .build()
            .connect(&smbd.address())
            .await
            .unwrap();
        assert!(nobody.shares().await.is_ok());
    }
}

#[tokio::test]
async fn the_highest_dialect_of_both_is_taken() {
    for (highest, expected) in [
        ("NT1", Dialect::Smb1),
        ("SMB2_02", Dialect::Smb202),
        ("SMB2_10", Dialect::Smb210),
        ("SMB3_11", Dialect::Smb311),
    ] {
        let more = format!(" server max protocol = {highest}");
        let Some(smbd) = Smbd::start("auto", &more) else {
            return;
        };
        let connection = client(Signing::Required, true)
            .dialects(Dialect::Smb1, Dialect::Smb311)
            .build()
            .connect(&smbd.address())
            .await
            .unwrap();
        assert_eq!(connection.info().dialect, expected);
        let share = connection.share("share").await.unwrap();
        share.write("proof.txt", b"written").await.unwrap();
        assert_eq!(share.read("proof.txt").await.unwrap(), b"written");
    }
}
