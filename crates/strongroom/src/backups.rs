//! `strongroom backups`: what each backup of a region holds, and when it was last opened and checked.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use strongroom_model::call::ListBackupContentsRequest;
use strongroom_model::copy::BackupContent;
use strongroom_model::{BackupId, Call, Reply, Timestamp};

use crate::api_client::ApiClient;
use crate::human::{Style, Table, counted, size};
use crate::problem::Problem;
use crate::seams::SystemClock;

/// `strongroom backups`
#[derive(Clone, Debug, Args)]
pub struct Backups {
    /// Only these
    #[arg(value_name = "BACKUP")]
    backup_ids: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// [`Problem`]
pub fn run(command: &Backups, style: &Style, out: &mut dyn Write) -> Result<(), Problem> {
    let mut api = ApiClient::from_environment(None, None)?;
    let backups = list(&mut api, &command.backup_ids)?;
    let text = match style.json {
        true => format!("{}\n", as_json(&backups)),
        false => table(&backups, style, Timestamp::from_millis(SystemClock.millis())).text(style),
    };
    write!(out, "{text}").map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

fn list(api: &mut ApiClient, ids: &[String]) -> Result<Vec<BackupContent>, Problem> {
    let backup_ids = (!ids.is_empty()).then(|| ids.iter().map(BackupId::new).collect::<Vec<_>>());
    let (mut backups, mut next_token) = (Vec::new(), None);
    loop {
        let input = ListBackupContentsRequest { backup_ids: backup_ids.clone(), next_token, max_results: None };
        let Reply::ListBackupContents(reply) = api.call(Call::ListBackupContents(input))? else {
            unreachable!("a reply is of its call's operation")
        };
        backups.extend(reply.backups);
        next_token = reply.next_token;
        if next_token.is_none() {
            return Ok(backups);
        }
    }
}

fn table(backups: &[BackupContent], style: &Style, now: Timestamp) -> Table {
    let mut table = Table::new(&["BACKUP", "STATE", "FROM", "MADE", "HOLDS", "SIZE", "OPENED", "NOTE"]);
    let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    let time = |at: Timestamp| if style.terminal { style.ago(at, now) } else { at.to_string() };
    for backup in backups {
        let holds = count(backup.users).zip(count(backup.keys));
        table.row(vec![
            backup.backup_id.to_string(),
            backup.state.clone(),
            backup.origin.clone(),
            time(backup.created_at),
            holds.map_or_else(String::new, |(users, keys)| {
                format!("{}, {}", counted(users, "user"), counted(keys, "key"))
            }),
            match count(backup.bytes) {
                Some(bytes) if style.terminal => size(bytes),
                Some(bytes) => bytes.to_string(),
                None => String::new(),
            },
            backup.opened_at.map_or_else(|| "never".to_owned(), time),
            backup.reason.clone().or_else(|| backup.cause.clone()).unwrap_or_default(),
        ]);
    }
    table
}

fn as_json(backups: &[BackupContent]) -> Value {
    let one = |backup: &BackupContent| {
        json!({
            "backup_id": backup.backup_id.as_str(),
            "state": backup.state,
            "cause": backup.cause,
            "origin": backup.origin,
            "created_at": backup.created_at.to_string(),
            "opened_at": backup.opened_at.map(|at| at.to_string()),
            "users": backup.users,
            "keys": backup.keys,
            "bytes": backup.bytes,
            "chunks": backup.chunks,
            "lineage": backup.lineage,
            "digest": backup.digest,
            "reason": backup.reason,
        })
    };
    json!({ "format": "strongroom.backups/1", "backups": backups.iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_in_it() {
        let now = Timestamp::from_millis(1_795_511_647_439);
        let ready = BackupContent {
            backup_id: BackupId::new("backup-on5rnxxrbwa"),
            state: "READY".into(),
            origin: "local".into(),
            cause: Some("activation".into()),
            created_at: now.plus(-120_000),
            opened_at: Some(now.plus(-60_000)),
            users: Some(3),
            keys: Some(1),
            bytes: Some(9_830),
            ..BackupContent::default()
        };
        let damaged = BackupContent { reason: Some("damaged: record 3".into()), opened_at: None, ..ready.clone() };
        let style = Style { json: false, utc: false, color: false, terminal: true };
        let text = table(&[ready, damaged], &style, now).text(&style);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "backup-on5rnxxrbwa  READY  local  2 min ago  3 users, 1 key  9.6 KiB  1 min ago  activation"
        );
        assert!(lines[2].ends_with("never      damaged: record 3"), "{text}");
    }
}
