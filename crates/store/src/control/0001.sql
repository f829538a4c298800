ALTER TABLE meta ADD COLUMN region_id TEXT;
ALTER TABLE meta ADD COLUMN name TEXT;
ALTER TABLE meta ADD COLUMN roots TEXT;
ALTER TABLE meta ADD COLUMN outbox_cursor BIGINT NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN job_epoch BIGINT NOT NULL DEFAULT 0;

CREATE TABLE clusters (
  cluster_id TEXT PRIMARY KEY, account TEXT NOT NULL, state TEXT NOT NULL, state_message TEXT, hsm_type TEXT NOT NULL,
  mode TEXT NOT NULL, network_type TEXT NOT NULL, vpc_id TEXT NOT NULL, subnets TEXT NOT NULL,
  retention_days BIGINT NOT NULL, create_ts BIGINT NOT NULL, source_backup_id TEXT, csr TEXT, hsm_certificate TEXT,
  hardware_certificate TEXT, manufacturer_certificate TEXT, cluster_certificate TEXT, trust_anchor TEXT,
  activated_at BIGINT, rollback_until BIGINT, head BIGINT NOT NULL, damage TEXT, deleted_at BIGINT
);
CREATE INDEX clusters_by_account ON clusters (account, create_ts, cluster_id);

CREATE TABLE hsms (
  hsm_id TEXT PRIMARY KEY, cluster_id TEXT NOT NULL, state TEXT NOT NULL, state_message TEXT, az TEXT NOT NULL,
  subnet_id TEXT NOT NULL, eni_id TEXT NOT NULL UNIQUE, eni_ip TEXT NOT NULL UNIQUE
);
CREATE INDEX hsms_by_cluster ON hsms (cluster_id);

CREATE TABLE backups (
  backup_id TEXT PRIMARY KEY, id_n BIGINT NOT NULL, account TEXT NOT NULL, origin TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT, cluster_id TEXT, cause TEXT, source_region TEXT, source_region_id TEXT, source_backup_id TEXT,
  source_cluster_id TEXT, copy_id TEXT, hsm_type TEXT NOT NULL, mode TEXT NOT NULL, create_ts BIGINT NOT NULL,
  copy_ts BIGINT, delete_at BIGINT, deleted_at BIGINT, never_expires BIGINT NOT NULL, blob_id TEXT,
  attempt BIGINT NOT NULL, repairs BIGINT NOT NULL, deadline_at BIGINT, digest BYTEA, body BYTEA, header BYTEA,
  listing BYTEA, facts BYTEA, opened_at BIGINT
);
CREATE UNIQUE INDEX backups_by_cause ON backups (cluster_id, cause) WHERE cause IS NOT NULL;
CREATE UNIQUE INDEX backups_by_copy ON backups (source_region_id, copy_id) WHERE copy_id IS NOT NULL;
CREATE INDEX backups_by_account ON backups (account, create_ts, backup_id);
CREATE INDEX backups_by_state ON backups (account, state, create_ts, backup_id);
CREATE INDEX backups_by_cluster ON backups (cluster_id, create_ts, backup_id);
CREATE INDEX backups_by_source ON backups (source_backup_id, create_ts, backup_id);
CREATE INDEX backups_by_expiry ON backups (account, never_expires, create_ts, backup_id);
CREATE INDEX backups_by_blob ON backups (blob_id);
CREATE INDEX backups_incoming ON backups (account, copy_ts, copy_id) WHERE copy_id IS NOT NULL;

CREATE TABLE copies (
  copy_id TEXT PRIMARY KEY, account TEXT NOT NULL, backup_id TEXT NOT NULL, source_cluster_id TEXT NOT NULL,
  blob_id TEXT NOT NULL, digest BYTEA NOT NULL, facts BYTEA NOT NULL, destination_region TEXT NOT NULL,
  destination_region_id TEXT NOT NULL, tags TEXT NOT NULL, principal TEXT NOT NULL, source_ip TEXT NOT NULL,
  request_id TEXT NOT NULL, invocation_id TEXT, backup_created_at BIGINT NOT NULL, requested_at BIGINT NOT NULL,
  deadline_at BIGINT NOT NULL, state TEXT NOT NULL, overdue BIGINT NOT NULL, lost BIGINT NOT NULL,
  abandoned BIGINT NOT NULL, reason_code TEXT, reason TEXT, attempt BIGINT NOT NULL, chunks_done BIGINT NOT NULL,
  next_attempt_at BIGINT, destination_backup_id TEXT, receipt_seq BIGINT, receipt_at BIGINT, finished_at BIGINT
);
CREATE INDEX copies_by_account ON copies (account, requested_at, copy_id);
CREATE INDEX copies_by_backup ON copies (backup_id);
CREATE INDEX copies_unsettled ON copies (destination_region_id) WHERE finished_at IS NULL;

CREATE TABLE copy_steps (
  copy_id TEXT NOT NULL, n BIGINT NOT NULL, at BIGINT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (copy_id, n)
);

CREATE TABLE receipts (
  direction TEXT NOT NULL, peer TEXT NOT NULL, seq BIGINT NOT NULL, kind TEXT NOT NULL, copy_id TEXT, backup_id TEXT,
  digest BYTEA, reason_code TEXT, reason TEXT, at BIGINT NOT NULL, again BIGINT NOT NULL,
  PRIMARY KEY (direction, peer, seq)
);
CREATE INDEX receipts_by_copy ON receipts (direction, peer, copy_id, seq);
CREATE UNIQUE INDEX receipts_outcome ON receipts (peer, copy_id)
  WHERE direction = 'given' AND kind IN ('ready', 'deleted');
CREATE UNIQUE INDEX receipts_purge ON receipts (peer, copy_id) WHERE direction = 'given' AND kind = 'purged';

CREATE TABLE peers (
  region_id TEXT PRIMARY KEY, next_seq BIGINT NOT NULL, read_upto BIGINT NOT NULL, last_answer BIGINT,
  behind_since BIGINT
);

CREATE TABLE jobs (
  kind TEXT NOT NULL, subject TEXT NOT NULL, epoch BIGINT NOT NULL, owner TEXT, lease_until BIGINT NOT NULL,
  due_at BIGINT NOT NULL, waits_for TEXT, attempts BIGINT NOT NULL, reason TEXT,
  PRIMARY KEY (kind, subject)
);
CREATE INDEX jobs_by_due ON jobs (due_at, lease_until);
CREATE INDEX jobs_by_wait ON jobs (waits_for) WHERE waits_for IS NOT NULL;

CREATE TABLE blobs (
  blob_id TEXT PRIMARY KEY, state TEXT NOT NULL, owner TEXT NOT NULL, upto BIGINT NOT NULL, inline BYTEA,
  doomed_at BIGINT
);
CREATE TABLE blob_chunks (
  blob_id TEXT NOT NULL, n BIGINT NOT NULL, digest BYTEA NOT NULL, length BIGINT NOT NULL, PRIMARY KEY (blob_id, n)
);
CREATE TABLE pins (blob_id TEXT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY (blob_id, holder));

CREATE TABLE idempotency (
  account TEXT NOT NULL, principal TEXT NOT NULL, operation TEXT NOT NULL, invocation_id TEXT NOT NULL,
  input_digest BYTEA NOT NULL, answer TEXT NOT NULL, expires_at BIGINT NOT NULL,
  PRIMARY KEY (account, principal, operation, invocation_id, input_digest)
);
CREATE INDEX idempotency_by_end ON idempotency (expires_at);

CREATE TABLE tags (
  resource_id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, position BIGINT NOT NULL,
  PRIMARY KEY (resource_id, key)
);
CREATE TABLE policies (resource_id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE subnets (subnet_id TEXT PRIMARY KEY, vpc_id TEXT NOT NULL, az TEXT NOT NULL, origin TEXT NOT NULL);
CREATE TABLE audit (seq INTEGER PRIMARY KEY, at BIGINT NOT NULL, event TEXT NOT NULL);
CREATE TABLE alarms (
  kind TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL, since BIGINT NOT NULL, PRIMARY KEY (kind, subject)
);
