//! A server that answers anything at all, for fuzzing and tests.

use std::time::Duration;

use countersign_wire::smb2::dialect;
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

use crate::exchange::Exchange;
use crate::prove::Credentials;
use crate::smb2::Offer;
use crate::{session1, session2, smb1, smb2};

/// Longest script, bytes.
const MAX_SCRIPT: usize = 1 << 18;

/// Asks servers that answer with `script`, whatever it is: SMB1 and SMB2, names and
/// a logon. The first byte chooses the dialect. Nothing may panic.
pub fn answers(script: &[u8]) {
    let Some((choice, script)) = script.split_first() else {
        return;
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return;
    };
    runtime.block_on(ask(*choice, script));
}

async fn ask(choice: u8, script: &[u8]) {
    let (ours, mut theirs) = tokio::io::duplex(MAX_SCRIPT);
    if script.len() >= MAX_SCRIPT || theirs.write_all(script).await.is_err() {
        return;
    }
    // Nothing follows the script, so no answer is waited for.
    if theirs.shutdown().await.is_err() {
        return;
    }
    let exchange = Exchange::over(ours, Duration::from_secs(1));
    let who = Credentials {
        user: "user".to_owned(),
        domain: String::new(),
        password: Zeroizing::new("password".to_owned()),
    };
    match choice % 8 {
        0 | 1 => {
            if let Ok((mut link, _)) = smb1::negotiate(exchange, choice & 1 == 0).await {
                if choice & 8 == 0 {
                    let _ = smb1::names(&mut link).await;
                } else {
                    let _ = session1::logon(&mut link, &who).await;
                }
            }
        }
        number => {
            let id = match number {
                2 => dialect::SMB_2_0_2,
                3 => dialect::SMB_2_1,
                4 => dialect::SMB_3_0,
                5 => dialect::SMB_3_0_2,
                _ => dialect::SMB_3_1_1,
            };
            if let Ok((mut link, _)) = smb2::negotiate(exchange, &Offer::all(id)).await {
                if choice & 8 == 0 {
                    let _ = session2::names(&mut link).await;
                } else {
                    let _ = session2::logon(&mut link, &who).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        #[test]
        fn nothing_panics(
            choice: u8,
            head in proptest::sample::select(vec![b"\xFESMB".as_slice(), b"\xFFSMB", b""]),
            tail in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let mut script = vec![choice];
            let length = u32::try_from(head.len() + tail.len()).unwrap();
            script.extend(length.to_be_bytes());
            script.extend_from_slice(head);
            script.extend(tail);
            super::answers(&script);
        }
    }
}
