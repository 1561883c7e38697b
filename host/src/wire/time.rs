//! Times as RFC 3339 with microseconds, always UTC.

use std::fmt;

use calls::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A moment, e.g. `2026-11-21T20:00:00.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-21T20:00:00.123456Z")]
pub struct Time(Timestamp);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

impl Time {
    /// By this machine's clock.
    pub fn now() -> Self {
        let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self::from(Timestamp(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl From<Timestamp> for Time {
    /// Microseconds are kept, less is not.
    fn from(at: Timestamp) -> Self {
        Self(Timestamp(at.0 / 1_000 * 1_000))
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        time.0
    }
}

/// As the time library has it.
pub(crate) fn instant(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).expect("64 bits of nanoseconds end in 2554")
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PRINTER.print_timestamp(&instant(self.0), jiff::fmt::StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        let nanos = u64::try_from(at.as_nanosecond())
            .map_err(|_| serde::de::Error::custom("times before 1970 are not used"))?;
        Ok(Self::from(Timestamp(nanos)))
    }
}
