//! How fast files are moved.
//!
//! `transfer HOST[:PORT] SHARE USER PASSWORD DIALECT off|sign|encrypt get|put|putmany|getmany PATH [LOCAL]`

#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use std::sync::Arc;
use std::time::Instant;

use countersign_client::{
    Client, Credentials, Dialect, Encryption, Share, Signing, TransferOptions,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [
        server,
        share,
        user,
        password,
        dialect,
        protection,
        what,
        path,
        rest @ ..,
    ] = arguments.as_slice()
    else {
        return Err("too few arguments".into());
    };
    let dialect = match dialect.as_str() {
        "smb1" => Dialect::Smb1,
        "2.0.2" => Dialect::Smb202,
        "2.1" => Dialect::Smb210,
        "3.0" => Dialect::Smb300,
        "3.0.2" => Dialect::Smb302,
        _ => Dialect::Smb311,
    };
    let mut builder = Client::builder()
        .credentials(Credentials::password(user, password))
        .dialects(dialect, dialect);
    builder = match protection.as_str() {
        "off" => builder.signing(Signing::Off),
        "sign" => builder,
        _ => builder.encryption(Encryption::Required),
    };
    let share = builder.build().connect(server).await?.share(share).await?;
    let local = std::path::PathBuf::from(rest.first().map_or("/dev/null", String::as_str));
    let started = Instant::now();
    let options = TransferOptions::new();
    let bytes = match what.as_str() {
        "get" => share.get(path, &local, &options).await?,
        "put" => share.put(&local, path, &options).await?,
        _ => many(share, what == "putmany", path).await?,
    };
    let took = started.elapsed().as_secs_f64();
    println!(
        "{bytes} bytes in {took:.3} s: {:.0} MB/s",
        bytes as f64 / took / 1e6
    );
    Ok(())
}

/// 5,000 files of 4 KiB, 16 at a time.
async fn many(share: Share, put: bool, folder: &str) -> Result<u64, Box<dyn std::error::Error>> {
    if put {
        share.create_dir_all(folder).await?;
    }
    let share = Arc::new((share, folder.to_owned()));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..16usize {
        let share = Arc::clone(&share);
        tasks.spawn(async move {
            let (share, folder) = &*share;
            let mut done = 0u64;
            for n in (worker..5000).step_by(16) {
                let path = format!("{folder}/file-{n}");
                if put {
                    share.write(&path, &[7; 4096]).await?;
                    done += 4096;
                } else {
                    done += u64::try_from(share.read(&path).await?.len()).unwrap_or(0);
                }
            }
            Ok::<_, countersign_client::Error>(done)
        });
    }
    let mut done = 0;
    while let Some(joined) = tasks.join_next().await {
        done += joined??;
    }
    Ok(done)
}
