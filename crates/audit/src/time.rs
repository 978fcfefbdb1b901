//! Dates, UTC.

/// Days since 1970 of a civil date. Years begin in March, so that the leap day is the last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Seconds since 1970 as `2026-11-22T16:44:35Z`.
pub fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 2);
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Milliseconds since 1970 as `2026-11-22T16:44:35.123Z`.
pub fn rfc3339_ms(milliseconds: u64) -> String {
    let whole = rfc3339(milliseconds / 1000);
    format!(
        "{}.{:03}Z",
        whole.trim_end_matches('Z'),
        milliseconds % 1000
    )
}

/// Seconds since 1970 of `2027-06-30` (its end, so that the day is in), of
/// `2027-06-30T12:00`, `2027-06-30T12:00:30Z` or with a space in between; UTC.
pub fn parse_end(text: &str) -> Option<u64> {
    let text = text.trim();
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time.trim_end_matches('Z'))),
        None => (text, None),
    };
    let number = |text: &str, digits: usize| -> Option<i64> {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())?
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    if parts.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    let days = days_of(year, month, day);
    if date_of(days) != (year, month, day) {
        return None;
    }
    let of_day = match time {
        None => 86_400,
        Some(time) => {
            let mut parts = time.split(':');
            let hour = number(parts.next()?, 2).filter(|n| *n < 24)?;
            let minute = number(parts.next()?, 2).filter(|n| *n < 60)?;
            let second = match parts.next() {
                Some(second) => number(second, 2).filter(|n| *n < 60)?,
                None => 0,
            };
            if parts.next().is_some() {
                return None;
            }
            hour * 3600 + minute * 60 + second
        }
    };
    u64::try_from(days.checked_mul(86_400)?.checked_add(of_day)?).ok()
}

/// Seconds of `30d`, `12h`, `45m`, `90s` or `4w`.
pub fn parse_span(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(split)?;
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_there_and_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_795_365_875, "2026-11-22T16:44:35Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(parse_end(text), Some(seconds));
        }
        assert_eq!(rfc3339_ms(1_005), "1970-01-01T00:00:01.005Z");
        assert_eq!(parse_end("1970-01-01"), Some(86_400));
        assert_eq!(parse_end("1970-01-02 01:30"), Some(86_400 + 5400));
        for wrong in [
            "",
            "tomorrow",
            "2027-6-30",
            "2027-02-29",
            "2027-13-01",
            "2027-06-31",
            "2027-06-30T25:00",
            "2027-06-30T10:61",
            "2027-06-30T10:00:00:00",
            "1969-12-30",
            "2027-06-30-1",
            "+027-06-30",
        ] {
            assert_eq!(parse_end(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(parse_span("30d"), Some(2_592_000));
        assert_eq!(parse_span("90s"), Some(90));
        for wrong in ["", "30", "d", "-1d", "30 d", "99999999999999999999d", "30y"] {
            assert_eq!(parse_span(wrong), None, "{wrong}");
        }
    }
}
