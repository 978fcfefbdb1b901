//! The kept captures of real peers verify to the counts that the independent
//! verifier (`testdata/tools/verify.py`) recorded in their manifest.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's way to fail"
)]

use std::path::{Path, PathBuf};

use countersign_verify::{CaptureReader, Report, Secrets, Verifier, verify};

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures")
}

fn secrets() -> Secrets {
    let mut secrets = Secrets::new();
    secrets.add_password("alice", "Passw0rd!");
    secrets.add_password("bob", "S3cret#2b");
    let keys = std::fs::read(captures().join("krb5-service-keys.txt")).unwrap();
    secrets.add_keytab(&keys).unwrap();
    secrets
}

fn report(bytes: &[u8], secrets: Secrets) -> Report {
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(bytes), &mut verifier, |_| {}).unwrap();
    verifier.finish()
}

#[test]
fn all_captures_give_the_counts_of_the_independent_verifier() {
    let manifest = std::fs::read_to_string(captures().join("manifest.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in manifest.lines() {
        if line.starts_with('#') || line.starts_with("capture\t") {
            continue;
        }
        let row: Vec<&str> = line.split('\t').collect();
        let want: Vec<u64> = row[8..11].iter().map(|n| n.parse().unwrap()).collect();
        let bytes = std::fs::read(captures().join(row[0])).unwrap();
        let got = report(&bytes, secrets());
        let c = got.counts;
        if [c.verified, c.bad, c.unsigned] != want[..] {
            wrong.push(format!("{}: {c:?}, recorded {want:?}", row[0]));
            for f in got.findings.iter().take(3) {
                wrong.push(format!("    {f:?}"));
            }
        }
        rows += 1;
    }
    assert!(rows >= 125, "only {rows} captures");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
