"""boto3 as people use it: the calls of Terraform's cluster and HSM resources with their waits, tags, a copy and what
refuses. `boto3_calls.py json|cbor`; prints what it did, and fails where anything is not as AWS documents it."""

import sys
import time

import boto3
import botocore
from botocore.exceptions import ClientError, WaiterError

from protocol import PROTOCOLS, session

SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]


def client(region, protocol):
    made = session(protocol, region).client("cloudhsmv2")
    assert made.meta.service_model.resolved_protocol == PROTOCOLS[protocol]
    return made


def until(what, found, seconds=30):
    """Polls as Terraform's waiters do, only faster."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not as told: {what}")


def refused(name, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == name, error
        assert error.response["Error"]["Message"], error
        assert error.response["ResponseMetadata"]["RequestId"], error
        return
    raise AssertionError(f"not as told: {call} should have failed with {name}")


def cluster(hsm, cluster_id):
    found = hsm.describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    return found[0] if found else None


def of_state(hsm, cluster_id, *states):
    def look():
        found = cluster(hsm, cluster_id)
        return found if found and found["State"] in states else None

    return look


def cluster_resource(hsm):
    """aws_cloudhsm_v2_cluster and aws_cloudhsm_v2_hsm: create, read, tag change, delete, with Terraform's waits."""
    made = hsm.create_cluster(HsmType="hsm2m.medium", Mode="FIPS", SubnetIds=SUBNETS, TagList=[{"Key": "a", "Value": "1"}])
    cluster_id = made["Cluster"]["ClusterId"]
    read = until("UNINITIALIZED", of_state(hsm, cluster_id, "UNINITIALIZED"))
    assert set(read["SubnetMapping"].values()) == set(SUBNETS) and read["SecurityGroup"] and read["VpcId"]

    asked = hsm.create_hsm(ClusterId=cluster_id, AvailabilityZone=sorted(read["SubnetMapping"])[0])["Hsm"]
    assert asked["EniId"] and asked["State"] == "CREATE_IN_PROGRESS"

    def listed():
        # Terraform looks through all clusters, for the HSM's id or its interface.
        pages = hsm.get_paginator("describe_clusters").paginate()
        hsms = [h for page in pages for c in page["Clusters"] for h in c["Hsms"]]
        return next((h for h in hsms if asked["HsmId"] == h["HsmId"] or asked["EniId"] == h.get("EniId")), None)

    until("HSM ACTIVE", lambda: (listed() or {}).get("State") == "ACTIVE")
    assert "ClusterCsr" in cluster(hsm, cluster_id)["Certificates"]

    tags = [t for page in hsm.get_paginator("list_tags").paginate(ResourceId=cluster_id) for t in page["TagList"]]
    assert tags == [{"Key": "a", "Value": "1"}]
    hsm.untag_resource(ResourceId=cluster_id, TagKeyList=["a"])
    hsm.tag_resource(ResourceId=cluster_id, TagList=[{"Key": "b", "Value": "2"}])
    assert cluster(hsm, cluster_id)["TagList"] == [{"Key": "b", "Value": "2"}]

    refused("CloudHsmInvalidRequestException", hsm.delete_cluster, ClusterId=cluster_id)
    assert hsm.delete_hsm(ClusterId=cluster_id, HsmId=asked["HsmId"])["HsmId"] == asked["HsmId"]
    until("HSM gone", lambda: not listed())
    assert hsm.delete_cluster(ClusterId=cluster_id)["Cluster"]["State"] == "DELETE_IN_PROGRESS"
    until("cluster DELETED or gone", lambda: (cluster(hsm, cluster_id) or {"State": "DELETED"})["State"] == "DELETED")
    refused("CloudHsmResourceNotFoundException", hsm.delete_cluster, ClusterId=cluster_id)


def copy(source, destination):
    """The daily copy of a READY backup, as disaster recovery scripts make it; found by its source in the other region."""
    backup = source.describe_backups(Filters={"states": ["READY"]}, SortAscending=False)["Backups"][0]
    asked = source.copy_backup_to_region(DestinationRegion="eu-west-1", BackupId=backup["BackupId"])["DestinationBackup"]
    assert asked["CreateTimestamp"] == backup["CreateTimestamp"] and asked["SourceBackup"] == backup["BackupId"]

    def ready():
        found = destination.describe_backups(Filters={"sourceBackupIds": [backup["BackupId"]]})["Backups"]
        return next((b for b in found if b["BackupState"] == "READY"), None)

    copied = until("copy READY", ready)
    assert copied["TagList"] == backup["TagList"] and "ClusterId" not in copied
    deleted = destination.delete_backup(BackupId=copied["BackupId"])["Backup"]
    assert deleted["BackupState"] == "PENDING_DELETION" and deleted["DeleteTimestamp"]
    assert destination.restore_backup(BackupId=copied["BackupId"])["Backup"]["BackupState"] == "READY"
    destination.delete_backup(BackupId=copied["BackupId"])
    refused("CloudHsmInvalidRequestException", source.copy_backup_to_region,
            DestinationRegion="mars-north-1", BackupId=backup["BackupId"])


def main():
    protocol = sys.argv[1]
    source, destination = client("us-east-1", protocol), client("eu-west-1", protocol)
    cluster_resource(source)
    copy(source, destination)
    refused("CloudHsmInvalidRequestException", source.tag_resource, ResourceId="cluster-x", TagList=[{"Key": "a", "Value": "b"}])
    assert boto3.client("sts").get_caller_identity()["Account"] == "000000000000"
    print(f"boto3 {boto3.__version__}, {protocol}: cluster and HSM created, tagged, deleted; backup copied, deleted, restored")


main()
