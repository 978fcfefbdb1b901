//! What a client does, against smbd, unsigned and signed, with and without
//! extended security.

use std::time::Duration;

use countersign_client::{Connection, ErrorKind, FileTimes, Lock, OpenOptions, Share, ShareKind};
use countersign_wire::FileTime;

use super::*;

#[tokio::test]
async fn everything_a_client_does() {
    for (server, signing, extended) in [
        ("disabled", Signing::Off, true),
        ("disabled", Signing::Off, false),
        ("auto", Signing::Required, true),
    ] {
        let Some(smbd) = Smbd::start(server, "") else {
            return;
        };
        let client = client(signing, extended).build();
        let connection = client.connect(&smbd.address()).await.unwrap();
        let info = connection.info();
        assert_eq!(info.dialect, Dialect::Smb1);
        assert_eq!(info.signed, signing == Signing::Required);
        assert_eq!(info.signing_algorithm.is_some(), info.signed);
        let share = connection.share("share").await.unwrap();
        assert_eq!(share.kind(), ShareKind::Disk);
        files(&share, &smbd).await;
        folders(&share).await;
        names(&share).await;
        facts(&share).await;
        locks(&share).await;
        changes(&share).await;
        shares(&connection).await;
        connection.echo().await.unwrap();
        connection.close().await.unwrap();
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from((i * 7 + i / 251) % 256).unwrap())
        .collect()
}

async fn files(share: &Share, smbd: &Smbd) {
    let data = pattern(9_000_001);
    share.write("größe.bin", &data).await.unwrap();
    assert!(std::fs::read(smbd.share.join("größe.bin")).unwrap() == data);
    assert!(share.read("größe.bin").await.unwrap() == data);
    let file = share.open("größe.bin").await.unwrap();
    let mut middle = vec![0; 300_000];
    let count = file.read_at(&mut middle, 123_456).await.unwrap();
    assert_eq!(count, middle.len());
    assert!(middle == data[123_456..423_456]);
    assert_eq!(file.read_at(&mut middle, 1 << 40).await.unwrap(), 0);
    file.close().await.unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(share, "größe.bin")
        .await
        .unwrap();
    file.write_at(b"altered", 5_000_000_000).await.unwrap();
    file.sync_all().await.unwrap();
    assert_eq!(file.metadata().await.unwrap().len(), 5_000_000_007);
    file.set_len(10).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().len(), 10);
    file.close().await.unwrap();
    assert_eq!(share.read("größe.bin").await.unwrap(), data[..10]);
    share.write("empty", b"").await.unwrap();
    assert!(share.read("empty").await.unwrap().is_empty());
    let missing = share.read("missing").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

async fn folders(share: &Share) {
    share.create_dir("folder").await.unwrap();
    let again = share.create_dir("folder").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    for i in 0..700 {
        let name = format!(r"folder\a rather long name of a file, number {i:04}.txt");
        share.write(&name, b"x").await.unwrap();
    }
    let mut found = Vec::new();
    let mut listing = share.read_dir("folder").await.unwrap();
    while let Some(entry) = listing.next_entry().await.unwrap() {
        assert!(entry.metadata().is_file());
        assert_eq!(entry.metadata().len(), 1);
        found.push(entry.file_name().to_owned());
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 700);
    let mut some = share
        .read_dir_matching("folder", "*number 007?.txt")
        .await
        .unwrap();
    let mut count = 0;
    while some.next_entry().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 10);
    let full = share.remove_dir("folder").await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::DirectoryNotEmpty);
    share.remove_dir_all("folder").await.unwrap();
    assert!(!share.exists("folder").await.unwrap());
}

async fn names(share: &Share) {
    share.write("one", b"1").await.unwrap();
    share.write("two", b"2").await.unwrap();
    let taken = share.rename_with("one", "two", false).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    share.rename_with("one", "two", true).await.unwrap();
    assert_eq!(share.read("two").await.unwrap(), b"1");
    share.create_dir("sub").await.unwrap();
    share.write(r"sub\two", b"3").await.unwrap();
    share.rename_with("two", r"sub\two", true).await.unwrap();
    assert_eq!(share.read(r"sub\two").await.unwrap(), b"1");
    share.hard_link(r"sub\two", "linked").await.unwrap();
    assert_eq!(share.read("linked").await.unwrap(), b"1");
    share.remove_file("linked").await.unwrap();
    share.remove_file(r"sub\two").await.unwrap();
    share.remove_dir("sub").await.unwrap();
    assert!(share.remove_file("*").await.is_err());
}

async fn facts(share: &Share) {
    share.write("facts", b"12345").await.unwrap();
    let time = FileTime::from_unix(1_600_000_000, 0);
    share
        .set_times("facts", FileTimes::modified(time))
        .await
        .unwrap();
    let metadata = share.metadata("facts").await.unwrap();
    assert_eq!((metadata.len(), metadata.modified()), (5, time));
    assert!(!metadata.is_dir());
    assert!(share.metadata("").await.unwrap().is_dir());
    let volume = share.volume().await.unwrap();
    println!("{volume:?}");
    let parts = countersign_client::SecurityInfo::OWNER | countersign_client::SecurityInfo::DACL;
    let descriptor = share.security("facts", parts).await.unwrap();
    assert!(descriptor.owner.is_some());
    share.remove_file("facts").await.unwrap();
}

async fn locks(share: &Share) {
    share.write("locked", b"0123456789").await.unwrap();
    let options = OpenOptions::new().read(true).write(true);
    let one = options.open(share, "locked").await.unwrap();
    let two = options.open(share, "locked").await.unwrap();
    let lock = Lock {
        offset: 2,
        length: 3,
        exclusive: true,
    };
    one.lock(lock, false).await.unwrap();
    let refused = two.lock(lock, false).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    // One that waits is given up, another is granted.
    let given_up = tokio::time::timeout(Duration::from_millis(200), two.lock(lock, true)).await;
    assert!(given_up.is_err());
    let waits = two.lock(lock, true);
    let frees = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        one.unlock(2, 3).await
    };
    let (granted, freed) = tokio::join!(waits, frees);
    granted.unwrap();
    freed.unwrap();
    two.unlock(2, 3).await.unwrap();
    one.close().await.unwrap();
    two.close().await.unwrap();
    share.remove_file("locked").await.unwrap();
}

async fn changes(share: &Share) {
    let mut watch = share.watch("", false).await.unwrap();
    let makes = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        share.write("watched", b"x").await.unwrap();
    };
    let (change, ()) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(10), watch.next_change()),
        makes
    );
    let change = change
        .expect("a change in time")
        .unwrap()
        .expect("a change");
    println!("{change:?}");
    drop(watch);
    share.remove_file("watched").await.unwrap();
}

async fn shares(connection: &Connection) {
    let shares = connection.shares().await.unwrap();
    let ours = shares
        .iter()
        .find(|s| s.name == "share")
        .expect("the share");
    assert_eq!(ours.comment, "a folder");
    assert!(shares.iter().any(|s| s.kind == ShareKind::Pipe));
    let none = connection.share("none").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::ShareNotFound);
}
