#!/usr/bin/env bash
# Cloud Custodian's policies for clusters and backups: tag, mark, find by statement, delete.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# It asks for nothing of EC2 here, and must not find the real one.
export AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL_CLOUDHSM_V2

cat >"$work/policies.yml" <<'POLICIES'
policies:
  - name: clusters-without-owner
    resource: aws.cloudhsm-cluster
    filters:
      - "tag:owner": absent
    actions:
      - type: tag
        tags: {owner: custodian, stage: new}
      - type: remove-tag
        tags: [stage]
      - type: mark-for-op
        tag: cleanup
        op: delete
        days: 3
  - name: backups-without-statement
    resource: aws.cloudhsm-backup
    filters:
      - BackupState: READY
      - not:
          - type: has-statement
            statements:
              - Effect: Allow
                Action: cloudhsm:DescribeBackups
    actions:
      - type: tag
        key: shared
        value: "no"
  - name: clusters-that-nobody-initialized
    resource: aws.cloudhsm-cluster
    filters:
      - State: UNINITIALIZED
    actions:
      - delete
POLICIES
"$PYTHON" - <<'MAKE'
import boto3, time
hsm = boto3.client("cloudhsmv2")
made = hsm.create_cluster(HsmType="hsm2m.medium", Mode="FIPS", SubnetIds=["subnet-0123456789abcdef0"])
while hsm.describe_clusters(Filters={"clusterIds": [made["Cluster"]["ClusterId"]]})["Clusters"][0]["State"] != "UNINITIALIZED":
    time.sleep(0.05)
MAKE
"$(dirname "$PYTHON")/custodian" run --region us-east-1 --cache-period 0 --output-dir "$work/out" "$work/policies.yml" 2>"$work/log" \
    || { cat "$work/log" >&2; exit 1; }
"$PYTHON" - "$work/out" <<'CHECK'
import boto3, json, pathlib, sys
found = {p.parent.name: len(json.loads(p.read_text())) for p in pathlib.Path(sys.argv[1]).glob("*/resources.json")}
assert found == {"clusters-without-owner": 2, "backups-without-statement": 2, "clusters-that-nobody-initialized": 1}, found
hsm = boto3.client("cloudhsmv2")
clusters = hsm.describe_clusters()["Clusters"]
live = [c for c in clusters if not c["State"].startswith("DELETE")]
tags = {t["Key"]: t["Value"] for t in live[0]["TagList"]}
assert len(live) == 1 and tags["owner"] == "custodian" and "stage" not in tags and "cleanup" in tags, clusters
assert all({"Key": "shared", "Value": "no"} in b["TagList"] for b in hsm.describe_backups()["Backups"])
CHECK
echo "Cloud Custodian $("$(dirname "$PYTHON")/custodian" version): clusters and backups tagged, marked, found by statement, deleted"
