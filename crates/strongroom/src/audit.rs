//! `strongroom audit`: who called what, and what came of it. `list` and `follow` show events, `export` keeps them in a
//! file, `verify` computes every chain anew and checks every signature, of a region or of a file. It reads over the API and
//! changes nothing there, though its own calls leave events too.

mod lines;
mod verify;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use strongroom_model::audit::AuditEvent;
use strongroom_model::call::{ListAuditEventsRequest, ListAuditEventsResponse};
use strongroom_model::time::{DAY, HOUR, MINUTE, SECOND};
use strongroom_model::{Call, Operation, Reply, Timestamp};

use self::lines::Line;
use self::verify::{Chains, Finding, Verified};
use crate::api_client::ApiClient;
use crate::human::{Style, Table, counted};
use crate::problem::{Exit, Problem};
use crate::seams::SystemClock;

/// Events that are shown if nothing else is said.
const SHOWN: usize = 50;
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// `strongroom audit`
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// The last events, the newest below
    List {
        /// Which events
        #[command(flatten)]
        filter: Filter,
        /// The most events that are shown
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        limit: usize,
    },
    /// Events as they come, until Ctrl-C
    Follow {
        /// Which events
        #[command(flatten)]
        filter: Filter,
    },
    /// All events with their chains and signatures, as JSON lines
    Export {
        /// The file that is made
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Check every chain and every signature; the exit code is 5 if one does not hold
    Verify {
        /// An exported file, instead of the region
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Of calls since then: 2026-11-24T09:15:21Z, or how long ago: 90s, 10m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Of calls before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Of this operation
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Of calls by this principal
    #[arg(long, value_name = "ARN")]
    principal: Option<String>,
    /// Of calls that failed
    #[arg(long)]
    failed: bool,
}

impl Filter {
    fn request(&self, newest_first: bool) -> ListAuditEventsRequest {
        ListAuditEventsRequest {
            since: self.since,
            until: self.until,
            event_name: self.event.clone(),
            principal: self.principal.clone(),
            errors_only: self.failed.then_some(true),
            newest_first: newest_first.then_some(true),
            ..ListAuditEventsRequest::default()
        }
    }
}

/// Runs the command; gives the exit code.
///
/// # Errors
/// [`Problem`]
pub fn run(command: &AuditCommand, style: &Style, out: &mut dyn Write) -> Result<Exit, Problem> {
    let api = || ApiClient::from_environment(None, None);
    match command {
        AuditCommand::List { filter, limit } => list(&mut api()?, filter, *limit, style, out)?,
        AuditCommand::Follow { filter } => follow(&mut api()?, filter, style, out)?,
        AuditCommand::Export { to } => export(&mut api()?, to, out)?,
        AuditCommand::Verify { file: None } => return tell(&verify_region(&mut api()?)?, style, out),
        AuditCommand::Verify { file: Some(path) } => return tell(&verify_file(path)?, style, out),
    }
    Ok(Exit::Done)
}

fn list(api: &mut ApiClient, filter: &Filter, limit: usize, style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
    let (mut events, mut request) = (Vec::new(), filter.request(true));
    while events.len() < limit {
        let page = page(api, request.clone())?;
        events.extend(page.events);
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            break;
        }
    }
    events.truncate(limit);
    events.reverse();
    show(&events, style, out)
}

/// What comes after the last event that there is now. Its own looks are left out, unless they are asked for.
fn follow(api: &mut ApiClient, filter: &Filter, style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
    let newest = ListAuditEventsRequest { newest_first: Some(true), max_results: Some(1), ..Default::default() };
    let mut seen = page(api, newest)?.last_seq;
    let own = Operation::ListAuditEvents.name();
    loop {
        std::thread::sleep(PAUSE);
        let request = ListAuditEventsRequest { after_seq: Some(seen), ..filter.request(false) };
        seen = each_page(api, request, &mut |page| {
            let is_asked = |event: &AuditEvent| filter.event.is_some() || Row::of(event).name != own;
            let events: Vec<_> = page.events.into_iter().filter(is_asked).collect();
            if events.is_empty() { Ok(()) } else { show(&events, style, out) }
        })?;
    }
}

/// Whoever reads the file has all that it takes to check it, but for whose the key is.
fn export(api: &mut ApiClient, to: &Path, out: &mut dyn Write) -> Result<(), Problem> {
    let unwritable = |cause: io::Error| Problem::new("export", format!("cannot write {}", to.display())).cause(cause);
    let mut file = BufWriter::new(File::create_new(to).map_err(unwritable)?);
    let (mut signatures, mut count) = (Vec::new(), 0);
    let mut public_key = String::new();
    each_page(api, ListAuditEventsRequest::default(), &mut |page| {
        public_key = page.public_key;
        for event in page.events {
            count += 1;
            signatures.extend(Line::signature(&event));
            writeln!(file, "{}", Line::event(event).text()).map_err(unwritable)?;
        }
        Ok(())
    })?;
    for line in signatures.into_iter().chain([Line::public_key(public_key)]) {
        writeln!(file, "{}", line.text()).map_err(unwritable)?;
    }
    file.into_inner().map_err(|error| unwritable(error.into_error()))?.sync_all().map_err(unwritable)?;
    say(out, &format!("{} in {}\n", counted(count, "event"), to.display()))
}

/// Checks what the region tells.
fn verify_region(api: &mut ApiClient) -> Result<Result<Verified, Finding>, Problem> {
    let (mut chains, mut found) = (Chains::default(), None);
    let mut public_key = String::new();
    each_page(api, ListAuditEventsRequest::default(), &mut |page| {
        public_key = page.public_key;
        for event in page.events {
            let signature = Line::signature(&event);
            for line in [Some(Line::event(event)), signature].into_iter().flatten() {
                found = found.take().or_else(|| chains.add(line).err());
            }
        }
        Ok(())
    })?;
    let end = || chains.add(Line::public_key(public_key)).and_then(|()| chains.end());
    Ok(found.map_or_else(end, Err))
}

fn verify_file(path: &Path) -> Result<Result<Verified, Finding>, Problem> {
    let unreadable = |cause: io::Error| Problem::new("export", format!("cannot read {}", path.display())).cause(cause);
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut chains = Chains::default();
    for (line, number) in file.lines().zip(1..) {
        let checked = match Line::parse(&line.map_err(unreadable)?) {
            Some(line) => chains.add(line),
            None => Err(Finding::unreadable(number)),
        };
        if let Err(finding) = checked {
            return Ok(Err(finding));
        }
    }
    Ok(chains.end())
}

fn tell(outcome: &Result<Verified, Finding>, style: &Style, out: &mut dyn Write) -> Result<Exit, Problem> {
    let (text, json, exit) = match outcome {
        Ok(verified) => (verified.to_string(), verified.json(), Exit::Done),
        Err(finding) => (finding.to_string(), finding.json(), Exit::Findings),
    };
    say(out, &if style.json { format!("{json}\n") } else { format!("{text}\n") })?;
    Ok(exit)
}

fn page(api: &mut ApiClient, request: ListAuditEventsRequest) -> Result<ListAuditEventsResponse, Problem> {
    match api.call(Call::ListAuditEvents(request))? {
        Reply::ListAuditEvents(page) => Ok(page),
        _ => unreachable!("a reply is of its call's operation"),
    }
}

/// All pages of a list; gives the number of the last event that it has looked at.
fn each_page(
    api: &mut ApiClient,
    mut request: ListAuditEventsRequest,
    each: &mut dyn FnMut(ListAuditEventsResponse) -> Result<(), Problem>,
) -> Result<i64, Problem> {
    loop {
        let page = page(api, request.clone())?;
        let last_seq = page.last_seq;
        request.next_token = page.next_token.clone();
        each(page)?;
        if request.next_token.is_none() {
            return Ok(last_seq);
        }
    }
}

fn show(events: &[AuditEvent], style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
    if style.json {
        let lines = events.iter().map(|event| Line::event(event.clone()).text() + "\n");
        return say(out, &lines.collect::<String>());
    }
    let mut table = Table::new(&["TIME", "EVENT", "WHO", "FROM", "RESULT", "RESOURCE"]);
    for event in events {
        table.row(Row::of(event).cells(style));
    }
    say(out, &table.text(style))
}

/// What a line shows of an event.
struct Row {
    event: Value,
    name: String,
}

impl Row {
    fn of(event: &AuditEvent) -> Self {
        let event = serde_json::from_str(&event.event).unwrap_or(Value::Null);
        let name = text(&event["eventName"]);
        Self { event, name }
    }

    fn cells(self, style: &Style) -> Vec<String> {
        let Self { event, name } = self;
        let arn = text(&event["userIdentity"]["arn"]);
        let short = arn.rsplit(':').next().unwrap_or(&arn).to_owned();
        let result = match (event.get("errorCode"), &event["additionalEventData"]["repeat"]) {
            (Some(code), _) => text(code),
            (None, Value::Bool(true)) => "repeat".to_owned(),
            (None, _) => "ok".to_owned(),
        };
        let resource = text(&event["resources"][0]["ARN"]);
        let resource = resource.rsplit('/').next().unwrap_or_default().to_owned();
        let from = text(&event["sourceIPAddress"]);
        vec![text(&event["eventTime"]), name, if style.terminal { short } else { arn }, from, result, resource]
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    let basic: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let unit = match text.chars().last() {
        Some('s') => SECOND,
        Some('m') => MINUTE,
        Some('h') => HOUR,
        Some('d') => DAY,
        _ => 0,
    };
    let ago = text.get(..text.len().saturating_sub(1)).and_then(|n| n.parse::<i64>().ok()).filter(|n| *n >= 0);
    let ago = ago.filter(|_| unit > 0).and_then(|n| n.checked_mul(unit));
    let now = Timestamp::from_millis(SystemClock.millis());
    let found = Timestamp::from_basic(&basic).or_else(|| ago.map(|ago| now.plus(-ago)));
    found.ok_or_else(|| "a time is one such as 2026-11-24T09:15:21Z, or how long ago: 90s, 10m, 2h, 7d".to_owned())
}

fn say(out: &mut dyn Write, text: &str) -> Result<(), Problem> {
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STYLE: Style = Style { json: false, utc: false, color: false, terminal: true };

    #[test]
    fn an_event_is_a_line() {
        let event = json!({
            "eventTime": "2026-11-24T09:15:21Z", "eventName": "DeleteCluster", "sourceIPAddress": "127.0.0.1",
            "userIdentity": { "arn": "arn:aws:iam::000000000000:user/ops" }, "errorCode": "AccessDeniedException",
            "resources": [{ "ARN": "arn:aws:cloudhsm:us-east-1:000000000000:cluster/cluster-aaaaaaaaaaa" }],
        });
        let event = AuditEvent { event: event.to_string(), ..AuditEvent::default() };
        let mut out = Vec::new();
        show(&[event], &STYLE, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "TIME                  EVENT          WHO       FROM       RESULT                 RESOURCE\n\
             2026-11-24T09:15:21Z  DeleteCluster  user/ops  127.0.0.1  AccessDeniedException  cluster-aaaaaaaaaaa\n"
        );
    }

    #[test]
    fn moments_are_times_or_so_long_ago() {
        assert_eq!(moment("2026-11-24T09:15:21Z").unwrap().to_string(), "2026-11-24T09:15:21.000Z");
        let now = SystemClock.millis();
        assert!((moment("10m").unwrap().millis() - (now - 10 * MINUTE)).abs() < MINUTE);
        for wrong in ["", "m", "10", "-5m", "10 m", "yesterday", "é"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
