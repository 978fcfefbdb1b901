//! The oracle of the verifier: any bytes as a capture, and any bytes as packets.

use countersign_verify::{CaptureReader, Packet, Report, Secrets, Verifier, verify};

/// The first byte chooses: the rest is a capture file, or packets of one TCP
/// connection, each with a byte for its direction and one for its length.
pub fn verifier(bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    let mut secrets = Secrets::new();
    secrets.add_password("alice", "Passw0rd!");
    secrets.add_session_key(1, vec![7; 16]);
    let mut verifier = Verifier::new(secrets);
    if mode & 1 == 0 {
        let whole = verify(CaptureReader::new(rest), &mut verifier, |_| {}).is_ok();
        let report = verifier.finish();
        judged(&report);
        if whole {
            in_pieces(rest, &report);
        }
        return;
    }
    let mut next = [1_u32, 1];
    let mut left = rest;
    let mut number = 0;
    while let Some(([side, length], more)) = left.split_first_chunk::<2>() {
        let (data, after) = more.split_at(more.len().min(usize::from(*length) * 4));
        left = after;
        number += 1;
        let own = usize::from(side & 1);
        let seq = next.get(own).copied().unwrap_or(0);
        let peer = next.get(1 - own).copied().unwrap_or(0);
        // A bit each: a gap before, sent again, not sent at all.
        let gap = if side & 2 != 0 { 9 } else { 0 };
        let from = if side & 4 != 0 {
            seq.wrapping_sub(5)
        } else {
            seq.wrapping_add(gap)
        };
        let packet = segment(own, from, peer, data);
        if side & 8 == 0 {
            let data = &packet;
            verifier.packet(&Packet {
                number,
                link: 101,
                data,
                original: data.len(),
            });
        }
        if let Some(next) = next.get_mut(own) {
            *next = from.wrapping_add(u32::try_from(data.len()).unwrap_or(0));
        }
    }
    judged(&verifier.finish());
}

/// However a capture arrives, the result is the same.
fn in_pieces(bytes: &[u8], want: &Report) {
    struct One<'a>(&'a [u8]);
    impl std::io::Read for One<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let n = out.len().min(97);
            self.0.read(out.get_mut(..n).unwrap_or_default())
        }
    }
    let mut secrets = Secrets::new();
    secrets.add_password("alice", "Passw0rd!");
    secrets.add_session_key(1, vec![7; 16]);
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(One(bytes)), &mut verifier, |_| {}).expect("it was read before");
    assert_eq!(verifier.finish().counts, want.counts);
}

/// Every bad message has a finding, and the sessions' counts are no more than all.
fn judged(report: &Report) {
    let bad = report
        .findings
        .iter()
        .filter(|f| f.counted == countersign_verify::Counted::Bad);
    let found = bad.count() as u64;
    assert!(found == report.counts.bad || report.findings_left_off > 0);
    let sessions: u64 = report.sessions.iter().map(|s| s.counts.verified).sum();
    assert!(sessions <= report.counts.verified);
}

fn segment(side: usize, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
    let ports = [[0x9C, 0x40], [0x01, 0xBD]];
    let mut out = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
    out.extend([10, 0, 0, u8::from(side == 1), 10, 0, 0, u8::from(side == 0)]);
    out.extend(ports.get(side).copied().unwrap_or_default());
    out.extend(ports.get(1 - side).copied().unwrap_or_default());
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    out.extend_from_slice(data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captures as they are and cut off, and their bytes as packets of one connection.
    #[test]
    fn captures_pass() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
        for name in [
            "smb311-multichannel-bind",
            "smb300-enc-128-ccm",
            "nt1-multisession",
            "kerberos-SMB3_11",
            "smb210-compound",
        ] {
            let bytes = std::fs::read(format!("{folder}/{name}.pcapng")).expect("capture");
            verifier(&[&[0][..], &bytes].concat());
            verifier(&[&[0][..], &bytes[..bytes.len() * 2 / 3]].concat());
            verifier(&[&[1][..], &bytes].concat());
        }
    }
}
