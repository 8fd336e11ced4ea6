#!/usr/bin/env python3
"""Connections a second: each served by a fresh user in a sandbox of its own, beside servers that fork under one user.

    benches/connections.py ROUNDS DYNUSER        as root; needs socat; measures systemd-socket-activate where it is

In each round every server serves so many connections, one after the other and then several at once. A connection sends a
line, closes its half and reads it back from `cat`. Everything is in namespaces of its own. It judges no time.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

EACH = 100
WIDTHS = (1, 8)
# The shell stays, as process 1 that reaps: where nobody does, zombies make every look at /proc take longer.
WORLD = "mount -t tmpfs t /run && mount -t tmpfs t /var/lib && ip link set lo up && \"$@\"; exit $?"


def connection(port):
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"word\n")
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while part := stream.recv(4096):
            answer += part
    if answer != b"word\n":
        raise SystemExit(f"port {port} answered {answer!r}")


def took(port, width):
    def several():
        for _ in range(EACH // width):
            connection(port)

    threads = [threading.Thread(target=several) for _ in range(width)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return EACH // width * width / (time.perf_counter() - begun)


def wait_for(port):
    while True:
        try:
            return connection(port)
        except ConnectionRefusedError:
            time.sleep(0.01)


def idle(dynuser):
    """What one server still does must not be another one's time."""
    while subprocess.run([dynuser, "list", "--json"], capture_output=True, check=True).stdout.strip() != b"[]":
        time.sleep(0.01)


def main(rounds, dynuser):
    servers = {
        "dynuser listen --accept --inetd (a user and a sandbox each)":
            [dynuser, "listen", "-q", "--tcp", "127.0.0.1:7001", "--accept", "--inetd", "-u", "talk", "--", "cat"],
        "socat TCP-LISTEN,fork EXEC (one user, no sandbox)":
            ["socat", "TCP-LISTEN:7002,bind=127.0.0.1,reuseaddr,fork,backlog=128", "EXEC:cat"],
    }
    # It comes with systemd alone.
    if shutil.which("systemd-socket-activate"):
        words = ["systemd-socket-activate", "--accept", "--inetd", "-l", "127.0.0.1:7003", "cat"]
        servers["systemd-socket-activate --accept --inetd (one user, no sandbox)"] = words
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(words, **quiet) for words in servers.values()]
    rates = {(label, width): [] for label in servers for width in WIDTHS}
    try:
        for port, _ in enumerate(servers, 7001):
            wait_for(port)
        for _ in range(rounds):
            for width in WIDTHS:
                for port, label in enumerate(servers, 7001):
                    rates[label, width].append(took(port, width))
                    idle(dynuser)
    finally:
        for process in running:
            process.terminate()
            process.wait()
    ours = next(iter(servers))
    print(f"{rounds} rounds of {EACH} connections each, load {os.getloadavg()[0]:.1f}\n")
    print("| served by | at once | connections a second (median) | best | dynuser's are |\n|---|---|---|---|---|")
    for width in WIDTHS:
        middle = statistics.median(rates[ours, width])
        for label in servers:
            these = rates[label, width]
            ratio = middle / statistics.median(these)
            print(f"| {label} | {width} | {statistics.median(these):.0f} | {max(these):.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        again = [sys.executable, os.path.abspath(__file__), sys.argv[1], os.path.abspath(sys.argv[2]), "inside"]
        os.execvp("unshare", ["unshare", "-m", "-p", "-i", "-n", "--fork", "--kill-child", "--mount-proc", "bash", "-c", WORLD, "bash", *again])
    main(int(sys.argv[1]), sys.argv[2])
