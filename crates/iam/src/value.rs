//! Owns what texts mean to condition operators: decimal numbers, times, Booleans, networks. A text that means nothing to an
//! operator is `None`, and never matches.

use std::net::IpAddr;

use strongroom_model::Timestamp;

/// Digits after the point that count.
const FRACTION: usize = 18;

/// A decimal number by its value, in units of 10^-18.
pub(crate) fn number(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || whole.len() > FRACTION || fraction.len() > FRACTION {
        return None;
    }
    let padded = format!("{whole}{fraction:0<FRACTION$}").parse::<i128>().ok()?;
    Some(if negative { -padded } else { padded })
}

/// A time in units of 10^-18 s since 1970: seconds, or a form of ISO 8601: a day, with a time, with a fraction, with a zone.
pub(crate) fn time(text: &str) -> Option<i128> {
    if let Some(seconds) = number(text) {
        return Some(seconds);
    }
    let (day, clock) = match text.split_once(['T', 't']) {
        Some((day, clock)) => (day, Some(clock)),
        None => (text, None),
    };
    let day = Timestamp::from_basic(&format!("{}T000000Z", basic_day(day)?))?;
    let mut seconds = i128::from(day.millis() / 1_000);
    let mut fraction = 0;
    if let Some(clock) = clock {
        let (clock, offset) = zone(clock)?;
        let (clock, decimals) =
            clock.split_once('.').map_or((clock, None), |(clock, decimals)| (clock, Some(decimals)));
        let mut parts = clock.split(':');
        let mut two = |most: i128, last: bool| match parts.next() {
            Some(part) if part.len() == 2 => part.parse::<i128>().ok().filter(|n| (0..=most).contains(n)),
            None if last => Some(0),
            _ => None,
        };
        seconds += two(23, false)? * 3_600 + two(59, false)? * 60 + two(60, decimals.is_none())? - offset;
        if parts.next().is_some() {
            return None;
        }
        fraction = match decimals {
            Some(decimals) => number(&format!("0.{decimals}"))?,
            None => 0,
        };
    }
    Some(seconds * 10_i128.pow(FRACTION as u32) + fraction)
}

/// `2026-11-24` or `2026-11` as `20261124`.
fn basic_day(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_digits = |part: &&str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [year, month, day] if is_digits(year, 4) && is_digits(month, 2) && is_digits(day, 2) => {
            Some(format!("{year}{month}{day}"))
        }
        [year, month] if is_digits(year, 4) && is_digits(month, 2) => Some(format!("{year}{month}01")),
        _ => None,
    }
}

/// The clock without its zone, and how many seconds that is ahead of UTC; no zone is UTC.
fn zone(clock: &str) -> Option<(&str, i128)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.find(['+', '-']) else { return Some((clock, 0)) };
    let (hours, minutes) = clock[at + 1..].split_once(':')?;
    let part = |text: &str, most: i128| match text.len() {
        2 => text.parse::<i128>().ok().filter(|n| (0..=most).contains(n)),
        _ => None,
    };
    let seconds = part(hours, 23)? * 3_600 + part(minutes, 59)? * 60;
    Some((&clock[..at], if clock.as_bytes()[at] == b'-' { -seconds } else { seconds }))
}

/// `true` or `false`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Addresses with a common beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    /// `203.0.113.0/24`, `2001:db8::/32`, or one address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().filter(|n| *n <= most)?,
            Some(_) => return None,
            None => most,
        };
        Some(Self { address, length })
    }

    /// Whether an address is in it; what lies behind its length does not count.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.checked_shr(32 - self.length).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.checked_shr(128 - self.length).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(number("300"), number("300.0"));
        assert_eq!(number("-1.50"), number("-1.5"));
        assert!(number("9007199254740993") > number("9007199254740992"));
        for bad in ["", "-", "1e3", "1.", ".5", "0x1", " 1"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_have_many_forms() {
        let same = ["2026-11-24T09:30:00Z", "1795512600", "2026-11-24T10:30:00+01:00", "2026-11-24T09:30Z"];
        for text in same {
            assert_eq!(time(text), time("2026-11-24T09:30:00.000Z"), "{text}");
        }
        assert!(time("2026-11-24") < time("2026-11-24T00:00:00.001Z"));
        for bad in ["", "yesterday", "2026-13-01", "2026-11-24T25:00:00Z", "2026-11-24T09Z", "24.11.2026"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_hold_addresses_of_their_family() {
        let network = |text| Network::parse(text).unwrap();
        assert!(network("203.0.113.77/24").contains("203.0.113.1".parse().unwrap()));
        assert!(!network("203.0.113.0/24").contains("203.0.114.1".parse().unwrap()));
        assert!(network("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(network("2001:db8::/32").contains("2001:db8:1::".parse().unwrap()));
        assert_eq!(Network::parse("1.2.3.4/33"), None);
    }
}
