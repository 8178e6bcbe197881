//! Times and sizes, which always carry their unit, and numbers of what has none.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The units of time, the longest first, in seconds.
const TIMES: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// The units of size, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a text is no time or size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUnit {
    /// It is not a number with a unit of time.
    #[error("a time is a whole number and its unit, such as 90s, 3m, 24h or 1m30s; the units are s, m, h and d")]
    Time,
    /// It is not a number with a unit of size.
    #[error("a size is a whole number and its unit, such as 64MiB; the units are KiB, MiB, GiB, TiB, KB, MB, GB, TB and B")]
    Size,
    /// It is not a number.
    #[error("must be a whole number")]
    Number,
    /// Less than the setting can be.
    #[error("must be at least {0}")]
    TooLittle(String),
    /// More than the setting can be.
    #[error("must be at most {0}")]
    TooMuch(String),
}

/// The time that `text` says, if it is one of `allowed`.
pub fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, InvalidUnit> {
    let seconds = seconds(text).ok_or(InvalidUnit::Time)?;
    let bounds = allowed.start().as_secs()..=allowed.end().as_secs();
    within(seconds, &bounds, TIMES).map(Duration::from_secs)
}

/// The number of bytes that `text` says, if it is one of `allowed`.
pub fn size(text: &str, allowed: &RangeInclusive<u64>) -> Result<u64, InvalidUnit> {
    let (number, unit) = number_and_rest(text).ok_or(InvalidUnit::Size)?;
    let factor = factor(unit, SIZES).ok_or(InvalidUnit::Size)?;
    within(number.saturating_mul(factor), allowed, SIZES)
}

/// The number that `text` says, if it is one of `allowed`.
pub fn number(text: &str, allowed: &RangeInclusive<usize>) -> Result<usize, InvalidUnit> {
    let number = text.parse().map_err(|_| InvalidUnit::Number)?;
    match number {
        _ if number < *allowed.start() => Err(InvalidUnit::TooLittle(allowed.start().to_string())),
        _ if number > *allowed.end() => Err(InvalidUnit::TooMuch(allowed.end().to_string())),
        _ => Ok(number),
    }
}

/// The seconds in `1h30m`: numbers with units, the longest first.
fn seconds(mut text: &str) -> Option<u64> {
    let (mut total, mut longer) = (0_u64, u64::MAX);
    loop {
        let (number, rest) = number_and_rest(text)?;
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = factor(&rest[..end], TIMES).filter(|factor| *factor < longer)?;
        total = total.saturating_add(number.saturating_mul(factor));
        if end == rest.len() {
            return Some(total);
        }
        (text, longer) = (&rest[end..], factor);
    }
}

/// A number at the beginning of `text`, and what follows it.
fn number_and_rest(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// How much a unit is.
fn factor(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// `value`, if it is one of `allowed`.
fn within(value: u64, allowed: &RangeInclusive<u64>, units: &[(&str, u64)]) -> Result<u64, InvalidUnit> {
    if value < *allowed.start() {
        return Err(InvalidUnit::TooLittle(written(*allowed.start(), units)));
    }
    if value > *allowed.end() {
        return Err(InvalidUnit::TooMuch(written(*allowed.end(), units)));
    }
    Ok(value)
}

/// A time as it is read: `3d10m`.
pub fn written_time(time: Duration) -> String {
    let (mut text, mut rest) = (String::new(), time.as_secs());
    for (name, factor) in TIMES {
        if rest >= *factor {
            text += &format!("{}{name}", rest / factor);
        }
        rest %= factor;
    }
    text
}

/// `value` in the largest unit that divides it.
fn written(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{value}"), |(name, factor)| format!("{}{name}", value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
    const BYTES: RangeInclusive<u64> = (1 << 10)..=(1 << 30);

    #[test]
    fn times_are_numbers_with_units() {
        for (text, seconds) in [("1s", 1), ("120s", 120), ("3m", 180), ("1h", 3600), ("1m30s", 90), ("0h59m", 3540)] {
            assert_eq!(duration(text, &HOUR), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(duration(&written_time(Duration::from_secs(seconds)), &HOUR), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "5", "s", "5 s", "5x", "-5s", "1.5h", "5S", "30s1m", "1m1m", "5s5", "99999999999999999999s", "5ms", "²s"]
        {
            assert_eq!(duration(text, &HOUR), Err(InvalidUnit::Time), "{text}");
        }
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in [("1KiB", 1024), ("2KB", 2000), ("64MiB", 64 << 20), ("100MB", 100_000_000), ("4096B", 4096)] {
            assert_eq!(size(text, &BYTES), Ok(bytes), "{text}");
        }
        for text in ["", "5", "64Mi", "64M", "64mib", "MiB", "-1MiB", "1.5GiB", "64 MiB"] {
            assert_eq!(size(text, &BYTES), Err(InvalidUnit::Size), "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_and_bounded() {
        for (text, outcome) in
            [("1", Ok(1)), ("100", Ok(100)), ("0", Err("must be at least 1")), ("101", Err("must be at most 100"))]
        {
            assert_eq!(number(text, &(1..=100)).map_err(|error| error.to_string()), outcome.map_err(str::to_owned), "{text}");
        }
        for text in ["", "1.5", "-1", "0x10", "1_000", "4KiB", "99999999999999999999999"] {
            assert_eq!(number(text, &(1..=100)), Err(InvalidUnit::Number), "{text}");
        }
    }

    #[test]
    fn a_bound_is_named_in_its_unit() {
        for (outcome, message) in [
            (duration("0s", &HOUR).map(drop), "must be at least 1s"),
            (duration("61m", &HOUR).map(drop), "must be at most 1h"),
            (size("1B", &BYTES).map(drop), "must be at least 1KiB"),
            (size("999999999TiB", &BYTES).map(drop), "must be at most 1GiB"),
        ] {
            assert_eq!(outcome.map_err(|error| error.to_string()), Err(message.to_string()));
        }
    }
}
