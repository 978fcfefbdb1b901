//! Paths of a DFS namespace that lie elsewhere, on smbd's links (`msdfs root = yes`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail loudly"
)]

#[path = "smb1/smbd.rs"]
#[allow(dead_code, reason = "another test uses the rest of it")]
mod smbd;

use std::os::unix::fs::symlink;

use countersign_client::dfs::MAX_HOPS;
use countersign_client::{
    Client, Connection, Credentials, Dialect, Encryption, ErrorKind, Share, Signing, Smb1Config,
};
use smbd::{PASSWORD, Smbd, USER};

struct Namespace {
    smbd: Smbd,
    root: tempfile::TempDir,
}

/// smbd with a namespace `dfs` whose links lead to its share `share` and nowhere.
fn namespace() -> Option<Namespace> {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    for (link, target) in [
        ("link", r"msdfs:127.0.0.1\share"),
        ("deep", r"msdfs:127.0.0.1\share\sub\folder"),
        ("either", r"msdfs:127.0.0.1\nothing,127.0.0.1\share"),
        ("loop", r"msdfs:127.0.0.1\dfs\loop"),
        ("dead", r"msdfs:127.0.0.1\nothing"),
    ] {
        symlink(target, path.join(link)).unwrap();
    }
    std::fs::create_dir(path.join("plain")).unwrap();
    std::fs::write(path.join("plain/file"), "in the namespace itself").unwrap();
    let more = format!(
        "host msdfs = yes\n[dfs]\n path = {}\n msdfs root = yes\n read only = no\n force user = root\n",
        path.display()
    );
    let smbd = Smbd::start("auto", &more)?;
    std::fs::create_dir_all(smbd.share.join("sub/folder")).unwrap();
    std::fs::write(smbd.share.join("sub/folder/below"), "below").unwrap();
    Some(Namespace { smbd, root })
}

async fn connect(of: &Namespace, dialect: Dialect, encryption: Encryption) -> Connection {
    Client::builder()
        .credentials(Credentials::password(USER, PASSWORD))
        .dialects(dialect, dialect)
        .signing(Signing::Required)
        .encryption(encryption)
        .smb1(Smb1Config::default())
        .build()
        .connect(&of.smbd.address())
        .await
        .unwrap()
}

async fn names(share: &Share, path: &str) -> Vec<String> {
    let mut listing = share.read_dir(path).await.unwrap();
    let mut names = Vec::new();
    while let Some(entry) = listing.next_entry().await.unwrap() {
        names.push(entry.path().to_owned());
    }
    names.sort();
    names
}

#[tokio::test]
async fn links_are_followed_in_every_dialect() {
    let Some(all) = namespace() else { return };
    for (dialect, encryption) in [
        (Dialect::Smb202, Encryption::Offered),
        (Dialect::Smb210, Encryption::Offered),
        (Dialect::Smb300, Encryption::Offered),
        (Dialect::Smb302, Encryption::Required),
        (Dialect::Smb311, Encryption::Offered),
        (Dialect::Smb311, Encryption::Required),
    ] {
        let connection = connect(&all, dialect, encryption).await;
        let dfs = connection.share("dfs").await.unwrap();
        assert!(dfs.is_dfs(), "{dialect:?}");
        // What lies in the namespace itself.
        let text = dfs.read("plain/file").await.unwrap();
        assert_eq!(text, b"in the namespace itself", "{dialect:?}");
        assert!(dfs.metadata("").await.unwrap().is_dir());
        dfs.write("plain/own", b"x").await.unwrap();
        dfs.rename("plain/own", "plain/renamed").await.unwrap();
        dfs.remove_file("plain/renamed").await.unwrap();
        // What does not: whole files, opens, listings, folders, names.
        let _ = dfs.remove_dir_all("link/made").await;
        dfs.create_dir("link/made").await.unwrap();
        dfs.write("link/made/file", b"written through a link")
            .await
            .unwrap();
        let there = std::fs::read(all.smbd.share.join("made/file")).unwrap();
        assert_eq!(there, b"written through a link");
        assert_eq!(dfs.metadata("link/made/file").await.unwrap().len(), 22);
        assert_eq!(dfs.read("LINK/made/file").await.unwrap(), there);
        let file = dfs.open("link/made/file").await.unwrap();
        let mut part = [0; 7];
        assert_eq!(file.read_at(&mut part, 0).await.unwrap(), 7);
        file.close().await.unwrap();
        dfs.rename("link/made/file", "link/made/other")
            .await
            .unwrap();
        assert_eq!(names(&dfs, "link/made").await, [r"link\made\other"]);
        dfs.remove_dir_all("link/made").await.unwrap();
        assert!(!all.smbd.share.join("made").exists());
        // A folder of a share; the second of two targets.
        assert_eq!(dfs.read("deep/below").await.unwrap(), b"below");
        let text = dfs.read("either/sub/folder/below").await.unwrap();
        assert_eq!(text, b"below");
        // Another share object finds its own way.
        let again = connection.share("dfs").await.unwrap();
        assert!(!again.exists("link/none").await.unwrap());
        assert_eq!(names(&again, "deep").await, [r"deep\below"]);
    }
}

#[tokio::test]
async fn what_cannot_be_followed_says_why() {
    let Some(all) = namespace() else { return };
    let connection = connect(&all, Dialect::Smb311, Encryption::Offered).await;
    let dfs = connection.share("dfs").await.unwrap();
    // Round and round.
    let error = dfs.read("loop/file").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DfsReferral, "{error}");
    assert!(
        error.to_string().contains(&format!("{MAX_HOPS} referrals")),
        "{error}"
    );
    // Nothing there.
    let error = dfs.read("dead/file").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShareNotFound, "{error}");
    assert!(error.to_string().contains(r"127.0.0.1\nothing"), "{error}");
    // A share that is none, and no namespace either.
    let error = connection.share("none").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShareNotFound, "{error}");
    // From one share to another there is no renaming.
    dfs.write("plain/here", b"x").await.unwrap();
    dfs.write("link/there", b"x").await.unwrap();
    for (from, to) in [("plain/here", "link/here"), ("link/there", "plain/there")] {
        let error = dfs.rename(from, to).await.unwrap_err();
        assert!(
            error.to_string().contains("different shares"),
            "{from}: {error}"
        );
    }
    dfs.remove_file("link/there").await.unwrap();
    // A link is not what it leads to: neither is deleted in the other's place.
    assert!(dfs.remove_dir("link").await.is_err());
    assert!(dfs.remove_dir_all("").await.is_err());
    assert!(all.smbd.share.join("sub/folder/below").exists());
    assert!(all.root.path().join("link").is_symlink());
    // SMB1 follows nothing, and says so.
    let old = connect(&all, Dialect::Smb1, Encryption::Off).await;
    let error = old
        .share("dfs")
        .await
        .unwrap()
        .read("link/sub/folder/below")
        .await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("DFS namespace"), "{error}");
}

#[tokio::test]
async fn a_referral_can_be_asked_for() {
    let Some(all) = namespace() else { return };
    let connection = connect(&all, Dialect::Smb311, Encryption::Offered).await;
    let referral = connection
        .dfs_referral(r"\127.0.0.1\dfs\deep\below")
        .await
        .unwrap();
    assert_eq!(referral.consumed, r"\127.0.0.1\dfs\deep");
    assert_eq!(referral.rest, "below");
    assert_eq!(referral.targets.len(), 1);
    assert_eq!(referral.targets[0].share, "share");
    assert_eq!(referral.targets[0].path, r"sub\folder");
    let none = connection.dfs_referral(r"\127.0.0.1\share\sub").await;
    assert!(none.is_err(), "{none:?}");
}
