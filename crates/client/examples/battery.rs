//! Everything a share can be asked for, once: a line for each thing done, and an
//! exit status other than 0 with the first that fails.
//!
//! `battery HOST[:PORT] SHARE USER PASSWORD DIALECT off|sign|encrypt [FILE]`
//!
//! With a file that alone is read, and printed.

#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::time::Duration;

use countersign_client::ClassicResponse;
use countersign_client::{
    Caching, ChangeKind, Client, Credentials, Dialect, Encryption, Error, ErrorKind,
    FileAttributes, FileTime, FileTimes, Lock, OpenOptions, SecurityInfo, Share, Signing,
    Smb1Config, TransferOptions,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn dialect(name: &str) -> Option<Dialect> {
    Some(match name {
        "smb1" => Dialect::Smb1,
        "2.0.2" => Dialect::Smb202,
        "2.1" => Dialect::Smb210,
        "3.0" => Dialect::Smb300,
        "3.0.2" => Dialect::Smb302,
        "3.1.1" => Dialect::Smb311,
        _ => return None,
    })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n.wrapping_mul(31) ^ (n >> 9)).to_le_bytes()[0])
        .collect()
}

/// Fails with what was expected unless it holds.
fn holds(what: bool, expected: &str) -> Outcome {
    if what {
        Ok(())
    } else {
        Err(format!("expected: {expected}").into())
    }
}

fn is(result: Result<(), Error>, kind: ErrorKind) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        other => Err(format!("expected {kind:?}, came to {other:?}").into()),
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [
        server,
        share,
        user,
        password,
        revision,
        protection,
        rest @ ..,
    ] = arguments.as_slice()
    else {
        return Err("battery HOST[:PORT] SHARE USER PASSWORD DIALECT off|sign|encrypt".into());
    };
    let revision = dialect(revision).ok_or("an unknown dialect")?;
    let mut builder = Client::builder()
        .credentials(Credentials::password(user, password))
        .dialects(revision, revision)
        .smb1(Smb1Config {
            classic: ClassicResponse::NtlmV2,
            ..Smb1Config::default()
        });
    builder = match protection.as_str() {
        "off" => builder.signing(Signing::Off),
        "sign" => builder.signing(Signing::Required),
        _ => builder
            .signing(Signing::Required)
            .encryption(Encryption::Required),
    };
    let connection = builder.build().connect(server).await?;
    if let Some(file) = rest.first() {
        let text = connection.share(share).await?.read(file).await?;
        println!("{}", String::from_utf8_lossy(&text));
        return Ok(());
    }
    let info = connection.info();
    println!(
        "{:?} signed {} with {:?} because {} encrypted {:?} as {:?}",
        info.dialect,
        info.signed,
        info.signing_algorithm,
        info.signing_reason.code(),
        info.encrypted,
        info.identity
    );
    holds(info.dialect == revision, "the dialect asked for")?;
    holds(info.signed == (protection != "off"), "signed as asked for")?;
    holds(
        info.encrypted.is_some() == (protection == "encrypt"),
        "encrypted as asked for",
    )?;
    let found = connection.shares().await?;
    holds(
        found.iter().any(|s| &s.name == share),
        "the share in the list",
    )?;
    println!("ok shares");
    let share = connection.share(share).await?;
    let root = format!("battery-{}", std::process::id());
    share.create_dir(&root).await?;
    let outcome = battery(&share, &root, revision).await;
    share.remove_dir_all(&root).await?;
    outcome?;
    println!("ok remove_dir_all");
    connection.echo().await?;
    drop(share);
    connection.close().await?;
    println!("ok close");
    Ok(())
}

async fn battery(share: &Share, root: &str, revision: Dialect) -> Outcome {
    whole_files(share, root).await?;
    streams(share, root).await?;
    directories(share, root).await?;
    metadata(share, root).await?;
    locks(share, root).await?;
    security(share, root).await?;
    watch(share, root).await?;
    cancelled(share, root).await?;
    local(share, root).await?;
    if revision > Dialect::Smb1 {
        copies(share, root).await?;
    }
    caching(share, root).await
}

async fn whole_files(share: &Share, root: &str) -> Outcome {
    for length in [0, 1, 1000, 65_536, 70_000, 1_048_576, 1_500_001] {
        let path = format!("{root}/whole-{length}");
        let data = pattern(length);
        share.write(&path, &data).await?;
        holds(share.read(&path).await? == data, "what was written")?;
        // Shorter than before.
        share.write(&path, b"short").await?;
        holds(share.read(&path).await? == b"short", "what replaced it")?;
    }
    is(
        share.read(&format!("{root}/nothing")).await.map(|_| ()),
        ErrorKind::NotFound,
    )?;
    println!("ok whole files");
    Ok(())
}

async fn streams(share: &Share, root: &str) -> Outcome {
    let path = format!("{root}/streamed");
    let data = pattern(5_000_000);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(share, &path)
        .await?;
    for part in data.chunks(77_777) {
        file.write_all(part).await?;
    }
    file.flush().await?;
    file.rewind().await?;
    let mut back = Vec::new();
    file.read_to_end(&mut back).await?;
    holds(back == data, "what was streamed")?;
    file.seek(std::io::SeekFrom::Start(4_000_000)).await?;
    let mut some = [0; 1000];
    file.read_exact(&mut some).await?;
    holds(Some(&some[..]) == data.get(4_000_000..4_001_000), "a part")?;
    file.write_all(b"in the middle").await?;
    file.flush().await?;
    let mut there = vec![0; 13];
    holds(
        file.read_at(&mut there, 4_001_000).await? == 13 && there == b"in the middle",
        "what was written in the middle",
    )?;
    file.set_len(10).await?;
    holds(
        file.metadata().await?.len() == 10,
        "the length that was set",
    )?;
    file.sync_all().await?;
    file.close().await?;
    is(
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(share, &path)
            .await
            .map(|_| ()),
        ErrorKind::AlreadyExists,
    )?;
    println!("ok streams");
    Ok(())
}

async fn directories(share: &Share, root: &str) -> Outcome {
    share.create_dir_all(&format!("{root}/a/deep/tree")).await?;
    is(
        share.create_dir(&format!("{root}/a")).await,
        ErrorKind::AlreadyExists,
    )?;
    for n in 0..700 {
        let path = format!("{root}/a/a name that is rather long, as names are, {n:04}");
        share.write(&path, b"").await?;
    }
    let mut listing = share.read_dir(&format!("{root}/a")).await?;
    let mut names = Vec::new();
    while let Some(entry) = listing.next_entry().await? {
        names.push(entry.file_name().to_owned());
    }
    names.sort();
    names.dedup();
    holds(names.len() == 701, "701 names")?;
    let mut some = share
        .read_dir_matching(&format!("{root}/a"), "*0042")
        .await?;
    let entry = some.next_entry().await?.ok_or("no entry")?;
    holds(entry.file_name().ends_with("0042"), "a name that matches")?;
    let mut none = share.read_dir_matching(root, "nothing*").await?;
    holds(none.next_entry().await?.is_none(), "nothing that matches")?;
    is(
        share.remove_dir(&format!("{root}/a")).await,
        ErrorKind::DirectoryNotEmpty,
    )?;
    let (from, to) = (format!("{root}/a/deep"), format!("{root}/b"));
    share.rename(&from, &to).await?;
    holds(
        share.metadata(&format!("{to}/tree")).await?.is_dir(),
        "a directory that was moved",
    )?;
    share.remove_dir(&format!("{to}/tree")).await?;
    share.remove_dir(&to).await?;
    share.write(&format!("{root}/one"), b"1").await?;
    share.write(&format!("{root}/two"), b"2").await?;
    is(
        share
            .rename_with(&format!("{root}/one"), &format!("{root}/two"), false)
            .await,
        ErrorKind::AlreadyExists,
    )?;
    share
        .rename(&format!("{root}/one"), &format!("{root}/two"))
        .await?;
    holds(
        share.read(&format!("{root}/two")).await? == b"1",
        "the one that replaced",
    )?;
    share.remove_file(&format!("{root}/two")).await?;
    holds(
        !share.exists(&format!("{root}/two")).await?,
        "it to be gone",
    )?;
    println!("ok directories");
    Ok(())
}

async fn metadata(share: &Share, root: &str) -> Outcome {
    let path = format!("{root}/meta");
    share.write(&path, b"12345").await?;
    let time = FileTime(132_223_104_000_000_000);
    share.set_times(&path, FileTimes::modified(time)).await?;
    share
        .set_attributes(&path, FileAttributes::READONLY | FileAttributes::HIDDEN)
        .await?;
    let metadata = share.metadata(&path).await?;
    holds(
        metadata.len() == 5 && metadata.is_file(),
        "a file of five bytes",
    )?;
    holds(
        metadata.modified().to_unix().0 == time.to_unix().0,
        "the time that was set",
    )?;
    holds(metadata.is_readonly(), "a read-only file")?;
    is(share.remove_file(&path).await, ErrorKind::PermissionDenied)?;
    share.set_attributes(&path, FileAttributes::NORMAL).await?;
    share.remove_file(&path).await?;
    let volume = share.volume().await?;
    holds(volume.total > 0 && volume.unit > 0, "a size of the volume")?;
    println!("ok metadata");
    Ok(())
}

async fn locks(share: &Share, root: &str) -> Outcome {
    let path = format!("{root}/locked");
    share.write(&path, &pattern(100)).await?;
    let open = || async {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(share, &path)
            .await
    };
    let (mine, other) = (open().await?, open().await?);
    let lock = Lock {
        offset: 10,
        length: 20,
        exclusive: true,
    };
    mine.lock(lock, false).await?;
    is(other.lock(lock, false).await, ErrorKind::Locked)?;
    let mut buffer = [0; 5];
    is(
        other.read_at(&mut buffer, 12).await.map(|_| ()),
        ErrorKind::Locked,
    )?;
    // Waiting, and giving up.
    let waited = tokio::time::timeout(Duration::from_millis(300), other.lock(lock, true)).await;
    holds(waited.is_err(), "a wait")?;
    mine.unlock(10, 20).await?;
    // What was given up was not granted after all.
    mine.lock(lock, false).await?;
    let (granted, unlocked) = tokio::join!(other.lock(lock, true), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        mine.unlock(10, 20).await
    });
    unlocked?;
    granted?;
    other.unlock(10, 20).await?;
    mine.close().await?;
    other.close().await?;
    println!("ok locks");
    Ok(())
}

async fn security(share: &Share, root: &str) -> Outcome {
    let path = format!("{root}/secured");
    share.write(&path, b"x").await?;
    let parts = SecurityInfo::OWNER | SecurityInfo::GROUP | SecurityInfo::DACL;
    let descriptor = share.security(&path, parts).await?;
    holds(
        descriptor.owner.is_some() && descriptor.dacl.is_some(),
        "an owner and a list",
    )?;
    share
        .set_security(&path, SecurityInfo::DACL, &descriptor)
        .await?;
    println!("ok security");
    Ok(())
}

async fn watch(share: &Share, root: &str) -> Outcome {
    share.create_dir(&format!("{root}/watched")).await?;
    let mut watch = share.watch(&format!("{root}/watched"), true).await?;
    // The server has heard of the watch when it has answered what came behind it.
    share.connection().echo().await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    share.write(&format!("{root}/watched/new"), b"x").await?;
    let change = tokio::time::timeout(Duration::from_secs(10), watch.next_change()).await??;
    let change = change.ok_or("the watch ended")?;
    holds(
        change.path == "new" && change.kind == ChangeKind::Added,
        "a file that was added",
    )?;
    drop(watch);
    println!("ok watch");
    Ok(())
}

/// Futures that are dropped in the middle leave nothing behind.
async fn cancelled(share: &Share, root: &str) -> Outcome {
    let path = format!("{root}/cancelled");
    share.write(&path, &pattern(300_000)).await?;
    for n in 0..50u64 {
        let limit = Duration::from_micros(n * 20);
        let _ = tokio::time::timeout(limit, share.read(&path)).await;
        let _ = tokio::time::timeout(limit, share.open(&path)).await;
        let _ = tokio::time::timeout(limit, share.read_dir(root)).await;
        let _ = tokio::time::timeout(limit, share.metadata(&path)).await;
    }
    share.connection().echo().await?;
    holds(
        share.read(&path).await?.len() == 300_000,
        "the file as it is",
    )?;
    // Whatever was opened and dropped is closed: it can be had alone. The server
    // may still be at it.
    let mut tries = 0;
    loop {
        let alone = OpenOptions::new()
            .read(true)
            .share_mode(countersign_client::ShareAccess::empty())
            .open(share, &path)
            .await;
        match alone {
            Ok(file) => {
                file.close().await?;
                break;
            }
            Err(error) if tries >= 50 => return Err(error.into()),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    println!("ok cancelled");
    Ok(())
}

async fn local(share: &Share, root: &str) -> Outcome {
    let folder = std::env::temp_dir().join(root);
    std::fs::create_dir_all(&folder)?;
    let outcome = async {
        for length in [0usize, 1234, 4_500_000] {
            let (here, back) = (folder.join("here"), folder.join("back"));
            std::fs::write(&here, pattern(length))?;
            let path = format!("{root}/local-{length}");
            let options = TransferOptions::new().keep_times(true);
            let sent = share.put(&here, &path, &options).await?;
            holds(usize::try_from(sent)? == length, "all bytes sent")?;
            let got = share.get(&path, &back, &options).await?;
            holds(usize::try_from(got)? == length, "all bytes fetched")?;
            holds(
                std::fs::read(&back)? == pattern(length),
                "the same contents",
            )?;
        }
        // On from the middle.
        let (here, back) = (folder.join("here"), folder.join("back"));
        let path = format!("{root}/local-4500000");
        std::fs::write(&back, pattern(2_000_000))?;
        share
            .get(&path, &back, &TransferOptions::new().offset(2_000_000))
            .await?;
        holds(std::fs::read(&back)? == pattern(4_500_000), "a resumed get")?;
        let part = pattern(1_000_000);
        share.write(&path, &part).await?;
        share
            .put(&here, &path, &TransferOptions::new().offset(1_000_000))
            .await?;
        holds(
            share.read(&path).await? == pattern(4_500_000),
            "a resumed put",
        )?;
        Ok(())
    }
    .await;
    std::fs::remove_dir_all(&folder)?;
    if outcome.is_ok() {
        println!("ok local files");
    }
    outcome
}

async fn copies(share: &Share, root: &str) -> Outcome {
    let (from, to) = (format!("{root}/original"), format!("{root}/copy"));
    let data = pattern(6_000_000);
    share.write(&from, &data).await?;
    holds(
        share.copy(&from, &to).await? == 6_000_000,
        "all bytes copied",
    )?;
    holds(share.read(&to).await? == data, "the same contents")?;
    println!("ok copy");
    Ok(())
}

async fn caching(share: &Share, root: &str) -> Outcome {
    let path = format!("{root}/cached");
    share.write(&path, b"x").await?;
    let lease = OpenOptions::new()
        .read(true)
        .caching(Caching::Oplock(countersign_client::OplockLevel::Batch))
        .open(share, &path)
        .await?;
    // Another open breaks it; the break is acknowledged by itself.
    let other = tokio::time::timeout(Duration::from_secs(10), share.open(&path)).await??;
    other.close().await?;
    lease.close().await?;
    println!("ok caching");
    Ok(())
}
