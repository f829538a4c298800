"""A `strongroom dev` of a test's own."""

import subprocess
import threading


def start(strongroom, data, listen, *more):
    """Starts it and waits until it is ready; gives the process and its endpoint."""
    command = [strongroom, "dev", "--data", data, "--listen", listen, *more]
    # What the test has ignored, the server ignores too: a full disk is an error then, not a signal.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, restore_signals=False)
    url = None
    for line in server.stdout:
        if line.strip().startswith("endpoint"):
            url = line.split()[1]
        if line.startswith("Ready"):
            threading.Thread(target=server.stdout.read, daemon=True).start()
            return server, url
    raise AssertionError("not as told: the server does not start")
