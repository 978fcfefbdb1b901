//! The same traffic of real peers however it was captured: link types, VLAN tags,
//! fragments of IP, several interfaces, short snapshots, a late start.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test's way to fail; made of what is known"
)]

use std::path::Path;

use countersign_verify::{
    CaptureReader, Cause, Counted, Finding, Next, Report, Secrets, Verifier, verify,
};

const CAPTURES: [&str; 4] = [
    "smb300-enc-128-ccm.pcapng",
    "smb210-badsig.pcapng",
    "nt1-signed-ntlmv2-spnego.pcapng",
    "smb311-multichannel-bind.pcapng",
];

fn kept(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    std::fs::read(folder.join(name)).unwrap()
}

fn report(bytes: &[u8]) -> Report {
    let mut secrets = Secrets::new();
    secrets.add_password("alice", "Passw0rd!");
    secrets.add_password("bob", "S3cret#2b");
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(bytes), &mut verifier, |_| {}).unwrap();
    verifier.finish()
}

fn counts(r: &Report) -> [u64; 4] {
    let c = r.counts;
    [c.verified, c.bad, c.unsigned, c.decrypted]
}

/// Bad messages that are more than without a key.
fn accused(r: &Report) -> u64 {
    let bad = |f: &&Finding| f.counted == Counted::Bad && f.cause != Cause::NoKey;
    r.findings.iter().filter(bad).count() as u64
}

/// The IPv4 packets of a kept capture.
fn packets(file: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = CaptureReader::new(file);
    let mut out = Vec::new();
    loop {
        match reader.next_packet().unwrap() {
            Next::Packet(p) => {
                let skip = match p.link {
                    1 => 14,
                    0 => 4,
                    113 => 16,
                    _ => 0,
                };
                let ip = &p.data[skip..];
                assert_eq!(ip[0], 0x45, "a capture of IPv4");
                let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
                out.push(ip[..length].to_vec());
            }
            Next::Need => {
                if !reader.fill().unwrap() {
                    return out;
                }
            }
        }
    }
}

/// The same segment in IPv6.
fn v6(ip: &[u8], fragment: Option<[u8; 8]>) -> Vec<u8> {
    let extra = fragment.map_or(0, |_| 8);
    let mut out = vec![0x60, 0, 0, 0];
    out.extend(u16::try_from(ip.len() - 20 + extra).unwrap().to_be_bytes());
    out.extend([if extra > 0 { 44 } else { 6 }, 64]);
    for at in [12, 16] {
        out.extend([0xFD; 12]);
        out.extend(&ip[at..at + 4]);
    }
    out.extend(fragment.unwrap_or_default().iter().take(extra));
    out.extend(&ip[20..]);
    out
}

/// Pieces of an IPv4 packet, the last first.
fn fragments(ip: &[u8], id: u16, six: bool) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let pieces: Vec<&[u8]> = ip[20..].chunks(64).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let mut head = ip[..20].to_vec();
        head[2..4].copy_from_slice(&u16::try_from(20 + piece.len()).unwrap().to_be_bytes());
        head[4..6].copy_from_slice(&id.to_be_bytes());
        let more = n + 1 < pieces.len();
        let place = (n * 8) as u16 | u16::from(more) << 13;
        head[6..8].copy_from_slice(&place.to_be_bytes());
        let whole = [&head[..], piece].concat();
        out.push(if six {
            let place = (n * 64) as u16 | u16::from(more);
            let [a, b] = place.to_be_bytes();
            let [c, d] = id.to_be_bytes();
            v6(&whole, Some([6, 0, a, b, 0, 0, c, d]))
        } else {
            whole
        });
    }
    out.reverse();
    out
}

fn pcap(link: u32, magic: u32, packets: impl Iterator<Item = Vec<u8>>, snap: usize) -> Vec<u8> {
    let mut out: Vec<u8> = [magic, 0x0004_0002, 0, 0, 262_144, link]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    for p in packets {
        let cut = p.len().min(snap);
        for v in [1, 2, cut as u32, p.len() as u32] {
            out.extend(v.to_le_bytes());
        }
        out.extend(&p[..cut]);
    }
    out
}

fn behind(head: &[u8]) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |ip| [head, &ip].concat()
}

#[test]
fn every_link_type_gives_the_same_counts() {
    let mac = [0u8; 12];
    let ether = |tags: &[u8], kind: [u8; 2]| [&mac[..], tags, &kind].concat();
    let mut sll2 = vec![8, 0];
    sll2.extend([0; 18]);
    let four: Vec<(&str, u32, Vec<u8>)> = vec![
        ("Ethernet", 1, ether(&[], [8, 0])),
        ("VLAN", 1, ether(&[0x81, 0, 0, 5], [8, 0])),
        ("QinQ", 1, ether(&[0x88, 0xA8, 0, 5, 0x81, 0, 0, 6], [8, 0])),
        ("Linux cooked", 113, [&[0; 14][..], &[8, 0]].concat()),
        ("Linux cooked v2", 276, sll2.clone()),
        ("raw IP", 101, vec![]),
        ("BSD loopback", 0, vec![2, 0, 0, 0]),
        ("OpenBSD loopback", 108, vec![0, 0, 0, 2]),
        ("IPv4", 228, vec![]),
    ];
    let six: Vec<(&str, u32, Vec<u8>)> = vec![
        ("Ethernet", 1, ether(&[], [0x86, 0xDD])),
        ("VLAN", 1, ether(&[0x81, 0, 0, 5], [0x86, 0xDD])),
        ("Linux cooked", 113, [&[0; 14][..], &[0x86, 0xDD]].concat()),
        (
            "Linux cooked v2",
            276,
            [&[0x86, 0xDD][..], &sll2[2..]].concat(),
        ),
        ("raw IP", 101, vec![]),
        ("BSD loopback", 0, vec![30, 0, 0, 0]),
        ("IPv6", 229, vec![]),
    ];
    for name in CAPTURES {
        let file = kept(name);
        let want = counts(&report(&file));
        let all = packets(&file);
        for (what, link, head) in &four {
            // Nanoseconds.
            let packets = all.iter().cloned().map(behind(head));
            let file = pcap(*link, 0xA1B2_3C4D, packets, 1 << 20);
            assert_eq!(counts(&report(&file)), want, "{name}: {what}");
        }
        for (what, link, head) in &six {
            let packets = all.iter().map(|p| v6(p, None)).map(behind(head));
            let file = pcap(*link, 0xA1B2_C3D4, packets, 1 << 20);
            assert_eq!(counts(&report(&file)), want, "{name}: {what}, IPv6");
        }
        let file = pcap(127, 0xA1B2_C3D4, all.iter().cloned(), 1 << 20);
        let r = report(&file);
        assert_eq!(counts(&r), [0; 4]);
        assert_eq!(r.unknown_links.get(&127), Some(&(all.len() as u64)));
    }
}

#[test]
fn fragments_give_the_same_counts() {
    for name in CAPTURES {
        let file = kept(name);
        let want = counts(&report(&file));
        let all = packets(&file);
        for six in [false, true] {
            let pieces: Vec<Vec<u8>> = (1..)
                .zip(&all)
                .flat_map(|(id, p)| fragments(p, id, six))
                .collect();
            let file = pcap(101, 0xA1B2_C3D4, pieces.iter().cloned(), 1 << 20);
            let r = report(&file);
            assert_eq!(counts(&r), want, "{name}");
            assert_eq!(r.datagrams_incomplete, 0);
            // One fragment is missing: what was in its datagram is, nothing is bad.
            let part = |p: &Vec<u8>| match six {
                true => p[43] & 1 != 0,
                false => p[6] & 0x20 != 0,
            };
            let gone = (40..).find(|n| part(&pieces[*n])).unwrap();
            let lossy = pieces.iter().enumerate().filter(|(n, _)| *n != gone);
            let file = pcap(101, 0xA1B2_C3D4, lossy.map(|(_, p)| p.clone()), 1 << 20);
            let r = report(&file);
            assert_eq!(r.datagrams_incomplete, 1, "{name}");
            assert!(accused(&r) <= want[1], "{name}: {:?}", r.findings);
            assert!(counts(&r)[0] < want[0] + want[3], "{name}");
        }
    }
}

#[test]
fn interfaces_of_a_pcapng_have_their_own_links_and_clocks() {
    let block = |out: &mut Vec<u8>, kind: u32, body: &[u8]| {
        let length = (12 + body.len().next_multiple_of(4)) as u32;
        out.extend(kind.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(length.to_le_bytes());
    };
    for name in CAPTURES {
        let file = kept(name);
        let want = counts(&report(&file));
        let mut out = Vec::new();
        let mut section = 0x1A2B_3C4Du32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xFF; 8]);
        block(&mut out, 0x0A0D_0D0A, &section);
        // Nanoseconds (option 9), the second without.
        let mut first = vec![1, 0, 0, 0, 0, 0, 4, 0];
        first.extend([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        block(&mut out, 1, &first);
        block(&mut out, 1, &[113, 0, 0, 0, 0, 0, 4, 0]);
        // Blocks that are neither: names, statistics, one of nobody's.
        block(&mut out, 4, &[0; 4]);
        block(&mut out, 0x0BAD, &[7; 21]);
        for (n, p) in packets(&file).into_iter().enumerate() {
            let packet = match n % 2 {
                0 => [&[0u8; 12][..], &[8, 0], &p].concat(),
                _ => [&[0u8; 14][..], &[8, 0], &p].concat(),
            };
            let mut body = Vec::new();
            for v in [(n % 2) as u32, 0x0017_0000, 5] {
                body.extend(v.to_le_bytes());
            }
            for _ in 0..2 {
                body.extend((packet.len() as u32).to_le_bytes());
            }
            body.extend(&packet);
            block(&mut out, 6, &body);
        }
        let r = report(&out);
        assert_eq!(counts(&r), want, "{name}");
    }
}

#[test]
fn a_short_snapshot_is_told_and_nothing_is_bad() {
    for name in CAPTURES {
        let file = kept(name);
        let bad = counts(&report(&file))[1];
        let all = packets(&file);
        for snap in [60, 96, 200] {
            let r = report(&pcap(101, 0xA1B2_C3D4, all.iter().cloned(), snap));
            let long = all.iter().filter(|p| p.len() > snap).count() as u64;
            let told: u64 = r.connections.iter().map(|c| c.cut).sum();
            assert_eq!(r.packets_cut, long, "{name} {snap}");
            if !r.connections.is_empty() {
                assert_eq!(told, long, "{name} {snap}");
            }
            // Without the logon nothing can be checked, but nothing is accused.
            assert!(accused(&r) <= bad, "{name} {snap}: {:?}", r.findings);
        }
    }
}

#[test]
fn a_late_start_accuses_nobody() {
    for name in CAPTURES {
        let file = kept(name);
        let bad = counts(&report(&file))[1];
        let all = packets(&file);
        for skip in [1, 9, 20, 33] {
            let file = pcap(101, 0xA1B2_C3D4, all.iter().skip(skip).cloned(), 1 << 20);
            let r = report(&file);
            assert!(accused(&r) <= bad, "{name} {skip}: {:?}", r.findings);
        }
    }
}
