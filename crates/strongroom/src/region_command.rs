//! `strongroom region`: what others must know of a region (`export`), whom it trusts (`trust`, `show`). Nothing here is
//! secret; whoever trusts a file compares its fingerprint with the one that its operator reads out.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use strongroom_model::{AccountId, RegionName};

use crate::dev;
use crate::human::{Style, Table};
use crate::layout::Layout;
use crate::problem::{Exit, Problem};
use crate::region_file::RegionFile;
use crate::trust::{Trust, TrustError};

/// How many characters of a fingerprint people compare.
const COMPARED: usize = 8;

/// `strongroom region`
#[derive(Clone, Debug, Args)]
pub struct Region {
    #[command(subcommand)]
    command: RegionCommand,
    /// The data folder of `strongroom dev`
    #[arg(long, value_name = "DIR", global = true, env = "STRONGROOM_DATA")]
    data: Option<PathBuf>,
    /// The region, where the folder has several
    #[arg(long, value_name = "NAME", global = true)]
    region: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
enum RegionCommand {
    /// The region and those that it trusts
    Show,
    /// Print what others must know of the region: nothing of it is secret
    Export,
    /// Trust another region: copy backups to it, and take those that it sends
    Trust {
        /// What the other region exported; - is standard input
        file: PathBuf,
        /// Its whole fingerprint, as its operator reads it; without it the last characters are asked for
        #[arg(long, value_name = "SHA256:...")]
        fingerprint: Option<String>,
        /// Take copies of this account only, and of others that are named so; without it those of all
        #[arg(long, value_name = "ACCOUNT", value_parser = account)]
        accept_account: Vec<AccountId>,
    },
}

/// Runs the command. What is meant for people beside a result goes to `beside`.
///
/// # Errors
/// [`Problem`]; nothing was trusted.
pub fn run(command: &Region, style: &Style, out: &mut dyn Write, beside: &mut dyn Write) -> Result<(), Problem> {
    let (layout, regions) = dev::data_folder(command.data.clone())?;
    let own = own_file(&layout, &choose(&regions, command.region.as_deref())?)?;
    let trust = Trust::new(layout.peers(&own.name));
    let unsaid = |e: io::Error| Problem::new("output", "cannot write to standard output").cause(e);
    match &command.command {
        RegionCommand::Show => write!(out, "{}", table(&own, &trust).text(style)).map_err(unsaid),
        RegionCommand::Export => {
            write!(out, "{}", own.to_toml()).map_err(unsaid)?;
            writeln!(beside, "{} at {}, fingerprint {}", own.name, own.address, own.fingerprint()).map_err(unsaid)
        }
        RegionCommand::Trust { file, fingerprint, accept_account } => {
            let accept_accounts = (!accept_account.is_empty()).then(|| accept_account.clone());
            let other = RegionFile { accept_accounts, ..read(file)? };
            if other.region_id == own.region_id || other.name == own.name {
                return Err(Problem::new("own-region", format!("{} is this region's own name", other.name))
                    .help("trust the file that the other region exported")
                    .exit(Exit::Usage));
            }
            let (name, address) = (&other.name, &other.address);
            let what = format!(
                "HSM hosts of {} will wrap backups for {name} ({address}) and accept those that it signed.",
                own.name
            );
            writeln!(beside, "{what}").map_err(unsaid)?;
            compare(&other, fingerprint.as_deref(), beside)?;
            let path = trust.add(&other).map_err(|error| not_added(&error))?;
            let path = path.display();
            let both = "A copy needs trust on both sides: export here, trust there.";
            writeln!(out, "Trusted: {path}. {both}").map_err(unsaid)
        }
    }
}

fn account(text: &str) -> Result<AccountId, String> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(AccountId::new(text)),
        false => Err("an account has 12 digits".to_owned()),
    }
}

fn not_added(error: &TrustError) -> Problem {
    Problem::new("trust", "nothing was trusted").cause(error)
}

/// The region that is meant.
fn choose(regions: &[RegionName], named: Option<&str>) -> Result<RegionName, Problem> {
    let names = regions.iter().map(RegionName::as_str).collect::<Vec<_>>().join(", ");
    match (regions, named) {
        ([only], None) => Ok(only.clone()),
        (_, Some(name)) if regions.iter().any(|region| region.as_str() == name) => Ok(RegionName::new(name)),
        (_, Some(name)) => {
            Err(Problem::new("no-region", format!("{name} is not in this data folder, which has {names}"))
                .exit(Exit::Usage))
        }
        (_, None) => Err(Problem::new("which-region", format!("the data folder has {names}"))
            .help("say which:  --region NAME")
            .exit(Exit::Usage)),
    }
}

fn own_file(layout: &Layout, name: &RegionName) -> Result<RegionFile, Problem> {
    let path = layout.region_file(name);
    let failed = |cause: &dyn std::fmt::Display| {
        Problem::new("not-started", format!("cannot read {}", path.display()))
            .cause(cause)
            .help("it is written when the region starts:  strongroom dev")
    };
    let text = fs::read_to_string(&path).map_err(|e| failed(&e))?;
    RegionFile::parse(&text).map_err(|e| failed(&e))
}

fn read(path: &std::path::Path) -> Result<RegionFile, Problem> {
    let failed = |cause: &dyn std::fmt::Display| {
        Problem::new("region-file", format!("{} is no file that a region exported", path.display())).cause(cause)
    };
    let text = match path.to_str() {
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => fs::read_to_string(path),
    };
    RegionFile::parse(&text.map_err(|e| failed(&e))?).map_err(|e| failed(&e))
}

/// Has a person compare the fingerprint, or compares the one that was given.
fn compare(other: &RegionFile, given: Option<&str>, beside: &mut dyn Write) -> Result<(), Problem> {
    let found = other.fingerprint().to_string();
    let differs = |given: &str| {
        Problem::new("fingerprint", format!("the fingerprint of {} is {found}, not {given}", other.name))
            .cause("the file is another one than its operator exported")
            .help("do not trust it before you know why")
            .exit(Exit::Refused)
    };
    if let Some(given) = given {
        return if given == found { Ok(()) } else { Err(differs(given)) };
    }
    if !io::stdin().is_terminal() {
        return Err(Problem::new("not-asked", "nobody is there to compare the fingerprint")
            .help("give the one that its operator reads to you:  --fingerprint SHA256:...")
            .exit(Exit::Usage));
    }
    let unasked = |e: io::Error| Problem::new("input", "cannot ask").cause(e);
    write!(beside, "Last {COMPARED} characters of its fingerprint, as its operator reads them to you: ")
        .map_err(unasked)?;
    beside.flush().map_err(unasked)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(unasked)?;
    let answer = answer.trim();
    if answer.len() >= COMPARED && found.ends_with(answer) { Ok(()) } else { Err(differs(answer)) }
}

fn table(own: &RegionFile, trust: &Trust) -> Table {
    let mut table = Table::new(&["REGION", "REGION ID", "LINK", "FINGERPRINT", "ACCOUNTS", "NOTE"]);
    let mut row = |region: &RegionFile, note: &str| {
        table.row(vec![
            region.name.to_string(),
            region.region_id.to_string(),
            region.address.clone(),
            region.fingerprint().to_string(),
            accounts(region),
            note.to_owned(),
        ]);
    };
    row(own, "this one");
    trust.peers().values().for_each(|peer| row(peer, "trusted"));
    table
}

/// The accounts whose copies are taken.
fn accounts(region: &RegionFile) -> String {
    match &region.accept_accounts {
        None => "all".to_owned(),
        Some(accounts) => accounts.iter().map(AccountId::as_str).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region_file::tests::region;

    #[test]
    fn the_only_region_is_meant_and_else_it_is_said() {
        let [us, eu] = ["us-east-1", "eu-west-1"].map(RegionName::new);
        assert_eq!(choose(std::slice::from_ref(&us), None).unwrap(), us);
        assert_eq!(choose(&[us.clone(), eu.clone()], Some("eu-west-1")).unwrap(), eu);
        assert_eq!(choose(&[us.clone(), eu], None).unwrap_err().slug(), "which-region");
        assert_eq!(choose(&[us], Some("ap-south-1")).unwrap_err().slug(), "no-region");
    }

    #[test]
    fn a_fingerprint_is_compared_as_a_whole() {
        let other = region("eu-west-1");
        let right = other.fingerprint().to_string();
        assert!(compare(&other, Some(&right), &mut io::sink()).is_ok());
        for wrong in [&right[..right.len() - 1], &right[right.len() - 8..], ""] {
            let problem = compare(&other, Some(wrong), &mut io::sink()).unwrap_err();
            assert_eq!(problem.exit_code(), Exit::Refused, "{wrong:?}");
        }
    }
}
