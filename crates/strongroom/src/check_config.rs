//! `strongroom check-config`: reads the configuration, changes nothing, and says all that is wrong with it at once.

use std::io::Write;
use std::path::Path;

use clap::Args;

use crate::config::{Config, SETTINGS, Source};
use crate::human::{Style, Table, counted};
use crate::problem::{Exit, Problem};

/// `strongroom check-config`
#[derive(Clone, Debug, Args)]
pub struct CheckConfig {
    /// Print each value and where it comes from
    #[arg(long)]
    show: bool,
}

/// Runs the command; gives the exit code. Findings go to `errors`.
///
/// # Errors
/// [`Problem`] if nothing can be said.
pub fn run(
    command: &CheckConfig,
    file: Option<&Path>,
    style: &Style,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<Exit, Problem> {
    let unsaid = |e: std::io::Error| Problem::new("output", "cannot write to standard output").cause(e);
    match Config::load(file, &|name| std::env::var_os(name)) {
        Ok(config) => {
            if command.show {
                write!(out, "{}", table(&config).text(style)).map_err(unsaid)?;
            } else {
                writeln!(out, "ok, {}", counted(config.len() as u64, "setting")).map_err(unsaid)?;
            }
            Ok(Exit::Done)
        }
        Err(findings) => {
            for finding in findings {
                writeln!(errors, "{finding}").map_err(unsaid)?;
            }
            Ok(Exit::Findings)
        }
    }
}

fn table(config: &Config) -> Table {
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for setting in SETTINGS {
        let (value, from) = match config.source(setting.name) {
            Some((value, Source::Variable(name))) => (value, (*name).to_owned()),
            Some((value, Source::File { path, line })) => (value, format!("{}:{line}", path.display())),
            None => (setting.default, "default".to_owned()),
        };
        table.row(vec![setting.name.to_owned(), value.to_owned(), from]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_shown_with_its_source() {
        let style = Style { json: false, utc: false, color: false, terminal: true };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[dev]\npace = \"aws\"\n").unwrap();
        let config = Config::load(Some(&path), &|_| None).unwrap();
        let text = table(&config).text(&style);
        assert_eq!(text.lines().count(), 1 + SETTINGS.len());
        let pace = text.lines().find(|line| line.starts_with("dev.pace")).unwrap();
        assert!(pace.ends_with("c.toml:2"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("log ") && line.contains(" text ")), "{text}");
    }

    #[test]
    fn findings_are_an_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "a = 1\nb = 2\n").unwrap();
        let style = Style { json: false, utc: false, color: false, terminal: true };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let exit = run(&CheckConfig { show: false }, Some(&path), &style, &mut out, &mut errors).unwrap();
        assert_eq!(exit, Exit::Findings);
        assert!(out.is_empty());
        assert_eq!(String::from_utf8(errors).unwrap().matches("error[unknown-key]").count(), 2);
    }
}
