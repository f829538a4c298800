//! Owns how events look on standard error: one line each, for people (`09:15:21  copy  copy-7xa3l3fvxrr  text`) or as JSON
//! (`ts, level, region, kind, id, request_id, text`). What is shown follows the level: warnings and outcomes by default,
//! calls and logins with `-v`, the steps of jobs with `-vv`. An event says what it is about in the fields `kind` (or its
//! target), `region`, `id` (or `copy`, `backup`, `cluster`) and `request_id`; any other field is appended to its text. The
//! end of a copy has a form of its own.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::str::FromStr;

use strongroom_model::Timestamp;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::human::{size, took};
use crate::seams::SystemClock;

/// The target and kind of what becomes of copies.
const COPY: &str = "copy";
/// Fields that name what an event is about; the first that is there counts.
const SUBJECTS: [&str; 4] = ["id", "copy", "backup", "cluster"];

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Sends this process's events to standard error. `verbosity` counts `-v`; below 0 only errors are shown.
pub fn start(form: Form, verbosity: i8) {
    let full_time = !io::stderr().is_terminal();
    let lines = Lines { form, level: level(verbosity), full_time };
    let subscriber = tracing_subscriber::registry().with(lines);
    // A second start in one process is a test's, whose lines go where the first ones go.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn level(verbosity: i8) -> LevelFilter {
    match verbosity {
        ..=-1 => LevelFilter::ERROR,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    }
}

struct Lines {
    form: Form,
    level: LevelFilter,
    full_time: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // What libraries say below a warning is nobody's business here.
        *metadata.level() <= self.level && (is_ours(metadata.target()) || *metadata.level() <= Level::WARN)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        if event.metadata().target() == COPY {
            entry.tell_copy();
        }
        let now = Timestamp::from_millis(SystemClock.millis());
        let mut line = match self.form {
            Form::Text => entry.text(now, *event.metadata().level(), self.full_time),
            Form::Json => entry.json(now, *event.metadata().level()),
        };
        line.push('\n');
        // Nobody can be told that the log cannot be written.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The fields of an event.
#[derive(Default)]
struct Entry {
    kind: Option<String>,
    region: Option<String>,
    id: Option<String>,
    request_id: Option<String>,
    text: String,
    /// All others, in their order.
    rest: Vec<(&'static str, String)>,
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = one_line(value.to_owned());
        match field.name() {
            "kind" => self.kind = Some(value),
            "region" => self.region = Some(value),
            "request_id" => self.request_id = Some(value),
            "message" => self.text = value,
            name if SUBJECTS.contains(&name) && self.id.is_none() => self.id = Some(value),
            name => self.rest.push((name, value)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Entry {
    fn kind(&self, level: Level) -> &str {
        match level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => self.kind.as_deref().unwrap_or("note"),
        }
    }

    /// The end of a copy: `us-east-1 -> eu-west-1  ready in 41 ms, 9.6 KiB`.
    fn tell_copy(&mut self) {
        self.kind = Some(COPY.to_owned());
        let number = |text: &str| text.parse::<i64>().ok();
        let found = |name: &str| self.rest.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        let (Some(region), Some(to), Some(state)) = (&self.region, found("to"), found("state")) else { return };
        let took = found("took_ms").and_then(number).map(|ms| format!(" in {}", took(ms))).unwrap_or_default();
        let bytes = found("bytes").and_then(number).and_then(|n| u64::try_from(n).ok());
        let bytes = bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
        self.text = format!("{region} -> {to}  {state}{took}{bytes}");
        self.rest.retain(|(name, _)| !["to", "state", "took_ms", "bytes"].contains(name));
    }

    fn whole_text(&self) -> String {
        let rest = self.rest.iter().map(|(name, value)| format!(", {name} {value}"));
        [self.text.clone()].into_iter().chain(rest).collect()
    }

    fn text(&self, now: Timestamp, level: Level, full_time: bool) -> String {
        let time = now.to_string();
        let mut line = if full_time { time } else { time[11..19].to_owned() };
        // The text of a copy names its regions.
        let region = self.region.as_deref().filter(|_| self.kind.as_deref() != Some(COPY));
        for part in [Some(self.kind(level)), region, self.id.as_deref()].into_iter().flatten() {
            let _ = write!(line, "  {part}");
        }
        let _ = write!(line, "  {}", self.whole_text());
        if let Some(request) = &self.request_id {
            let _ = write!(line, "  request {request}");
        }
        line
    }

    fn json(&self, now: Timestamp, level: Level) -> String {
        let mut object = serde_json::Map::new();
        object.insert("ts".into(), now.to_string().into());
        object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
        let named =
            [("region", &self.region), ("kind", &self.kind), ("id", &self.id), ("request_id", &self.request_id)];
        for (name, value) in named {
            if let Some(value) = value {
                object.insert(name.into(), value.as_str().into());
            }
        }
        object.insert("text".into(), self.whole_text().into());
        serde_json::Value::Object(object).to_string()
    }
}

fn is_ours(target: &str) -> bool {
    target.starts_with("strongroom") || target == COPY
}

/// A value must not be able to begin a line of its own, or to speak to the terminal.
fn one_line(text: String) -> String {
    if text.contains(char::is_control) { text.escape_default().to_string() } else { text }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_795_511_647_112);

    fn settled() -> Entry {
        let fields = [("to", "eu-west-1"), ("state", "ready"), ("took_ms", "41"), ("bytes", "9830")];
        let mut entry = Entry {
            id: Some("copy-7xa3l3fvxrr".into()),
            region: Some("us-east-1".into()),
            text: "copy settled".into(),
            rest: fields.map(|(name, value)| (name, value.to_owned())).into(),
            ..Entry::default()
        };
        entry.tell_copy();
        entry
    }

    #[test]
    fn people_read_a_line() {
        let line = settled().text(AT, Level::INFO, false);
        assert_eq!(line, "09:14:07  copy  copy-7xa3l3fvxrr  us-east-1 -> eu-west-1  ready in 41 ms, 9.6 KiB");
        let warning = Entry {
            region: Some("us-east-1".into()),
            id: Some("backup-a".into()),
            text: "backup failed".into(),
            rest: vec![("reason", "deadline".into())],
            ..Entry::default()
        };
        let expected = "2026-11-24T09:14:07.112Z  warn  us-east-1  backup-a  backup failed, reason deadline";
        assert_eq!(warning.text(AT, Level::WARN, true), expected);
        let call = Entry {
            kind: Some("call".into()),
            region: Some("us-east-1".into()),
            request_id: Some("8c1f0c1e".into()),
            text: "CopyBackupToRegion  200  42 ms  user/test".into(),
            ..Entry::default()
        };
        let expected = "09:14:07  call  us-east-1  CopyBackupToRegion  200  42 ms  user/test  request 8c1f0c1e";
        assert_eq!(call.text(AT, Level::DEBUG, false), expected);
    }

    #[test]
    fn machines_read_json() {
        let value: serde_json::Value = serde_json::from_str(&settled().json(AT, Level::INFO)).unwrap();
        assert_eq!(value["ts"], "2026-11-24T09:14:07.112Z");
        assert_eq!(value["kind"], "copy");
        assert_eq!(value["id"], "copy-7xa3l3fvxrr");
        assert_eq!(value["text"], "us-east-1 -> eu-west-1  ready in 41 ms, 9.6 KiB");
        assert_eq!(value["level"], "info");
        assert_eq!(value.get("request_id"), None);
    }

    #[test]
    fn a_value_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m".into()), "a\\nb\\u{1b}[31m");
    }
}
