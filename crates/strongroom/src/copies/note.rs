//! Owns the note of a copy: what its state does not say, in a line.

use strongroom_model::Timestamp;
use strongroom_model::copy::{Copy, CopyState};
use strongroom_model::time::SECOND;

use super::bytes;
use crate::human::{coarse, size, took};

/// What a copy is that has not settled by its deadline.
pub(super) const OVERDUE: &str = "overdue";

/// The state as people read it: a copy past its deadline is overdue, whatever it does.
pub(super) fn shown_state(copy: &Copy) -> &'static str {
    if copy.overdue && !copy.state.is_settled() { OVERDUE } else { copy.state.as_str() }
}

/// The note.
pub(super) fn note(copy: &Copy, now: Timestamp) -> String {
    let reason = copy.reason.as_ref();
    let told = reason.map(|reason| match (reason.code.as_str(), reason.text.as_str()) {
        ("", text) | (text, "") => text.to_owned(),
        (code, text) => format!("{code}: {text}"),
    });
    match copy.state {
        CopyState::Ready => {
            let backup = copy.destination.backup_id.as_ref().map_or("", |id| id.as_str());
            let took =
                copy.finished_at.map(|at| format!(", in {}", took(at.since(copy.requested_at)))).unwrap_or_default();
            format!("{backup}{took}")
        }
        CopyState::Failed => match told {
            Some(told) if copy.destination.backup_id.is_some() => {
                format!("{told}; DELETED in {}", copy.destination.region)
            }
            told => told.unwrap_or_default(),
        },
        CopyState::Cancelled => reason.map(|reason| reason.text.clone()).unwrap_or_default(),
        _ if copy.overdue => {
            let told = told.unwrap_or_else(|| format!("{} was asked to give up", copy.destination.region));
            format!("{told}; backup stays pinned")
        }
        CopyState::Waiting => waiting(copy, told, now),
        CopyState::Sending | CopyState::Checking => under_way(copy, now),
    }
}

/// `peer-down: … refuses connections; next try in 30 s, gives up in 23 h`
fn waiting(copy: &Copy, told: Option<String>, now: Timestamp) -> String {
    let Some(told) = told else { return String::new() };
    let next = copy.next_attempt_at.map(|at| format!("; next try in {}", coarse(at.since(now)))).unwrap_or_default();
    let until = copy.deadline_at.map(|at| format!(", gives up in {}", coarse(at.since(now)))).unwrap_or_default();
    format!("{told}{next}{until}")
}

/// `13.0 MiB there, 8.9 MiB/s, 1 s left`
fn under_way(copy: &Copy, now: Timestamp) -> String {
    let there = format!("{} there", size(bytes(copy.bytes_sent)));
    match speed(copy.bytes_sent, now.since(copy.requested_at)) {
        Some(rate) => format!("{there}, {}, {}", rate.text(), rate.left(copy.bytes_total - copy.bytes_sent)),
        None => there,
    }
}

/// Bytes per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(i64);

/// The rate of so many bytes in so many milliseconds, where there is one.
pub(super) fn speed(sent: i64, millis: i64) -> Option<Rate> {
    let rate = sent.checked_mul(SECOND)?.checked_div(millis)?;
    (rate > 0).then_some(Rate(rate))
}

impl Rate {
    /// `8.9 MiB/s`
    pub(super) fn text(self) -> String {
        format!("{}/s", size(bytes(self.0)))
    }

    /// `1 s left`
    pub(super) fn left(self, rest: i64) -> String {
        let millis = rest.max(0).saturating_mul(SECOND) / self.0;
        format!("{} left", coarse((millis + SECOND - 1) / SECOND * SECOND))
    }
}

#[cfg(test)]
mod tests {
    use strongroom_model::BackupId;
    use strongroom_model::copy::CopyReason;
    use strongroom_model::time::{HOUR, SECOND};

    use super::super::tests::copy;
    use super::*;

    fn because(copy: Copy, code: &str, text: &str) -> Copy {
        Copy { reason: Some(CopyReason { code: code.into(), text: text.into() }), ..copy }
    }

    fn after(copy: &Copy, millis: i64) -> String {
        note(copy, copy.requested_at.plus(millis))
    }

    #[test]
    fn each_state_has_its_note() {
        let mut ready = copy(CopyState::Ready);
        ready.destination.backup_id = Some(BackupId::new("backup-ncwc36xtnft"));
        ready.finished_at = Some(ready.requested_at.plus(41));
        assert_eq!(after(&ready, 0), "backup-ncwc36xtnft, in 41 ms");
        let mut failed = because(copy(CopyState::Failed), "does-not-open", "record 31 fails its seal");
        assert_eq!(after(&failed, 0), "does-not-open: record 31 fails its seal");
        failed.destination.backup_id = ready.destination.backup_id.clone();
        assert_eq!(after(&failed, 0), "does-not-open: record 31 fails its seal; DELETED in eu-west-1");
        let cancelled = because(copy(CopyState::Cancelled), "cancelled", "by DeleteBackup in eu-west-1, user/ops");
        assert_eq!(after(&cancelled, 0), "by DeleteBackup in eu-west-1, user/ops");
        assert_eq!(after(&copy(CopyState::Sending), 2 * SECOND), "13.0 MiB there, 6.5 MiB/s, 2 s left");
        assert_eq!(after(&copy(CopyState::Sending), 0), "13.0 MiB there");
        assert_eq!(after(&copy(CopyState::Waiting), 0), "");
    }

    #[test]
    fn who_waits_says_for_what_and_how_long() {
        let mut waiting = because(copy(CopyState::Waiting), "peer-down", "it refuses connections");
        waiting.next_attempt_at = Some(waiting.requested_at.plus(30 * SECOND));
        waiting.deadline_at = Some(waiting.requested_at.plus(23 * HOUR));
        assert_eq!(after(&waiting, 0), "peer-down: it refuses connections; next try in 30 s, gives up in 23 h");
        waiting.overdue = true;
        assert_eq!(shown_state(&waiting), "overdue");
        assert_eq!(after(&waiting, 0), "peer-down: it refuses connections; backup stays pinned");
        waiting.state = CopyState::Ready;
        assert_eq!(shown_state(&waiting), "ready");
    }
}
