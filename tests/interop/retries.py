"""What botocore's retries meet: a server that goes away in the middle of an answer, one that starts again, and one that says
that it is too much. A copy that is asked for again by the SDK itself is one copy. `retries.py STRONGROOM DATA`: runs its
own servers."""

import signal
import socket
import subprocess
import sys
import threading
import time

import boto3
from botocore.config import Config

from server import start

STRONGROOM, DATA = sys.argv[1:3]


class Line:
    """A relay that cuts the answers that it is told to cut, after the request has gone through."""

    def __init__(self, port):
        self.to, self.cuts = port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client):
        with client, socket.create_connection(("127.0.0.1", self.to)) as server:
            while request := client.recv(65536):
                server.sendall(request)
                answer = server.recv(65536)
                if self.cuts:
                    self.cuts -= 1
                    # In its first line: botocore takes a head or a body that is cut for a whole one.
                    client.sendall(answer[:10])
                    return
                client.sendall(answer)


def hsm(url, region="us-east-1"):
    config = Config(retries={"mode": "standard", "max_attempts": 6})
    return boto3.client("cloudhsmv2", region_name=region, endpoint_url=url, config=config)


def throttled():
    """A server of one call at a time whose place is taken: told so, the SDK comes again until there is room."""
    with open(f"{DATA}.toml", "w") as config:
        config.write("[limits]\ncalls = 1\n")
    server, url = start(STRONGROOM, DATA, "127.0.0.1:0", "--config", f"{DATA}.toml")
    try:
        taken = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        day = time.strftime("%Y%m%d", time.gmtime())
        taken.sendall(("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-type: application/x-amz-json-1.1\r\n"
                       "x-amz-target: BaldrApiService.DescribeClusters\r\n"
                       f"x-amz-date: {day}T000000Z\r\nauthorization: AWS4-HMAC-SHA256 "
                       f"Credential=test/{day}/us-east-1/cloudhsm/aws4_request, SignedHeaders=host;x-amz-date, "
                       f"Signature={'0' * 64}\r\n\r\n").encode())
        time.sleep(0.2)
        client, told = hsm(url), []

        def look(response, **_):
            if response:
                told.append(response[1].get("Error", {}).get("Code"))
                if len(told) == 2:
                    taken.close()

        client.meta.events.register_first("needs-retry.cloudhsmv2.DescribeClusters", look)
        answer = client.describe_clusters()
        assert answer["Clusters"] == [] and answer["ResponseMetadata"]["RetryAttempts"] == len(told) - 1, answer
        assert told[:2] == ["ThrottlingException"] * 2 and told[-1] is None, told
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def main():
    throttled()
    server, url = start(STRONGROOM, DATA, "127.0.0.1:0")
    line = Line(int(url.rsplit(":", 1)[1]))
    try:
        quickstart = [STRONGROOM, "quickstart", "--endpoint", url, "--to", f"{DATA}.quickstart"]
        subprocess.run(quickstart, check=True, stdout=subprocess.DEVNULL)
        backup = hsm(url).describe_backups(Filters={"states": ["READY"]})["Backups"][0]["BackupId"]

        def copies():
            return len(hsm(url, "eu-west-1").describe_backups(Filters={"sourceBackupIds": [backup]})["Backups"])

        # Cut twice in the middle of the answer: the SDK asks three times, under one invocation id.
        line.cuts = 2
        hsm(line.url).copy_backup_to_region(DestinationRegion="eu-west-1", BackupId=backup)
        assert line.cuts == 0 and copies() == 1, (line.cuts, copies())

        # Killed and started again while the SDK tries.
        server.send_signal(signal.SIGKILL)
        server.wait()
        outcome = []
        caller = threading.Thread(target=lambda: outcome.append(
            hsm(url).copy_backup_to_region(DestinationRegion="eu-west-1", BackupId=backup)))
        caller.start()
        time.sleep(0.3)
        server, _ = start(STRONGROOM, DATA, url.removeprefix("http://"))
        caller.join(60)
        assert outcome, "the call went through once the server was back"
        end = time.monotonic() + 20
        while copies() != 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert copies() == 2, copies()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    print("botocore's retries: throttled twice; two cut answers and a kill -9, one copy for each call")


main()
