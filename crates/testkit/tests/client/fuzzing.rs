//! The fuzz target over a fixed stream of bytes, in the ordinary test run.

use countersign_core::client::Entropy;
use countersign_testkit::duo::Counting;
use countersign_testkit::fuzz_client::client;

#[test]
fn bytes_of_any_kind_do_no_harm() {
    let mut random = Counting(42);
    for round in 0..400u32 {
        let mut length = [0; 2];
        random.fill(&mut length);
        let mut data = vec![0; usize::from(u16::from_le_bytes(length) % 3000)];
        random.fill(&mut data);
        // Every dialect and choice in turn; most messages dressed as replies.
        let mut input = vec![(round % 128) as u8];
        for part in data.chunks(150) {
            input.push(if round % 3 == 0 {
                part[0]
            } else {
                part[0] & 3 | 1
            });
            input.extend_from_slice(&u16::try_from(part.len()).unwrap().to_le_bytes());
            input.extend_from_slice(part);
        }
        client(&input);
    }
}

#[test]
fn bodies_with_wrong_lengths_do_no_harm() {
    // Replies whose bodies have a right StructureSize and anything behind it.
    let mut random = Counting(7);
    for size in [4u16, 9, 16, 17, 25, 49, 57, 60, 65, 89] {
        for dialect in 0..5u8 {
            let mut input = vec![16 | dialect];
            for _ in 0..30 {
                let mut body = [0; 120];
                random.fill(&mut body);
                let mut frame = vec![0; 64];
                frame.extend_from_slice(&size.to_le_bytes());
                frame.extend_from_slice(&body);
                input.push(1);
                input.extend_from_slice(&u16::try_from(frame.len()).unwrap().to_le_bytes());
                input.extend_from_slice(&frame);
            }
            client(&input);
        }
    }
}
