//! `strongroom copies`: what leaves and enters a region, and how far it is; `show` tells one copy step by step, `abandon`
//! frees the bytes of one whose destination will never answer.

mod json;
mod note;
mod watch;

use std::io::{self, IsTerminal as _, Write};

use clap::{Args, Subcommand};
use strongroom_model::call::{AbandonCopyRequest, DescribeCopyRequest, ListCopiesRequest};
use strongroom_model::copy::{Copy, CopyState, CopyStep};
use strongroom_model::{Call, CopyId, Reply, Timestamp};

use self::note::{OVERDUE, note, shown_state};
use crate::api_client::ApiClient;
use crate::human::{Style, Table, counted, size, took};
use crate::problem::{Exit, Problem};
use crate::seams::SystemClock;

/// Copies of a page, so that an answer stays within what is read.
const PAGE: i64 = 25;

/// `strongroom copies`
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Copies {
    #[command(subcommand)]
    command: Option<CopiesCommand>,
    /// Show those under way until none is; the exit code is 1 if one failed meanwhile
    #[arg(long)]
    watch: bool,
    /// Only those in these states: waiting, sending, checking, ready, failed, cancelled, overdue
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
}

#[derive(Clone, Debug, Subcommand)]
enum CopiesCommand {
    /// One copy, step by step
    Show {
        /// The copy
        copy_id: String,
    },
    /// Free the bytes of a copy whose destination will never answer; its outcome there stays unknown
    Abandon {
        /// The copy
        copy_id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

fn state(text: &str) -> Result<String, String> {
    let known = CopyState::parse(text).is_some() || text == OVERDUE;
    known.then(|| text.to_owned()).ok_or_else(|| {
        let names: Vec<&str> = CopyState::ALL.iter().map(|state| state.as_str()).collect();
        format!("a state is one of {}, {OVERDUE}", names.join(", "))
    })
}

/// Runs the command; gives the exit code.
///
/// # Errors
/// [`Problem`]
pub fn run(command: &Copies, style: &Style, out: &mut dyn Write) -> Result<Exit, Problem> {
    let mut api = ApiClient::from_environment(None, None)?;
    match &command.command {
        Some(CopiesCommand::Show { copy_id }) => {
            let copy = describe(&mut api, copy_id)?;
            let text = if style.json { json::list(&[copy]) + "\n" } else { show(&copy, style) };
            say(out, &text)?;
        }
        Some(CopiesCommand::Abandon { copy_id, yes }) => abandon(&mut api, copy_id, *yes, out)?,
        None if command.watch => return watch::run(&mut api, &command.state, style, out),
        None => {
            let copies = list(&mut api, &command.state)?;
            let text = if style.json { json::list(&copies) + "\n" } else { table(&copies, style, now()).text(style) };
            say(out, &text)?;
        }
    }
    Ok(Exit::Done)
}

/// All copies in these states (in any, if none is named), newest first.
fn list(api: &mut ApiClient, states: &[String]) -> Result<Vec<Copy>, Problem> {
    let is_asked = |copy: &Copy| {
        let is_one = |state: &String| state == copy.state.as_str() || state == shown_state(copy);
        states.is_empty() || states.iter().any(is_one)
    };
    // Being overdue is no state of the API's.
    let asked = (!states.is_empty() && !states.iter().any(|state| state == OVERDUE)).then(|| states.to_vec());
    let (mut copies, mut next_token) = (Vec::new(), None);
    loop {
        let input = ListCopiesRequest { states: asked.clone(), next_token, max_results: Some(PAGE) };
        let Reply::ListCopies(reply) = api.call(Call::ListCopies(input))? else { mismatch() };
        copies.extend(reply.copies.into_iter().filter(is_asked));
        next_token = reply.next_token;
        if next_token.is_none() {
            return Ok(copies);
        }
    }
}

fn describe(api: &mut ApiClient, copy_id: &str) -> Result<Copy, Problem> {
    let input = DescribeCopyRequest { copy_id: CopyId::new(copy_id) };
    let Reply::DescribeCopy(reply) = api.call(Call::DescribeCopy(input))? else { mismatch() };
    Ok(reply.copy)
}

fn abandon(api: &mut ApiClient, copy_id: &str, yes: bool, out: &mut dyn Write) -> Result<(), Problem> {
    let copy = describe(api, copy_id)?;
    let (to, backup) = (&copy.destination.region, copy.source.backup_id.clone().unwrap_or_default());
    if !yes {
        let question = format!(
            "{copy_id} of {backup} to {to} will be failed here, and its bytes no longer kept for it. What became of it in \
             {to} stays unknown.\nType the id of the copy to go on: "
        );
        if !io::stdin().is_terminal() {
            return Err(Problem::new("not-asked", "nobody is there to be asked")
                .help("--yes answers")
                .exit(Exit::Usage));
        }
        say(out, &question)?;
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        if read.is_err() || answer.trim() != copy_id {
            return Err(Problem::new("not-confirmed", "nothing was changed"));
        }
    }
    let input = AbandonCopyRequest { copy_id: CopyId::new(copy_id) };
    let Reply::AbandonCopy(reply) = api.call(Call::AbandonCopy(input))? else { mismatch() };
    say(out, &format!("{copy_id}  {}  {}\n", shown_state(&reply.copy), note(&reply.copy, now())))
}

fn table(copies: &[Copy], style: &Style, now: Timestamp) -> Table {
    let mut table = Table::new(&["COPY", "BACKUP", "FROM", "TO", "STATE", "SIZE", "ASKED", "NOTE"]);
    for copy in copies {
        table.row(vec![
            copy.copy_id.to_string(),
            copy.source.backup_id.as_ref().map_or_else(String::new, ToString::to_string),
            copy.source.region.to_string(),
            copy.destination.region.to_string(),
            shown_state(copy).to_owned(),
            if style.terminal { size(bytes(copy.bytes_total)) } else { copy.bytes_total.to_string() },
            if style.terminal { style.ago(copy.requested_at, now) } else { copy.requested_at.to_string() },
            note(copy, now),
        ]);
    }
    table
}

fn show(copy: &Copy, style: &Style) -> String {
    let end = |end: &strongroom_model::copy::CopyEnd| {
        let backup = end.backup_id.as_ref().map_or("no backup yet", |id| id.as_str());
        format!("{backup} ({})", end.region)
    };
    let mut lines =
        vec![format!("{}  {}  {} -> {}", copy.copy_id, shown_state(copy), end(&copy.source), end(&copy.destination))];
    if let Some(who) = &copy.requested_by {
        let from = copy.source_ip.as_ref().map(|ip| format!(" from {ip}")).unwrap_or_default();
        let request = copy.request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default();
        lines.push(format!("  asked by  {who}{from}{request}"));
    }
    lines.push(format!("  content   {}", content(copy)));
    if let Some(digest) = &copy.digest {
        let equal = if copy.state == CopyState::Ready { ", equal in both regions" } else { "" };
        lines.push(format!("  digest    {digest}{equal}"));
    }
    if copy.state != CopyState::Ready {
        lines.push(format!("  note      {}", note(copy, now())));
    }
    lines.extend(steps(copy.requested_at, copy.steps.as_deref().unwrap_or_default(), style));
    lines.join("\n") + "\n"
}

fn content(copy: &Copy) -> String {
    let counts = copy
        .users
        .zip(copy.keys)
        .map(|(users, keys)| format!("{}, {}, ", counted(bytes(users), "user"), counted(bytes(keys), "key")));
    let pieces = counted(bytes(copy.chunks_total), "piece");
    let size = size(bytes(copy.bytes_total));
    let mode = copy.mode.map(|mode| format!(", {mode}")).unwrap_or_default();
    format!("{}{size} in {pieces}{mode}, made {}", counts.unwrap_or_default(), copy.backup_created_at)
}

fn steps(begun: Timestamp, steps: &[CopyStep], style: &Style) -> Vec<String> {
    let after = |step: &CopyStep| format!("+{}", took(step.at.since(begun).max(0)));
    let width = steps.iter().map(|step| after(step).len()).max().unwrap_or(0).max("+999 ms".len());
    let names = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let line = |step: &CopyStep| {
        let time = step.at.to_string();
        let time = if style.utc { time.as_str() } else { &time[11..] };
        format!("  {time}  {:>width$}  {:names$}  {}", after(step), step.name, step.text)
    };
    steps.iter().map(line).collect()
}

/// What a model counts is never negative.
fn bytes(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn now() -> Timestamp {
    Timestamp::from_millis(SystemClock.millis())
}

fn say(out: &mut dyn Write, text: &str) -> Result<(), Problem> {
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

fn mismatch() -> ! {
    unreachable!("a reply is of its call's operation")
}

#[cfg(test)]
mod tests {
    use strongroom_model::cluster::ClusterMode;
    use strongroom_model::{BackupId, RegionName};

    use super::*;

    const STYLE: Style = Style { json: false, utc: false, color: false, terminal: true };

    pub(super) fn copy(state: CopyState) -> Copy {
        let mut copy = Copy {
            copy_id: CopyId::new("copy-7xa3l3fvxrr"),
            state,
            requested_at: Timestamp::from_millis(1_795_511_647_439),
            bytes_total: 22_439_526,
            bytes_sent: 13_631_488,
            chunks_total: 22,
            ..Copy::default()
        };
        copy.source.region = RegionName::new("us-east-1");
        copy.source.backup_id = Some(BackupId::new("backup-on5rnxxrbwa"));
        copy.destination.region = RegionName::new("eu-west-1");
        copy
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let sending = copy(CopyState::Sending);
        let now = sending.requested_at.plus(2_000);
        let text = table(&[sending], &STYLE, now).text(&STYLE);
        assert_eq!(
            text,
            "COPY              BACKUP              FROM       TO         STATE    SIZE      ASKED    NOTE\n\
             copy-7xa3l3fvxrr  backup-on5rnxxrbwa  us-east-1  eu-west-1  sending  21.4 MiB  2 s ago  \
             13.0 MiB there, 6.5 MiB/s, 2 s left\n"
        );
    }

    #[test]
    fn a_copy_is_told_step_by_step() {
        let mut ready = copy(CopyState::Ready);
        ready.destination.backup_id = Some(BackupId::new("backup-ncwc36xtnft"));
        ready.requested_by = Some("arn:aws:iam::000000000000:user/test".into());
        ready.source_ip = Some("127.0.0.1".into());
        ready.digest = Some("sha256:ec31".into());
        (ready.users, ready.keys, ready.bytes_total, ready.chunks_total) = (Some(3), Some(2), 9_830, 1);
        let step = |after: i64, name: &str, text: &str| CopyStep {
            at: ready.requested_at.plus(after),
            name: name.into(),
            text: text.into(),
        };
        ready.mode = Some(ClusterMode::Fips);
        ready.steps = Some(vec![step(0, "accepted", "job and audit written"), step(41, "ready", "receipt 1041")]);
        assert_eq!(
            show(&ready, &STYLE),
            "copy-7xa3l3fvxrr  ready  backup-on5rnxxrbwa (us-east-1) -> backup-ncwc36xtnft (eu-west-1)\n\
             \x20 asked by  arn:aws:iam::000000000000:user/test from 127.0.0.1\n\
             \x20 content   3 users, 2 keys, 9.6 KiB in 1 piece, FIPS, made 1970-01-01T00:00:00.000Z\n\
             \x20 digest    sha256:ec31, equal in both regions\n\
             \x20 09:14:07.439Z    +0 ms  accepted  job and audit written\n\
             \x20 09:14:07.480Z   +41 ms  ready     receipt 1041\n"
        );
    }

    #[test]
    fn states_are_checked() {
        assert_eq!(state("failed").unwrap(), "failed");
        assert_eq!(state("overdue").unwrap(), "overdue");
        assert!(state("FAILED").unwrap_err().contains("waiting, sending"));
    }
}
