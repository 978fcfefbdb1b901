//! DOS dates and times, [MS-CIFS] 2.2.1.4. They are local time: the server's
//! offset from UTC, which NEGOTIATE told the client, is an argument everywhere.

use crate::FileTime;
use crate::civil::{civil_from_days, days_from_civil};

/// Minutes west of Greenwich, as NEGOTIATE's ServerTimeZone has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeZone {
    /// Minutes to add to local time to get UTC.
    pub minutes_west: i16,
}

/// SMB_DATE and SMB_TIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DosTime {
    /// Bits 9..15 years since 1980, 5..8 month, 0..4 day.
    pub date: u16,
    /// Bits 11..15 hours, 5..10 minutes, 0..4 seconds / 2.
    pub time: u16,
}

impl TimeZone {
    fn offset(self) -> i64 {
        i64::from(self.minutes_west) * 60
    }

    /// UTIME: seconds of local time since 1970; 0 and the two ends of the
    /// range mean "not set".
    pub fn from_utime(self, seconds: u32) -> Option<FileTime> {
        match seconds {
            0 | u32::MAX => None,
            s => Some(FileTime::from_unix(i64::from(s) + self.offset(), 0)),
        }
    }

    /// UTIME of a time; what does not fit is 0.
    pub fn to_utime(self, time: FileTime) -> u32 {
        if time.0 == 0 {
            return 0;
        }
        let (seconds, _) = time.to_unix();
        u32::try_from(seconds.saturating_sub(self.offset())).unwrap_or(0)
    }

    /// The time of an SMB_DATE and SMB_TIME; zeros and ones mean "not set".
    pub fn from_dos(self, dos: DosTime) -> Option<FileTime> {
        if (dos.date == 0 && dos.time == 0) || (dos.date == u16::MAX && dos.time == u16::MAX) {
            return None;
        }
        let year = 1980 + i64::from(dos.date >> 9);
        let month = i64::from(dos.date >> 5 & 15).clamp(1, 12);
        let day = i64::from(dos.date & 31).max(1);
        let seconds = i64::from(dos.time >> 11) * 3600
            + i64::from(dos.time >> 5 & 63) * 60
            + i64::from(dos.time & 31) * 2;
        let days = days_from_civil(year, month, day);
        Some(FileTime::from_unix(
            days * 86_400 + seconds + self.offset(),
            0,
        ))
    }

    /// SMB_DATE and SMB_TIME of a time; what is before 1980 is zero.
    pub fn to_dos(self, time: FileTime) -> DosTime {
        let (seconds, _) = time.to_unix();
        let local = seconds.saturating_sub(self.offset());
        if time.0 == 0 || local < 315_532_800 {
            return DosTime::default();
        }
        let (year, month, day) = civil_from_days(local.div_euclid(86_400));
        let second = local.rem_euclid(86_400);
        let bits = |v: i64| u16::try_from(v).unwrap_or(0);
        if year > 2107 {
            return DosTime {
                date: 0xFF9F,
                time: 0xBF7D,
            };
        }
        DosTime {
            date: bits((year - 1980) << 9 | month << 5 | day),
            time: bits(((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2)),
        }
    }
}

/// The path component that names a snapshot, [MS-SMB] 2.2.1.1.1: `@GMT-` and
/// the time in UTC.
pub fn gmt_token(time: FileTime) -> String {
    let (seconds, _) = time.to_unix();
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    format!(
        "@GMT-{year:04}.{month:02}.{day:02}-{:02}.{:02}.{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let zone = TimeZone { minutes_west: -60 };
        // 2026-11-22 16:08:30 UTC is 17:08:30 one hour east.
        let t = FileTime::from_unix(1_795_363_710, 0);
        let dos = zone.to_dos(t);
        assert_eq!(dos.date, (46 << 9) | (11 << 5) | 22);
        assert_eq!(dos.time, (17 << 11) | (8 << 5) | 15);
        assert_eq!(zone.from_dos(dos), Some(t));
        assert_eq!(zone.to_utime(t), 1_795_363_710 + 3600);
        assert_eq!(zone.from_utime(1_795_363_710 + 3600), Some(t));
        assert_eq!(gmt_token(t), "@GMT-2026.11.22-16.08.30");
    }

    #[test]
    fn every_day_of_the_range_goes_there_and_back() {
        let zone = TimeZone::default();
        for day in 3652..50_000 {
            let t = FileTime::from_unix(day * 86_400 + 86_398, 0);
            assert_eq!(zone.from_dos(zone.to_dos(t)), Some(t));
        }
    }

    #[test]
    fn unset_and_impossible_times() {
        let zone = TimeZone::default();
        assert_eq!(zone.from_utime(0), None);
        assert_eq!(zone.from_utime(u32::MAX), None);
        assert_eq!(zone.from_dos(DosTime { date: 0, time: 0 }), None);
        assert_eq!(
            zone.from_dos(DosTime {
                date: u16::MAX,
                time: u16::MAX
            }),
            None
        );
        assert_eq!(zone.to_dos(FileTime::from_unix(0, 0)), DosTime::default());
        assert_eq!(zone.to_utime(FileTime(0)), 0);
        assert_eq!(zone.to_dos(FileTime(u64::MAX)).date, 0xFF9F);
        // Month and day zero are taken as the first.
        assert!(
            zone.from_dos(DosTime {
                date: 1 << 9,
                time: 0
            })
            .is_some()
        );
    }
}
