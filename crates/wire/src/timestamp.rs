//! Owns the written forms of a timestamp: seconds since 1970, RFC 3339 and RFC 9110's IMF-fixdate. CloudHSM uses only the
//! first; foreign tables use all three. Only times from year 1 to year 9999 are taken, since the forms know no others.

use strongroom_model::Timestamp;
use strongroom_model::time::DAY;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// From seconds since 1970; `None` outside of years 1 to 9999. Kept to the millisecond.
pub(crate) fn from_epoch_seconds(seconds: f64) -> Option<Timestamp> {
    let valid = (-62_135_596_800.0..253_402_300_800.0).contains(&seconds);
    valid.then(|| Timestamp::from_millis((seconds * 1_000.0).round() as i64))
}

/// Seconds since 1970 with up to three decimals and no trailing zeros: `1534461854.64`.
pub(crate) fn epoch_seconds(t: Timestamp) -> String {
    let millis = t.millis();
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, rest) = (millis.unsigned_abs() / 1_000, millis.unsigned_abs() % 1_000);
    trim_fraction(format!("{sign}{seconds}.{rest:03}"))
}

/// Reads `2000-01-02T20:34:56.123Z`: UTC only, as Smithy has it.
pub(crate) fn from_date_time(text: &str) -> Option<Timestamp> {
    let (whole, fraction) =
        text.strip_suffix('Z')?.split_once('.').map_or((text.strip_suffix('Z')?, "0"), |parts| parts);
    let b = whole.as_bytes();
    let shaped = b.len() == 19 && b[4] == b'-' && b[7] == b'-' && b[10] == b'T' && b[13] == b':' && b[16] == b':';
    if !shaped || fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|d| d.is_ascii_digit()) {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let basic: String = whole.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    Timestamp::from_basic(&(basic + "Z")).map(|t| t.plus(millis))
}

/// `2000-01-02T20:34:56Z`, with a fraction where there is one.
pub(crate) fn date_time(t: Timestamp) -> String {
    trim_fraction(t.to_string().trim_end_matches('Z').to_owned()) + "Z"
}

/// Reads `Sun, 02 Jan 2000 20:34:56 GMT`. The day of the week is not checked.
pub(crate) fn from_http_date(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split(' ').collect();
    let &[weekday, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|m| *m == month)? + 1;
    let known = weekday.strip_suffix(',').is_some_and(|w| WEEKDAYS.contains(&w));
    if !known || day.len() != 2 || year.len() != 4 {
        return None;
    }
    from_date_time(&format!("{year}-{month:02}-{day}T{time}Z"))
}

/// `Sun, 02 Jan 2000 20:34:56 GMT`, with a fraction where there is one.
pub(crate) fn http_date(t: Timestamp) -> String {
    let text = date_time(t);
    let weekday = WEEKDAYS[t.millis().div_euclid(DAY).rem_euclid(7) as usize];
    let month = text[5..7].parse::<usize>().map_or("", |m| MONTHS[m - 1]);
    format!("{weekday}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..text.len() - 1])
}

fn trim_fraction(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_the_decimals_they_need() {
        for (millis, text) in [
            (1_534_461_854_640, "1534461854.64"),
            (1_000, "1"),
            (100_000, "100"),
            (1_001, "1.001"),
            (1, "0.001"),
            (0, "0"),
            (-1, "-0.001"),
            (-1_500, "-1.5"),
        ] {
            assert_eq!(epoch_seconds(Timestamp::from_millis(millis)), text);
            assert_eq!(from_epoch_seconds(text.parse().unwrap()), Some(Timestamp::from_millis(millis)));
        }
        for no in [f64::NAN, f64::INFINITY, 1e300, -1e12] {
            assert_eq!(from_epoch_seconds(no), None);
        }
    }

    #[test]
    fn text_forms_are_read_back() {
        let t = Timestamp::from_millis(946_845_296_120);
        assert_eq!(date_time(t), "2000-01-02T20:34:56.12Z");
        assert_eq!(http_date(t), "Sun, 02 Jan 2000 20:34:56.12 GMT");
        assert_eq!(from_date_time(&date_time(t)), Some(t));
        assert_eq!(from_http_date(&http_date(t)), Some(t));
        assert_eq!(from_http_date("Tue, 29 Apr 2014 18:30:38 GMT"), Some(Timestamp::from_millis(1_398_796_238_000)));
    }

    #[test]
    fn refuses_other_forms() {
        for text in ["", "Z", "2000-01-02T20:34:56", "2000-01-02T20:34:56.Z", "2000-01-02T20:34:56+00:00", "é-é"] {
            assert_eq!(from_date_time(text), None, "{text}");
        }
        for text in
            ["", "Sun, 2 Jan 2000 20:34:56 GMT", "Sunday, 02-Jan-00 20:34:56 GMT", "Sun, 02 Foo 2000 20:34:56 GMT"]
        {
            assert_eq!(from_http_date(text), None, "{text}");
        }
    }
}
