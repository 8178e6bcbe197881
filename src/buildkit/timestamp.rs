//! Points in time, as Go writes them into JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Days in a 400-year cycle of the Gregorian calendar.
const CYCLE_DAYS: i64 = 146_097;
const DAY_SECONDS: i64 = 86_400;

/// A point in time between the years 0 and 9999, to the nanosecond.
///
/// Read with any offset and written in UTC without trailing zeros, as Go's
/// `time.Time` does in JSON (RFC 3339 with nanoseconds; go1.26 `time/format_rfc3339.go`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Since the beginning of the year 0.
    seconds: i64,
    nanos: u32,
}

/// A text that is no point in time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written 2006-01-02T15:04:05.999999999Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// Go's zero time, which stands for none.
    pub const ZERO: Self = Self { seconds: 366 * DAY_SECONDS, nanos: 0 };

    /// The same, or `None` for [`Self::ZERO`].
    pub(super) fn known(self) -> Option<Self> {
        (self != Self::ZERO).then_some(self)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// From the beginning of the year 0 to that of `year`.
fn days_before_year(year: i64) -> i64 {
    year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400
}

fn month_days(year: i64) -> [i64; 12] {
    [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Year, month and day, counted from 1, of a day counted from the beginning of the year 0.
fn date(day: i64) -> (i64, usize, i64) {
    let mut year = day * 400 / CYCLE_DAYS;
    while days_before_year(year) > day {
        year -= 1;
    }
    while days_before_year(year + 1) <= day {
        year += 1;
    }
    let mut rest = day - days_before_year(year);
    for (month, days) in month_days(year).into_iter().enumerate() {
        if rest < days {
            return (year, month + 1, rest + 1);
        }
        rest -= days;
    }
    unreachable!("a year's months have all its days")
}

/// `text` as a number of just so many digits as it has.
fn number(text: Option<&str>) -> Result<i64, InvalidTimestamp> {
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or(InvalidTimestamp)?;
    text.parse().map_err(|_| InvalidTimestamp)
}

/// `text` as a number, if it is below `end`.
fn below(end: i64, text: Option<&str>) -> Result<i64, InvalidTimestamp> {
    number(text).ok().filter(|number| *number < end).ok_or(InvalidTimestamp)
}

/// The seconds of `2006-01-02T15:04:05` since the beginning of the year 0.
fn seconds(text: &str) -> Result<i64, InvalidTimestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 19
        || [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')].iter().any(|(at, sign)| bytes[*at] != *sign)
    {
        return Err(InvalidTimestamp);
    }
    let year = number(text.get(..4))?;
    let month = number(text.get(5..7))?.checked_sub(1).and_then(|month| usize::try_from(month).ok()).ok_or(InvalidTimestamp)?;
    let months = month_days(year);
    let days = *months.get(month).ok_or(InvalidTimestamp)?;
    let day = below(days + 1, text.get(8..10))?.checked_sub(1).filter(|day| *day >= 0).ok_or(InvalidTimestamp)?;
    let day = days_before_year(year) + months[..month].iter().sum::<i64>() + day;
    let (hour, minute, second) = (below(24, text.get(11..13))?, below(60, text.get(14..16))?, below(60, text.get(17..))?);
    Ok(day * DAY_SECONDS + hour * 3600 + minute * 60 + second)
}

/// The nanoseconds of `.999`, or of nothing. What is finer is cut off, as Go does.
fn nanos(text: &str) -> Result<u32, InvalidTimestamp> {
    let Some(digits) = text.strip_prefix('.') else {
        return if text.is_empty() { Ok(0) } else { Err(InvalidTimestamp) };
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidTimestamp);
    }
    let digits = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    Ok(digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')))
}

/// The seconds by which `Z` or `+07:00` is ahead of UTC, and what stands before it.
fn offset(text: &str) -> Result<(&str, i64), InvalidTimestamp> {
    if let Some(rest) = text.strip_suffix('Z') {
        return Ok((rest, 0));
    }
    let at = text.len().checked_sub(6).ok_or(InvalidTimestamp)?;
    let (rest, zone) = (text.get(..at).ok_or(InvalidTimestamp)?, text.get(at..).ok_or(InvalidTimestamp)?);
    let sign = match zone.as_bytes() {
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return Err(InvalidTimestamp),
    };
    Ok((rest, sign * (below(24, zone.get(1..3))? * 3600 + below(60, zone.get(4..))? * 60)))
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let (rest, ahead) = offset(text)?;
        let (whole, fraction) = rest.split_at_checked(19).ok_or(InvalidTimestamp)?;
        let seconds = seconds(whole)? - ahead;
        let years = 0..days_before_year(10_000) * DAY_SECONDS;
        if years.contains(&seconds) { Ok(Self { seconds, nanos: nanos(fraction)? }) } else { Err(InvalidTimestamp) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds / DAY_SECONDS);
        let second = self.seconds % DAY_SECONDS;
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)?;
        if self.nanos > 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_written_in_utc_without_trailing_zeros() {
        for (text, written) in [
            ("2026-11-22T04:02:41.344977119Z", "2026-11-22T04:02:41.344977119Z"),
            ("2026-11-22T04:02:41.500Z", "2026-11-22T04:02:41.5Z"),
            ("2026-11-22T04:02:41.1234567899Z", "2026-11-22T04:02:41.123456789Z"),
            ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00Z"),
            ("2000-01-01T00:00:00+00:30", "1999-12-31T23:30:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), written, "{text}");
        }
        assert_eq!("0001-01-01T00:00:00Z".parse(), Ok(Timestamp::ZERO));
    }

    #[test]
    fn what_go_would_not_read_is_no_time() {
        for text in [
            "",
            "Z",
            "2026-11-22",
            "2026-11-22t04:02:41Z",
            "2026-11-22T04:02:41",
            "2026-11-22T04:02:41z",
            "2026-11-22T4:02:41Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+0100",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:0éZ",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_itself_and_texts_order_as_times(seconds in 0..days_before_year(10_000) * DAY_SECONDS, nanos in 0..1_000_000_000_u32, later in 1..100_000_i64) {
            let time = Timestamp { seconds, nanos };
            prop_assert_eq!(time.to_string().parse(), Ok(time));

            let other = Timestamp { seconds: seconds + later, nanos: 0 };
            if seconds + later < days_before_year(10_000) * DAY_SECONDS {
                prop_assert!(time < other && time.to_string()[..19] < other.to_string()[..19]);
            }
        }

        #[test]
        fn any_text_is_a_time_or_none(text in r"[0-9]{3,4}-[0-9]{2}-[0-9]{2}T[0-9:.Zé+-]{0,20}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
