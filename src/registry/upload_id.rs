//! The names of uploads.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// How long an upload may take. What is older is refused, and swept.
pub(super) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The name of an upload: random, with the time it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadId {
    random: Uuid,
    /// Seconds after 1970.
    began: u64,
}

/// A text that names no upload that ever was.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such upload; begin one with POST /v2/<name>/blobs/uploads/")]
pub struct InvalidUploadId;

impl UploadId {
    /// The name of an upload that begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self { random: Uuid::new_v4(), began: now() }
    }

    /// Whether it was begun too long ago to go on. One from the future is a replica whose clock is
    /// ahead; but so far ahead is none, and what such a name held would never be swept.
    pub(super) fn is_over(self) -> bool {
        now().abs_diff(self.began) > MAX_AGE.as_secs()
    }

    /// Whether it was begun so long ago that it has been over for `time`.
    pub(super) fn is_over_for(self, time: Duration) -> bool {
        now().saturating_sub(self.began) > (MAX_AGE + time).as_secs()
    }
}

/// Seconds after 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:010x}", self.random.simple(), self.began)
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let (random, began) = text.split_once('-').ok_or(InvalidUploadId)?;
        let id = Self {
            random: Uuid::try_parse(random).map_err(|_| InvalidUploadId)?,
            began: u64::from_str_radix(began, 16).map_err(|_| InvalidUploadId)?,
        };
        // One name has one spelling.
        if id.to_string() == text { Ok(id) } else { Err(InvalidUploadId) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_reads_back_and_no_two_are_alike() {
        let id = UploadId::begin();

        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, UploadId::begin());
    }

    #[test]
    fn only_what_was_begun_about_now_can_go_on() {
        let (id, day) = (UploadId::begin(), MAX_AGE.as_secs());
        for (began, is_over) in [
            (id.began, false),
            (id.began - day + 60, false),
            (id.began - day - 60, true),
            (id.began + 60, false),
            (id.began + day + 60, true),
            (0, true),
            (u64::MAX, true),
        ] {
            assert_eq!(UploadId { began, ..id }.is_over(), is_over, "{began}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_is_written_just_so_and_has_an_age(text in "[0-9a-f]{31,33}-[0-9a-f]{9,17}") {
            if let Ok(id) = text.parse::<UploadId>() {
                id.is_over();
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn every_name_reads_back(random in any::<u128>(), began in any::<u64>()) {
            let id = UploadId { random: Uuid::from_u128(random), began };

            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn anything_else_is_no_upload() {
        let id = UploadId::begin().to_string();
        for text in ["", "-", "..", &id[1..], &id.to_uppercase(), &format!("{id}0"), &format!("0{id}"), &id.replace('-', "")] {
            assert_eq!(text.parse::<UploadId>(), Err(InvalidUploadId), "{text}");
        }
    }
}
