//! [MS-CIFS] 3.3.5.55 QUERY_INFORMATION_DISK.

use countersign_fs::{FsCall, FsReply};
use countersign_wire::NtStatus;
use countersign_wire::smb1::Block;
use countersign_wire::smb1::paths::QueryInformationDiskResponseWords;

use super::request::{Answer, Reply, Request, Stop};

pub(super) async fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    block.expect_words(&[0])?;
    let facts = match cx.call(FsCall::Volume).await? {
        FsReply::Volume(facts) => facts,
        _ => return Err(Stop::Status(NtStatus::INTERNAL_ERROR)),
    };
    Ok(Reply::words(
        words(facts.total_bytes, facts.available_bytes).to_vec(),
    ))
}

/// Sizes in 16-bit counts: blocks of 512 bytes, and as many of them to a unit
/// as it takes; what is larger still is cut.
fn words(total: u64, free: u64) -> QueryInformationDiskResponseWords {
    let mut blocks_per_unit = 64_u16;
    while blocks_per_unit < 0x4000
        && total / (512 * u64::from(blocks_per_unit)) > u64::from(u16::MAX)
    {
        blocks_per_unit *= 2;
    }
    let units =
        |bytes: u64| u16::try_from(bytes / (512 * u64::from(blocks_per_unit))).unwrap_or(u16::MAX);
    QueryInformationDiskResponseWords {
        total_units: units(total),
        blocks_per_unit,
        block_size: 512,
        free_units: units(free),
        reserved: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn small_disks_have_dos_units_and_large_ones_larger() {
        let w = words(1 << 30, 1 << 29);
        assert_eq!(
            (w.blocks_per_unit, w.block_size, w.total_units, w.free_units),
            (64, 512, 32_768, 16_384)
        );
        let w = words(1 << 36, 1 << 35);
        assert_eq!(
            u64::from(w.total_units) * u64::from(w.blocks_per_unit) * 512,
            1 << 36
        );
        let w = words(u64::MAX, u64::MAX);
        assert_eq!((w.total_units, w.blocks_per_unit), (u16::MAX, 0x4000));
    }
}
