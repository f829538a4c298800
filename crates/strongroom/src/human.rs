//! Owns how sizes, times and tables look to people, and what the options that every command has say about it. Machines read
//! bytes and full timestamps instead; where output is no terminal, tables are tab-separated and have no header.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use strongroom_model::Timestamp;
use strongroom_model::time::{DAY, HOUR, MINUTE, SECOND};

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether a stream gets colour.
    pub fn is_on(self, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let no_color = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
                is_terminal && !no_color && variable("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// How results are shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// JSON for machines.
    pub json: bool,
    /// Times as they are, not as how long ago.
    pub utc: bool,
    /// Bold ids.
    pub color: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
}

impl Style {
    /// Of this process's standard output.
    pub fn of_stdout(json: bool, utc: bool, color: Color) -> Self {
        let terminal = io::stdout().is_terminal();
        let color = color.is_on(terminal, |name| std::env::var(name).ok());
        Self { json, utc, color, terminal }
    }

    /// How long ago, or when.
    pub fn ago(&self, time: Timestamp, now: Timestamp) -> String {
        if self.utc { time.to_string() } else { format!("{} ago", coarse(now.since(time))) }
    }
}

/// `9.6 KiB`
pub fn size(bytes: u64) -> String {
    let (value, unit) = scaled(bytes);
    format!("{value} {unit}")
}

/// `13.0 of 21.4 MiB`: both in the unit of the whole.
pub fn part(done: u64, total: u64, between: &str) -> String {
    let (divisor, unit) = unit(total);
    match divisor {
        1 => format!("{done}{between}{total} {unit}"),
        _ => format!("{:.1}{between}{:.1} {unit}", done as f64 / divisor as f64, total as f64 / divisor as f64),
    }
}

fn scaled(bytes: u64) -> (String, &'static str) {
    match unit(bytes) {
        (1, unit) => (bytes.to_string(), unit),
        (divisor, unit) => (format!("{:.1}", bytes as f64 / divisor as f64), unit),
    }
}

fn unit(bytes: u64) -> (u64, &'static str) {
    match bytes {
        0..1_024 => (1, "bytes"),
        1_024..1_048_576 => (1 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    }
}

/// `41 ms`, `2.4 s`, `3 min`: how long something took.
pub fn took(millis: i64) -> String {
    match millis {
        ..SECOND => format!("{millis} ms"),
        SECOND..MINUTE => seconds(millis),
        _ => coarse(millis),
    }
}

/// `0.4 s`
pub fn seconds(millis: i64) -> String {
    format!("{:.1} s", millis as f64 / SECOND as f64)
}

/// `2 min`, `26 h`, `3 days`
pub fn coarse(millis: i64) -> String {
    match millis.max(0) {
        n @ ..MINUTE => format!("{} s", n / SECOND),
        n @ MINUTE..HOUR => format!("{} min", n / MINUTE),
        n if n < 36 * HOUR => format!("{} h", n / HOUR),
        n if n < 2 * DAY => "1 day".to_owned(),
        n => format!("{} days", n / DAY),
    }
}

/// `1 cluster`, `2 HSMs`
pub fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Columns that line up, or tabs for machines.
#[derive(Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text; the first column is bold where colour is on.
    pub fn text(&self, style: &Style) -> String {
        let mut out = String::new();
        if !style.terminal {
            for row in &self.rows {
                let _ = writeln!(out, "{}", row.join("\t"));
            }
            return out;
        }
        let header = self.header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
        let lines = [&header].into_iter().chain(&self.rows);
        let width = |column: usize| lines.clone().filter_map(|l| l.get(column)).map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        for (n, line) in lines.clone().enumerate() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
            let text = cells.join("  ");
            let text = text.trim_end();
            match cells.first() {
                Some(first) if style.color && n > 0 => {
                    let _ = writeln!(out, "\u{1b}[1m{first}\u{1b}[0m{}", text.get(first.len()..).unwrap_or_default());
                }
                _ => {
                    let _ = writeln!(out, "{text}");
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { json: false, utc: false, color: false, terminal: true };

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(
            [size(0), size(1_023), size(9_830), size(22_439_526)],
            ["0 bytes", "1023 bytes", "9.6 KiB", "21.4 MiB"]
        );
        assert_eq!(part(13_631_488, 22_439_526, " of "), "13.0 of 21.4 MiB");
        assert_eq!(part(5, 100, " / "), "5 / 100 bytes");
        assert_eq!([took(41), took(2_400), took(180_000)], ["41 ms", "2.4 s", "3 min"]);
        let ago = |millis| PLAIN.ago(Timestamp::from_millis(0), Timestamp::from_millis(millis));
        assert_eq!([ago(2_000), ago(120_000), ago(26 * HOUR)], ["2 s ago", "2 min ago", "26 h ago"]);
        assert_eq!([ago(40 * HOUR), ago(3 * DAY), ago(-5)], ["1 day ago", "3 days ago", "0 s ago"]);
    }

    #[test]
    fn tables_line_up_for_people_and_have_tabs_for_machines() {
        let mut table = Table::new(&["COPY", "STATE", "NOTE"]);
        table.row(vec!["copy-a".into(), "ready".into(), String::new()]);
        table.row(vec!["b".into(), "x".into(), "y z".into()]);
        assert_eq!(table.text(&PLAIN), "COPY    STATE  NOTE\ncopy-a  ready\nb       x      y z\n");
        assert_eq!(table.text(&Style { terminal: false, ..PLAIN }), "copy-a\tready\t\nb\tx\ty z\n");
        assert!(table.text(&Style { color: true, ..PLAIN }).contains("\n\u{1b}[1mcopy-a\u{1b}[0m  ready\n"));
    }

    #[test]
    fn colour_needs_a_terminal_that_wants_it() {
        let with = |name: &'static str, value: &'static str| {
            Color::Auto.is_on(true, move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(with("TERM", "xterm"));
        assert!(!with("TERM", "dumb"));
        assert!(!with("NO_COLOR", "1"));
        assert!(!Color::Auto.is_on(false, |_| None));
        assert!(Color::Always.is_on(false, |_| None));
    }
}
