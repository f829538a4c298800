//! Owns the command line of the binary: which command runs, under which of its names, and how its end becomes an exit code.
//! What a command does is in its own module.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::{ArgAction, Parser, Subcommand};
use strongroom_model::RegionName;

use crate::api_client::FromEnvironment;
use crate::config::Config;
use crate::host::HostSettings;
use crate::human::{Color, Style};
use crate::layout::Layout;
use crate::log::Form;
use crate::problem::{Exit, Problem};
use crate::{
    audit, backups, ca, check_config, cloudhsm_cli, configure, copies, dev, host, identity, log, policy, quickstart,
    region_command, seams, subnet,
};

/// The commands, as people look for them.
const HELP: &str = "\
strongroom: a CloudHSM anyone can run

Usage: strongroom [OPTIONS] COMMAND

Try     dev  regions on this machine, for tests        quickstart  a cluster, a user and a key, ready to use
Use     configure  write client files for a cluster    cloudhsm-cli  users, keys, signatures (both also by AWS's names: configure-cli, ...)
        ca  a customer CA without OpenSSL
Watch   copies  what goes where, and how far           backups  what each holds, and when it was last opened
        audit  who called what, and that nothing of it was changed
Run     region  show, export and trust peers           subnet  state the VPC and zone of subnet ids
        admin  accounts, users, roles and access keys
Check   check-config  the file, before a start              policy  documents, and what they decide
Other   help  one command        version

Options everywhere: --json, --utc, --color auto|always|never, -v, -vv, -q, --config FILE
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not reachable (try again), 4 refused, 5 findings, 130 interrupted;
cloudhsm-cli 0 and 1 only, as AWS's
Variables: STRONGROOM_CONFIG, _DATA, _CLIENT, _LOG; AWS_* as everywhere; CLOUDHSM_ROLE, CLOUDHSM_PIN; NO_COLOR
";

#[derive(Debug, Parser)]
#[command(name = "strongroom", version, override_help = HELP, disable_help_subcommand = false)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(subcommand)]
    command: Command,
}

/// The options that every command has.
#[derive(Clone, Debug, clap::Args)]
pub struct Everywhere {
    /// Results for machines
    #[arg(long, global = true)]
    json: bool,
    /// Times as they are, not as how long ago
    #[arg(long, global = true)]
    utc: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Say more: -v calls and logins, -vv the steps of jobs
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "STRONGROOM_CONFIG")]
    config: Option<PathBuf>,
}

impl Everywhere {
    fn verbosity(&self) -> i8 {
        if self.quiet { -1 } else { i8::try_from(self.verbose).unwrap_or(i8::MAX) }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Regions on this machine, for tests
    Dev(dev::Dev),
    /// A cluster, a user and a key, ready to use
    Quickstart(quickstart::Quickstart),
    /// Write client files for a cluster
    Configure(configure::Configure),
    /// Users, keys, signatures
    #[command(disable_help_flag = true)]
    CloudhsmCli {
        /// As AWS's tool has them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// What goes where, and how far
    Copies(copies::Copies),
    /// What each holds, and when it was last opened
    Backups(backups::Backups),
    /// Who called what, and that nothing of it was changed
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Documents, and what they decide
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Show, export and trust peers
    Region(region_command::Region),
    /// Accounts, users, roles and access keys
    Admin(identity::admin::Admin),
    /// The file, before a start
    CheckConfig(check_config::CheckConfig),
    /// State the VPC and zone of subnet ids
    #[command(subcommand)]
    Subnet(subnet::SubnetCommand),
    /// A customer CA without OpenSSL
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// The HSM host
    #[command(hide = true)]
    Hsm(Hsm),
    /// The version
    Version,
}

/// The HSM host, as `dev` starts it.
#[derive(Clone, Debug, clap::Args)]
struct Hsm {
    /// End when standard input does
    #[arg(long)]
    child: bool,
    /// The data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The socket for the API process
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
    /// A region, once for each
    #[arg(long, value_name = "NAME", required = true)]
    region: Vec<String>,
    /// Keep roots in memory only
    #[arg(long)]
    ephemeral: bool,
    /// The form of the log
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: Form,
}

/// Runs what the arguments say; the first is the name that this program was called by.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let began = Instant::now();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    if name == "cloudhsm-cli" {
        return cloudhsm_cli::run(arguments);
    }
    if name == "configure-cli" {
        return run_configure_cli(arguments);
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return print_usage(&usage),
    };
    let color = cli.everywhere.color;
    match dispatch(cli, began) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            print_problem(&problem, color);
            ExitCode::from(problem.exit_code() as u8)
        }
    }
}

/// AWS's `configure-cli`, as a program of that name.
#[derive(Parser)]
#[command(name = "configure-cli", version)]
struct ConfigureProgram {
    #[command(flatten)]
    command: configure::ConfigureCli,
}

fn run_configure_cli(arguments: Vec<OsString>) -> ExitCode {
    match ConfigureProgram::try_parse_from(arguments) {
        Err(usage) => print_usage(&usage),
        Ok(cli) => match configure::run_configure_cli(&cli.command, &FromEnvironment, &mut io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                print_problem(&problem, Color::Auto);
                ExitCode::from(problem.exit_code() as u8)
            }
        },
    }
}

fn dispatch(cli: Cli, began: Instant) -> Result<u8, Problem> {
    let Cli { everywhere, command } = cli;
    let style = Style::of_stdout(everywhere.json, everywhere.utc, everywhere.color);
    match command {
        Command::Dev(command) => {
            let config = load_config(everywhere.config.as_deref())?;
            dev::run(&command, &config, everywhere.verbosity(), began)
        }
        Command::Quickstart(command) => done(quickstart::run(&command, &mut io::stdout())),
        Command::Configure(command) => done(configure::run_configure(&command, &FromEnvironment, &mut io::stdout())),
        Command::Copies(command) => copies::run(&command, &style, &mut io::stdout()).map(|exit| exit as u8),
        Command::Backups(command) => done(backups::run(&command, &style, &mut io::stdout())),
        Command::Audit(command) => audit::run(&command, &style, &mut io::stdout()).map(|exit| exit as u8),
        Command::Policy(command) => {
            policy::run(&command, &style, &mut io::stdout(), &mut io::stderr()).map(|exit| exit as u8)
        }
        Command::Region(command) => done(region_command::run(&command, &style, &mut io::stdout(), &mut io::stderr())),
        Command::Admin(command) => done(identity::admin::run(&command, &style, &mut io::stdout(), &mut io::stderr())),
        Command::CheckConfig(command) => {
            let file = everywhere.config.as_deref();
            let exit = check_config::run(&command, file, &style, &mut io::stdout(), &mut io::stderr())?;
            Ok(exit as u8)
        }
        Command::Subnet(command) => done(subnet::run(&command, &style, &mut io::stdout())),
        Command::Ca(command) => done(ca::run(command, SystemTime::now(), &mut io::stdout())),
        Command::CloudhsmCli { arguments } => {
            let arguments = [OsString::from("cloudhsm-cli")].into_iter().chain(arguments);
            let succeeded = cloudhsm_cli::run(arguments) == ExitCode::SUCCESS;
            Ok(if succeeded { Exit::Done } else { Exit::Failed } as u8)
        }
        Command::Hsm(command) => done(run_hsm(command, everywhere.verbosity())),
        Command::Version => done(print(&format!("strongroom {}", env!("CARGO_PKG_VERSION")))),
    }
}

/// The configuration, or the first thing that is wrong with it; `check-config` says all of it.
fn load_config(file: Option<&Path>) -> Result<Config, Problem> {
    Config::load(file, &|name| std::env::var_os(name)).map_err(|findings| {
        let more = findings.len() - 1;
        let first = findings.into_iter().next().expect("what is wrong is said");
        if more > 0 { first.help(format!("see this and {more} more with:  strongroom check-config")) } else { first }
    })
}

fn done(outcome: Result<(), Problem>) -> Result<u8, Problem> {
    outcome.map(|()| Exit::Done as u8)
}

fn run_hsm(command: Hsm, verbosity: i8) -> Result<(), Problem> {
    seams::seed_early();
    log::start(command.log, verbosity);
    host::run(&HostSettings {
        socket: command.socket,
        layout: Layout::new(command.data),
        regions: command.region.into_iter().map(RegionName::new).collect(),
        ephemeral: command.ephemeral,
        is_child: command.child,
    })
}

fn print(text: &str) -> Result<(), Problem> {
    writeln!(io::stdout(), "{text}").map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

fn print_usage(usage: &clap::Error) -> ExitCode {
    // Who closed the output does not want to read it.
    let _ = usage.print();
    ExitCode::from(if usage.use_stderr() { Exit::Usage } else { Exit::Done } as u8)
}

/// An error on standard error, its first word red where colour is on.
fn print_problem(problem: &Problem, color: Color) {
    let text = problem.to_string();
    let red = color.is_on(io::stderr().is_terminal(), |name| std::env::var(name).ok());
    let text = match text.split_once(':') {
        Some((head, rest)) if red => format!("\u{1b}[1;31m{head}\u{1b}[0m:{rest}"),
        _ => text,
    };
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammars_are_sound() {
        Cli::command().debug_assert();
        ConfigureProgram::command().debug_assert();
    }
}
