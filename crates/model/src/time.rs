//! Owns [`Timestamp`], the only form of time in strongroom: milliseconds since 1970, UTC. Arithmetic and formatting, never
//! `now()`: whoever needs the time asks the engine's `Clock`.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z. AWS answers carry this resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Milliseconds in a second, a minute, an hour, a day.
pub const SECOND: i64 = 1_000;
/// A minute in milliseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// An hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// A day in milliseconds.
pub const DAY: i64 = 24 * HOUR;

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Seconds since 1970, with the milliseconds as a fraction: the form of both wire protocols.
    pub fn epoch_seconds(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// Later by `millis` (earlier if negative); saturates.
    #[must_use]
    pub const fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`; negative if `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The form of SigV4's `X-Amz-Date`: `20261124T091407Z`.
    pub fn basic(self) -> String {
        let c = Civil::of(self);
        format!("{:04}{:02}{:02}T{:02}{:02}{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
    }

    /// RFC 3339 without the milliseconds: `2026-11-24T09:15:21Z`. Written digit by digit, as each audit event has one.
    pub fn seconds(self) -> String {
        let c = Civil::of(self);
        let mut text = String::with_capacity("2026-11-24T09:15:21Z".len());
        let parts = [
            (c.year, 4, '-'),
            (c.month, 2, '-'),
            (c.day, 2, 'T'),
            (c.hour, 2, ':'),
            (c.minute, 2, ':'),
            (c.second, 2, 'Z'),
        ];
        for (n, width, after) in parts {
            let digit = |place: u32| char::from(b'0' + (n / 10_i64.pow(place) % 10).unsigned_abs() as u8);
            text.extend((0..width).rev().map(digit));
            text.push(after);
        }
        text
    }

    /// Reads SigV4's `X-Amz-Date`; `None` for any other form.
    pub fn from_basic(text: &str) -> Option<Self> {
        let b = text.as_bytes();
        if b.len() != 16 || b[8] != b'T' || b[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = &text.as_bytes()[from..to];
            digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
        };
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
        valid.then(|| Self((days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000))
    }
}

/// RFC 3339 with milliseconds: `2026-11-24T09:15:21.439Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = Civil::of(*self);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.milli
        )
    }
}

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    milli: i64,
}

impl Civil {
    fn of(t: Timestamp) -> Self {
        let (days, in_day) = (t.0.div_euclid(DAY), t.0.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month,
            day,
            hour: in_day / HOUR,
            minute: in_day / MINUTE % 60,
            second: in_day / SECOND % 60,
            milli: in_day % SECOND,
        }
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, by eras of 400 years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_reads_back() {
        let t = Timestamp::from_millis(1_795_511_647_112);
        assert_eq!(t.to_string(), "2026-11-24T09:14:07.112Z");
        assert_eq!(t.basic(), "20261124T091407Z");
        assert_eq!(t.seconds(), "2026-11-24T09:14:07Z");
        assert_eq!(Timestamp::default().seconds(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_basic("20261124T091407Z"), Some(Timestamp::from_millis(1_795_511_647_000)));
        assert_eq!(
            Timestamp::from_basic("20240229T000000Z").map(|t| t.to_string()).unwrap(),
            "2024-02-29T00:00:00.000Z"
        );
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn refuses_other_forms() {
        for text in
            ["", "20261124T0914072", "20261324T091407Z", "2026-11-24T09:14Z", "20261124 091407Z", "+0261124T091407Z"]
        {
            assert_eq!(Timestamp::from_basic(text), None, "{text}");
        }
    }
}
