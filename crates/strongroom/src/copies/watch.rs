//! Owns `copies --watch`: the copies under way, until none is. On a terminal a line for each, drawn anew; elsewhere a line
//! every 10 s; with `--json` an object for each change. A copy that settles leaves a line that stays.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use strongroom_model::copy::{Copy, CopyState};
use strongroom_model::{CopyId, Timestamp};

use super::note::{note, shown_state, speed};
use super::{bytes, describe, json, list, now, say};
use crate::api_client::ApiClient;
use crate::human::{Style, part};
use crate::problem::{Exit, Problem};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// The time between two lines where output is no terminal.
const LINES: Duration = Duration::from_secs(10);
/// Characters of a bar.
const BAR: usize = 22;

/// Watches; gives the exit code: 1 if a copy failed meanwhile.
pub(super) fn run(api: &mut ApiClient, states: &[String], style: &Style, out: &mut dyn Write) -> Result<Exit, Problem> {
    let mut watch = Watch { seen: HashMap::new(), drawn: 0, said_at: None, has_failed: false };
    loop {
        let unsettled = match states {
            [] => CopyState::ALL.iter().filter(|state| !state.is_settled()).map(|state| state.to_string()).collect(),
            states => states.to_vec(),
        };
        let copies: Vec<Copy> = list(api, &unsettled)?.into_iter().filter(|copy| !copy.state.is_settled()).collect();
        watch.erase()?;
        for gone in watch.gone(&copies) {
            watch.settled(&describe(api, gone.as_str())?, style, out)?;
        }
        watch.under_way(&copies, style, out)?;
        if copies.is_empty() {
            return Ok(if watch.has_failed { Exit::Failed } else { Exit::Done });
        }
        std::thread::sleep(PAUSE);
    }
}

/// A copy as it was seen last.
struct Seen {
    at: Timestamp,
    copy: Copy,
}

struct Watch {
    seen: HashMap<CopyId, Seen>,
    /// Lines on the screen that are to be drawn anew.
    drawn: usize,
    said_at: Option<Instant>,
    has_failed: bool,
}

impl Watch {
    /// Those that were under way and are no longer.
    fn gone(&self, copies: &[Copy]) -> Vec<CopyId> {
        let is_there = |id: &CopyId| copies.iter().any(|copy| copy.copy_id == *id);
        let mut gone: Vec<CopyId> = self.seen.keys().filter(|id| !is_there(id)).cloned().collect();
        gone.sort();
        gone
    }

    fn settled(&mut self, copy: &Copy, style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
        self.seen.remove(&copy.copy_id);
        self.has_failed |= copy.state == CopyState::Failed;
        match style.json {
            true => say(out, &format!("{}\n", json::one(copy))),
            false => {
                let (from, to) = (&copy.source.region, &copy.destination.region);
                say(out, &format!("{}  {from} -> {to}  {}  {}\n", copy.copy_id, shown_state(copy), note(copy, now())))
            }
        }
    }

    fn under_way(&mut self, copies: &[Copy], style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
        let now = now();
        let is_due = self.said_at.is_none_or(|at| at.elapsed() >= LINES);
        let mut lines = String::new();
        for copy in copies {
            let before = self.seen.get(&copy.copy_id);
            if style.json {
                if before.is_none_or(|seen| seen.copy != *copy) {
                    say(out, &format!("{}\n", json::one(copy)))?;
                }
            } else if style.terminal || is_due {
                let _ = writeln!(lines, "{}", line(copy, before, now));
            }
            // The rate is that since the copy last got on.
            if before.is_none_or(|seen| seen.copy != *copy) {
                self.seen.insert(copy.copy_id.clone(), Seen { at: now, copy: copy.clone() });
            }
        }
        if !lines.is_empty() {
            self.said_at = Some(Instant::now());
            self.drawn = if style.terminal { copies.len() } else { 0 };
            // Progress goes away; results go to standard output.
            let _ = io::stderr().write_all(lines.as_bytes());
        }
        Ok(())
    }

    fn erase(&mut self) -> Result<(), Problem> {
        if self.drawn > 0 {
            let _ = write!(io::stderr(), "\u{1b}[{}A\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
        Ok(())
    }
}

/// `copy-ysatlqk2c7c  us-east-1 -> eu-west-1  [=============>        ]  13.0 / 21.4 MiB   8.9 MiB/s   1 s left`
fn line(copy: &Copy, before: Option<&Seen>, now: Timestamp) -> String {
    let (from, to) = (&copy.source.region, &copy.destination.region);
    let (sent, total) = (copy.bytes_sent, copy.bytes_total);
    let head = format!("{}  {from} -> {to}", copy.copy_id);
    if copy.state == CopyState::Waiting || copy.overdue {
        return format!("{head}  {}  {}", shown_state(copy), note(copy, now));
    }
    let since = before.filter(|seen| seen.copy.bytes_sent < sent);
    let rate = match since {
        Some(seen) => speed(sent - seen.copy.bytes_sent, now.since(seen.at)),
        None => speed(sent, now.since(copy.requested_at)),
    };
    let rate = rate.map(|rate| format!("   {}   {}", rate.text(), rate.left(total - sent))).unwrap_or_default();
    let progress = part(bytes(sent), bytes(total), " / ");
    format!("{head}  [{}]  {progress}{rate}", bar(sent, total))
}

fn bar(sent: i64, total: i64) -> String {
    let done = (sent.max(0) as u128 * BAR as u128 / total.max(1) as u128).min(BAR as u128) as usize;
    let full = "=".repeat(done.saturating_sub(1));
    let head = if done == 0 {
        ""
    } else if done == BAR {
        "="
    } else {
        ">"
    };
    format!("{:<BAR$}", full + head)
}

#[cfg(test)]
mod tests {
    use super::super::tests::copy;
    use super::*;

    #[test]
    fn a_line_shows_how_far_and_how_fast() {
        let sending = copy(CopyState::Sending);
        assert_eq!(
            line(&sending, None, sending.requested_at.plus(2_000)),
            "copy-7xa3l3fvxrr  us-east-1 -> eu-west-1  [============>         ]  13.0 / 21.4 MiB   6.5 MiB/s   2 s left"
        );
        let before = Seen { at: sending.requested_at, copy: Copy { bytes_sent: 12_582_912, ..sending.clone() } };
        let text = line(&sending, Some(&before), sending.requested_at.plus(1_000));
        assert!(text.ends_with("   1.0 MiB/s   9 s left"), "{text}");
        let waiting = copy(CopyState::Waiting);
        let text = line(&waiting, None, waiting.requested_at);
        assert!(text.starts_with("copy-7xa3l3fvxrr  us-east-1 -> eu-west-1  waiting"), "{text}");
    }

    #[test]
    fn bars_are_of_one_length() {
        assert_eq!(bar(0, 100), " ".repeat(BAR));
        assert_eq!(bar(100, 100), "=".repeat(BAR));
        assert_eq!(bar(50, 100), format!("{}>{}", "=".repeat(10), " ".repeat(11)));
        assert_eq!(bar(5, 0).len(), BAR);
    }

    #[test]
    fn those_that_settle_are_noticed() {
        let sending = copy(CopyState::Sending);
        let seen = Seen { at: sending.requested_at, copy: sending.clone() };
        let seen = HashMap::from([(sending.copy_id.clone(), seen)]);
        let watch = Watch { seen, drawn: 0, said_at: None, has_failed: false };
        assert!(watch.gone(std::slice::from_ref(&sending)).is_empty());
        assert_eq!(watch.gone(&[]), [sending.copy_id]);
    }
}
