//! Owns the configuration: one TOML file, with variables over it and flags over those. Every setting is in one table; the
//! file is held against it as a whole, so that all that is wrong is said at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use strongroom_engine::Pace;
use toml::de::{DeTable, DeValue};

use crate::dev::RegionsAsked;
use crate::log::Form;
use crate::problem::{Exit, Problem};

/// The highest number that a limit can be set to.
const COUNT_MAX: usize = 1_000_000;

/// A setting that there is.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its name in the file, with its table: `dev.listen`.
    pub name: &'static str,
    /// The variable that beats the file.
    pub variable: Option<&'static str>,
    /// What it is where nobody says anything.
    pub default: &'static str,
    /// What is wrong with a value.
    check: fn(&str) -> Result<(), String>,
}

/// Every setting.
pub const SETTINGS: [Setting; 12] = [
    Setting { name: "log", variable: Some("STRONGROOM_LOG"), default: "text", check: form },
    Setting { name: "dev.listen", variable: None, default: "127.0.0.1:4225", check: address },
    Setting {
        name: "dev.data",
        variable: Some("STRONGROOM_DATA"),
        default: "~/.local/share/strongroom/dev",
        check: |_| Ok(()),
    },
    Setting { name: "dev.regions", variable: None, default: "us-east-1,eu-west-1", check: regions },
    Setting { name: "dev.pace", variable: None, default: "at-once", check: |text| pace(text).map(drop) },
    Setting { name: "dev.tls-certificate", variable: None, default: "", check: |_| Ok(()) },
    Setting { name: "dev.tls-key", variable: None, default: "", check: |_| Ok(()) },
    Setting { name: "dev.legacy-hsm-types", variable: None, default: "false", check: switch },
    Setting { name: "dev.monitoring", variable: None, default: "", check: address_or_none },
    Setting { name: "limits.connections-per-address", variable: None, default: "768", check: count },
    Setting { name: "limits.calls-per-address", variable: None, default: "384", check: count },
    Setting { name: "limits.calls", variable: None, default: "512", check: count },
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable.
    Variable(&'static str),
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// The values that somebody has set.
#[derive(Debug, Default)]
pub struct Config {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Config {
    /// Reads the file (the one that is named, else the user's or the machine's, if it is there) and the variables.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(named: Option<&Path>, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Vec<Problem>> {
        let (mut config, mut findings) = (Self::default(), Vec::new());
        if let Some((path, text)) = read(named, variable).map_err(|problem| vec![problem])? {
            config.take_file(&path, &text, &mut findings);
        }
        for setting in &SETTINGS {
            let Some((name, value)) = setting.variable.and_then(|name| Some((name, variable(name)?))) else { continue };
            let value = value.to_string_lossy().into_owned();
            if let Err(cause) = (setting.check)(&value) {
                findings.push(Problem::new("bad-value", format!("{name}={value}")).cause(cause).exit(Exit::Findings));
            } else if !value.is_empty() {
                config.values.insert(setting.name, (value, Source::Variable(name)));
            }
        }
        if findings.is_empty() { Ok(config) } else { Err(findings) }
    }

    /// The value of a setting, if somebody has set it.
    pub fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        self.values.get(name).and_then(|(value, _)| value.parse().ok())
    }

    /// The text of a setting and where it comes from, if somebody has set it.
    pub fn source(&self, name: &str) -> Option<(&str, &Source)> {
        self.values.get(name).map(|(value, source)| (value.as_str(), source))
    }

    /// How many settings somebody has set.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nobody has set any.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn take_file(&mut self, path: &Path, text: &str, findings: &mut Vec<Problem>) {
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(span.start));
                let what = format!("{}:{line} is not TOML", path.display());
                findings.push(Problem::new("syntax", what).cause(error.message()).exit(Exit::Findings));
                return;
            }
        };
        let mut entries = Vec::new();
        flatten("", table.get_ref(), &mut entries);
        for (name, at, value) in entries {
            let line = line_of(at);
            let place = format!("{name} in {}:{line}", path.display());
            let bad = |cause: String| Problem::new("bad-value", &place).cause(cause).exit(Exit::Findings);
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
                findings.push(unknown(&name, &place));
                continue;
            };
            match value.and_then(|value| (setting.check)(&value).map(|()| value)) {
                Ok(value) => {
                    self.values.insert(setting.name, (value, Source::File { path: path.to_owned(), line }));
                }
                Err(cause) => findings.push(bad(cause)),
            }
        }
    }
}

/// The file that counts, with its text.
fn read(
    named: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<(PathBuf, String)>, Problem> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let paths = match named {
        Some(path) => vec![path.to_owned()],
        None => {
            let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
            let users = home.map(|home| home.join("strongroom/strongroom.toml"));
            users.into_iter().chain([PathBuf::from("/etc/strongroom/strongroom.toml")]).collect()
        }
    };
    for path in paths {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {}
            Err(error) => {
                let what = format!("cannot read {}", path.display());
                return Err(Problem::new("configuration", what).cause(error).exit(Exit::Findings));
            }
        }
    }
    Ok(None)
}

/// A name with its table, where it stands, and its value as text.
type Entry = (String, usize, Result<String, String>);

fn flatten(prefix: &str, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let text = match value.get_ref() {
            DeValue::Table(inner) => {
                flatten(&format!("{name}."), inner, entries);
                continue;
            }
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            DeValue::Integer(value) => Ok(value.to_string()),
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    _ => Err("it is a list of texts".to_owned()),
                });
                texts.collect::<Result<Vec<_>, _>>().map(|texts| texts.join(","))
            }
            _ => Err("it is a text, in quotes".to_owned()),
        };
        entries.push((name, key.span().start, text));
    }
}

fn unknown(name: &str, place: &str) -> Problem {
    let problem = Problem::new("unknown-key", place).cause("there is no such setting").exit(Exit::Findings);
    let nearest = SETTINGS.iter().min_by_key(|setting| distance(name, setting.name)).expect("there are settings");
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    if distance(name, nearest.name) <= 3 {
        let same_table = name.rsplit_once('.').map(|(t, _)| t) == nearest.name.rsplit_once('.').map(|(t, _)| t);
        let meant = if same_table { last(nearest.name) } else { nearest.name.to_owned() };
        return problem.help(format!("did you mean {meant}?"));
    }
    let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    problem.help(format!("there are {}", names.join(", ")))
}

/// How many characters have to be changed, added or taken away.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

fn form(text: &str) -> Result<(), String> {
    text.parse::<Form>().map(drop).map_err(|_| "it is text or json".to_owned())
}

fn address(text: &str) -> Result<(), String> {
    text.parse::<SocketAddr>().map(drop).map_err(|_| "it is an address and a port, as in 127.0.0.1:4225".to_owned())
}

fn address_or_none(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { address(text) }
}

fn count(text: &str) -> Result<(), String> {
    match text.parse::<usize>() {
        Ok(1..=COUNT_MAX) => Ok(()),
        _ => Err(format!("it is a number from 1 to {COUNT_MAX}")),
    }
}

fn switch(text: &str) -> Result<(), String> {
    text.parse::<bool>().map(drop).map_err(|_| "it is true or false".to_owned())
}

fn regions(text: &str) -> Result<(), String> {
    text.parse::<RegionsAsked>().map(drop)
}

/// Reads a pace: `at-once`, `aws`, `aws:0.1`.
///
/// # Errors
/// A sentence.
pub fn pace(text: &str) -> Result<Pace, String> {
    let factor = match text {
        "at-once" => return Ok(Pace::AtOnce),
        "aws" => Some(1.0),
        _ => text.strip_prefix("aws:").and_then(|factor| factor.parse().ok()),
    };
    let factor = factor.filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
    factor.map(Pace::Aws).ok_or_else(|| "it is at-once, aws, or aws:FACTOR as in aws:0.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Most;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strongroom.toml");
        fs::write(&path, text).unwrap();
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        let loaded = Config::load(Some(&path), &variable);
        let place = folder.path().display().to_string() + "/";
        loaded.map_err(|findings| findings.iter().map(|f| f.to_string().replace(&place, "")).collect())
    }

    #[test]
    fn variables_beat_the_file() {
        let text = "log = \"json\"\n[dev]\ndata = \"/a\"\nregions = [\"us-east-1\", \"eu-west-1\"]\n";
        let config = load(text, &[("STRONGROOM_DATA", "/b")]).unwrap();
        assert_eq!(config.len(), 3);
        assert_eq!(config.get::<PathBuf>("dev.data"), Some("/b".into()));
        assert_eq!(config.source("dev.data").unwrap().1, &Source::Variable("STRONGROOM_DATA"));
        assert_eq!(config.source("dev.regions").unwrap().0, "us-east-1,eu-west-1");
        assert!(matches!(config.source("log").unwrap().1, Source::File { line: 1, .. }));
        assert_eq!(config.get::<SocketAddr>("dev.listen"), None);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text =
            "lgo = \"json\"\n[dev]\nlisten = \"4225\"\nregion = \"us-east-1\"\npace = 3.5\n[serve]\nthings = 1\n";
        let findings = load(text, &[("STRONGROOM_LOG", "xml")]).unwrap_err();
        assert_eq!(findings.len(), 6, "{findings:#?}");
        for expected in [
            "error[unknown-key]: lgo in strongroom.toml:1\ncause: there is no such setting\nhelp:  did you mean log?",
            "error[bad-value]: dev.listen in strongroom.toml:3\ncause: it is an address and a port, as in 127.0.0.1:4225",
            "error[unknown-key]: dev.region in strongroom.toml:4\ncause: there is no such setting\nhelp:  did you mean regions?",
            "error[bad-value]: dev.pace in strongroom.toml:5\ncause: it is a text, in quotes",
            "error[bad-value]: STRONGROOM_LOG=xml\ncause: it is text or json",
        ] {
            assert!(findings.iter().any(|finding| finding == expected), "{expected}: {findings:#?}");
        }
        let last = findings.iter().find(|finding| finding.contains("serve.things")).unwrap();
        assert!(
            last.ends_with("there are log, dev.listen, dev.data, dev.regions, dev.pace, dev.tls-certificate, dev.tls-key, dev.legacy-hsm-types, dev.monitoring, limits.connections-per-address, limits.calls-per-address, limits.calls"),
            "{last}"
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let findings = load("log = \"text\"\n[dev\n", &[]).unwrap_err();
        assert!(findings[0].starts_with("error[syntax]: strongroom.toml:2 is not TOML\ncause: "), "{findings:?}");
        let missing = Config::load(Some(Path::new("/nowhere/strongroom.toml")), &|_| None).unwrap_err();
        assert_eq!(missing[0].slug(), "configuration");
    }

    #[test]
    fn without_a_file_nothing_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        let config = Config::load(None, &move |name| (name == "HOME").then(|| home.clone().into())).unwrap();
        assert!(config.is_empty());
    }

    #[test]
    fn the_defaults_are_valid() {
        for setting in SETTINGS {
            assert_eq!((setting.check)(setting.default), Ok(()), "{}", setting.name);
        }
        let default = |name| SETTINGS.iter().find(|setting| setting.name == name).unwrap().default.parse().unwrap();
        let usual = Most::default();
        let limits: [usize; 3] =
            ["limits.connections-per-address", "limits.calls-per-address", "limits.calls"].map(default);
        assert_eq!(limits, [usual.connections, usual.calls, usual.calls_of_all]);
    }

    #[test]
    fn a_limit_is_a_number() {
        let config = load("[limits]\ncalls = 1_000\n", &[]).unwrap();
        assert_eq!(config.get::<usize>("limits.calls"), Some(1_000));
        let findings = load("[limits]\ncalls = 0\ncalls-per-address = \"many\"\n", &[]).unwrap_err();
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|f| f.ends_with("cause: it is a number from 1 to 1000000")), "{findings:?}");
    }

    #[test]
    fn the_pace_is_a_name_and_perhaps_a_factor() {
        assert_eq!(pace("at-once"), Ok(Pace::AtOnce));
        assert_eq!(pace("aws"), Ok(Pace::Aws(1.0)));
        assert_eq!(pace("aws:0.25"), Ok(Pace::Aws(0.25)));
        for bad in ["slow", "aws:", "aws:-1", "aws:inf", "aws:0", ""] {
            assert!(pace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn distances_count_changes() {
        assert_eq!(distance("tls_crt", "tls_cert"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listen"), 0);
    }
}
