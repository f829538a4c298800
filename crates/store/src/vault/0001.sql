ALTER TABLE meta ADD COLUMN region_id TEXT;
ALTER TABLE meta ADD COLUMN roots TEXT;
ALTER TABLE meta ADD COLUMN outbox_seq BIGINT NOT NULL DEFAULT 0;

CREATE TABLE clusters (
  cluster_id TEXT PRIMARY KEY, state TEXT NOT NULL, epoch BIGINT NOT NULL, input_digest BYTEA NOT NULL,
  lineage TEXT NOT NULL, mode TEXT NOT NULL, sealed_keys BYTEA NOT NULL, csr TEXT NOT NULL,
  hsm_certificate TEXT NOT NULL, hardware_certificate TEXT NOT NULL, manufacturer_certificate TEXT NOT NULL,
  cluster_certificate TEXT NOT NULL, trust_anchor TEXT NOT NULL
);
CREATE TABLE heads (cluster_id TEXT PRIMARY KEY, version BIGINT NOT NULL, sealed BYTEA NOT NULL);
CREATE TABLE objects (
  cluster_id TEXT NOT NULL, epoch BIGINT NOT NULL, object_id BIGINT NOT NULL, version BIGINT NOT NULL,
  sealed BYTEA NOT NULL, PRIMARY KEY (cluster_id, epoch, object_id)
);
CREATE TABLE users (
  cluster_id TEXT NOT NULL, epoch BIGINT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL,
  sealed BYTEA NOT NULL, PRIMARY KEY (cluster_id, epoch, name)
);
CREATE TABLE logins (
  cluster_id TEXT NOT NULL, name TEXT NOT NULL, tries BIGINT NOT NULL, last_try BIGINT NOT NULL,
  PRIMARY KEY (cluster_id, name)
);
CREATE TABLE hsms (hsm_id TEXT PRIMARY KEY, cluster_id TEXT NOT NULL, address TEXT NOT NULL, withdrawn BIGINT NOT NULL);
CREATE TABLE outbox (
  cluster_id TEXT NOT NULL, kind TEXT NOT NULL, seq BIGINT NOT NULL UNIQUE, data TEXT NOT NULL,
  PRIMARY KEY (cluster_id, kind)
);
CREATE TABLE requests (
  cluster_id TEXT NOT NULL, name TEXT NOT NULL, request_id BYTEA NOT NULL, input_digest BYTEA NOT NULL,
  result BYTEA NOT NULL, expires_at BIGINT NOT NULL, PRIMARY KEY (cluster_id, name, request_id)
);
CREATE INDEX requests_by_end ON requests (expires_at);
