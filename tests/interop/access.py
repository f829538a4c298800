"""Who may do what, as boto3, the AWS CLI and the SDK for JavaScript meet it: the six errors of CopyBackupToRegion's reference
page with their statuses, in both protocols; a role that is assumed, and its end, to the second.
`access.py STRONGROOM DATA AWS NODE_FOLDER`: runs its own server, whose clock and whose clients' a file and faketime shift."""

import json
import math
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time

from botocore.config import Config
from botocore.exceptions import ClientError

from protocol import PROTOCOLS, session
from server import start

STRONGROOM, DATA, AWS, NODE = sys.argv[1:5]
CLOCK = f"{DATA}.clock"
OWNER, OTHER = "000000000000", "444455556666"


def admin(*arguments):
    done = subprocess.run([STRONGROOM, "admin", *arguments, "--data", DATA, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout or "null")


def file_of(name, document):
    path = f"{DATA}.{name}.json"
    with open(path, "w") as out:
        json.dump(document, out)
    return path


def allow(*statements):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


def client(url, keys, protocol, service="cloudhsmv2"):
    """A client of one protocol, that tries once."""
    token = keys[2] if len(keys) > 2 else None
    return session(protocol).client(service, endpoint_url=url, aws_access_key_id=keys[0], aws_secret_access_key=keys[1],
                                    aws_session_token=token,
                                    config=Config(retries={"mode": "standard", "total_max_attempts": 1}))


def environment(url, keys, **more):
    names = dict(zip(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"], keys))
    return {**os.environ, **names, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1",
            "AWS_ENDPOINT_URL_CLOUDHSM_V2": url, "AWS_ENDPOINT_URL_STS": url, **more}


def refused(url, keys, name, status, backup, destination="eu-west-1", tags=None):
    """CopyBackupToRegion has this error through boto3 in both protocols and through the AWS CLI."""
    for protocol in PROTOCOLS:
        arguments = {"DestinationRegion": destination, "BackupId": backup, **({"TagList": tags} if tags else {})}
        try:
            client(url, keys, protocol).copy_backup_to_region(**arguments)
            raise AssertionError(f"not as told: {name} in {protocol}")
        except ClientError as error:
            answer = error.response
            assert answer["Error"]["Code"] == name, (protocol, name, answer)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == status, (protocol, name, answer)
    command = [AWS, "cloudhsmv2", "copy-backup-to-region", "--destination-region", destination, "--backup-id", backup]
    if tags:
        command += ["--tag-list", *(f"Key={tag['Key']},Value={tag['Value']}" for tag in tags)]
    told = subprocess.run(command, env=environment(url, keys), capture_output=True, text=True)
    assert told.returncode != 0 and f"({name}) when calling the CopyBackupToRegion operation" in told.stderr, told


def until(what, found, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not as told: {what}")


def works(url, keys):
    try:
        return client(url, keys, "json").describe_clusters()
    except ClientError:
        return None


def key_of(account, user):
    made = admin("key", "create", account, user)
    return made["access_key_id"], made["secret_access_key"]


def people():
    """A user whose tags are his policies' business, another account's, and a role that a third may assume."""
    backups = {"Action": "cloudhsm:CopyBackupToRegion", "Resource": "arn:aws:cloudhsm:*:*:backup/*"}
    tags = {"Action": "cloudhsm:TagResource", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/env": "prod"}}}
    reads = {"Action": "cloudhsm:DescribeClusters", "Resource": "*"}
    admin("account", "create", OWNER)
    admin("account", "create", OTHER, "--name", "the other")
    admin("user", "create", OWNER, "tagger", "--policy", file_of("tagger", allow(backups, tags, reads)))
    admin("user", "create", OTHER, "bob", "--policy", "AWSCloudHSMFullAccess")
    assume = {"Action": "sts:AssumeRole", "Resource": f"arn:aws:iam::{OWNER}:role/Operator"}
    admin("user", "create", OWNER, "carol", "--policy", file_of("carol", allow(assume)))
    trust = allow({"Principal": {"AWS": f"arn:aws:iam::{OWNER}:user/carol"}, "Action": "sts:AssumeRole"})
    admin("role", "create", OWNER, "Operator", "--trust", file_of("trust", trust), "--policy", "AWSCloudHSMReadOnlyAccess")
    return key_of(OWNER, "tagger"), key_of(OTHER, "bob"), key_of(OWNER, "carol")


def six_errors(server, url, tagger, bob):
    owner = client(url, ("test", "test"), "json")
    ready = owner.describe_backups(Filters={"states": ["READY"]})["Backups"][0]
    backup = ready["BackupId"]
    for keys in (tagger, bob):
        until("new keys count", lambda: works(url, keys))
    grant = {"Principal": {"AWS": OTHER}, "Action": ["cloudhsm:DescribeBackups", "cloudhsm:CreateCluster"],
             "Resource": ready["BackupArn"]}
    owner.put_resource_policy(ResourceArn=ready["BackupArn"], Policy=json.dumps(allow(grant)))
    shared = client(url, bob, "cbor").describe_backups(Shared=True)["Backups"]
    assert [found["BackupId"] for found in shared] == [backup], shared

    test = ("test", "test")
    refused(url, bob, "CloudHsmAccessDeniedException", 400, backup)
    refused(url, tagger, "CloudHsmTagException", 400, backup, tags=[{"Key": "env", "Value": "dev"}])
    refused(url, test, "CloudHsmInvalidRequestException", 400, backup, destination="mars-north-1")
    refused(url, test, "CloudHsmResourceNotFoundException", 400, "backup-aaaaaaaaaaa")
    # A disk that takes nothing more.
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    refused(url, test, "CloudHsmInternalFailureException", 500, backup)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    client(url, tagger, "json").copy_backup_to_region(
        DestinationRegion="eu-west-1", BackupId=backup, TagList=[{"Key": "env", "Value": "prod"}])
    return backup


def damage(backup):
    """Takes from a READY backup's row where its bytes are; the server does not run."""
    store = sqlite3.connect(f"{DATA}/us-east-1/control.db")
    store.execute("UPDATE backups SET blob_id = NULL WHERE backup_id = ?", (backup,))
    store.commit()
    store.close()


def shift(seconds):
    with open(CLOCK, "w") as out:
        out.write(str(seconds * 1000))


def faketime(seconds, *command):
    return ["faketime", "-f", f"+{seconds}s", *command]


def an_assumed_role(url, carol):
    config = f"{DATA}.aws-config"
    with open(config, "w") as out:
        out.write(f"[profile operator]\nrole_arn = arn:aws:iam::{OWNER}:role/Operator\nsource_profile = carol\n"
                  f"[profile carol]\naws_access_key_id = {carol[0]}\naws_secret_access_key = {carol[1]}\n")
    bare = environment(url, (), AWS_CONFIG_FILE=config, AWS_SHARED_CREDENTIALS_FILE="/dev/null", HOME=DATA)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        bare.pop(name, None)
    describe = [AWS, "cloudhsmv2", "describe-clusters", "--query", "length(Clusters)", "--output", "text"]
    profile = subprocess.run([*describe, "--profile", "operator"], env=bare, capture_output=True, text=True)
    assert profile.stdout.strip() == "1", profile
    own = subprocess.run([*describe, "--profile", "carol"], env=bare, capture_output=True, text=True)
    assert "(AccessDeniedException)" in own.stderr, own

    sts = client(url, carol, "json", "sts")
    made = sts.assume_role(RoleArn=f"arn:aws:iam::{OWNER}:role/Operator", RoleSessionName="an-hour", DurationSeconds=900)
    given = made["Credentials"]
    keys = given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
    script = ["node", f"{NODE}/assumed.mjs"]
    for name, command in (("the AWS CLI", describe), ("the SDK for JavaScript", script)):
        # Both clocks go together, so that nothing but the expiry can refuse; a client takes a while to start.
        for from_end, error in ((-30, None), (1, "ExpiredTokenException")):
            seconds = math.ceil(given["Expiration"].timestamp() - time.time()) + from_end
            shift(seconds)
            told = subprocess.run(faketime(seconds, *command), env=environment(url, keys), capture_output=True, text=True)
            if error:
                assert told.returncode != 0 and error in told.stderr, (name, from_end, told)
            else:
                assert told.stdout.strip() == "1", (name, from_end, told)
        shift(0)


def main():
    shift(0)
    os.environ["STRONGROOM_TEST_CLOCK"] = CLOCK
    # What a disk that is full would do to it, the signal would do first.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    server, url = start(STRONGROOM, DATA, "127.0.0.1:0")
    try:
        quickstart = [STRONGROOM, "quickstart", "--endpoint", url, "--to", f"{DATA}.quickstart"]
        subprocess.run(quickstart, check=True, stdout=subprocess.DEVNULL, env=environment(url, ("test", "test")))
        tagger, bob, carol = people()
        backup = six_errors(server, url, tagger, bob)
        an_assumed_role(url, carol)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    damage(backup)
    server, url = start(STRONGROOM, DATA, "127.0.0.1:0")
    try:
        refused(url, ("test", "test"), "CloudHsmServiceException", 400, backup)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    print("access: the six errors of CopyBackupToRegion through boto3 in both protocols and the AWS CLI; "
          "an assumed role in the AWS CLI and the SDK for JavaScript, refused after it expires")


main()
