#!/usr/bin/env python3
"""How long `true` takes with the whole hardening block, under a booted systemd and under dynuser, in turns.

    benches/beside_systemd.py ROUNDS DYNUSER PREFIX...

PREFIX is a command that runs its arguments inside the booted systemd; what it costs by itself is measured as well, and
taken off. DYNUSER runs beside it on this host, in a world of its own, with a daemon that is there already.
"""

import os
import re
import statistics
import subprocess
import sys
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "measure.py")
BLOCK = re.search(r'HARDENED = """(.*?)"""', open(SOURCE).read(), re.S).group(1).splitlines()
WORLD = "mount -t tmpfs t /run && mount -t tmpfs t /var/lib && exec \"$@\""


def took(words):
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def measure(rounds, dynuser, prefix):
    """The world is entered once, so that what is measured is a start and not the world."""
    block = [word for line in BLOCK for word in ("-p", line)]
    commands = {
        "PREFIX true": [*prefix, "true"],
        "PREFIX systemd-run --wait, dynamic": [*prefix, "systemd-run", "--wait", "-q", "-p", "DynamicUser=yes", "true"],
        "PREFIX systemd-run --wait, whole block":
            [*prefix, "systemd-run", "--wait", "-q", "-p", "DynamicUser=yes", *block, "true"],
        "true": ["true"],
        "dynuser run": [dynuser, "run", "true"],
        "dynuser run, whole block": [dynuser, "run", *block, "true"],
    }
    times = {label: [] for label in commands}
    for number in range(rounds + 3):
        for label, words in commands.items():
            inside = words[0] in (dynuser, "true")
            spent = took(words) if not inside else took_inside(words)
            if number >= 3:
                times[label].append(spent)
    middle = {label: statistics.median(spent) for label, spent in times.items()}
    for label, spent in times.items():
        print(f"{label}: median {middle[label]:.1f} ms, min {min(spent):.1f}")
    systemd = middle["PREFIX systemd-run --wait, whole block"] - middle["PREFIX true"]
    ours = middle["dynuser run, whole block"] - middle["true"]
    print(f"whole block, without what `true` costs: systemd {systemd:.1f} ms, dynuser {ours:.1f} ms, ratio {ours / systemd:.2f}")


def took_inside(words):
    helper.stdin.write("\0".join(words) + "\n")
    helper.stdin.flush()
    return float(helper.stdout.readline())


HELPER = r"""
import subprocess, sys, time
for line in sys.stdin:
    words = line.rstrip("\n").split("\0")
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    print((time.perf_counter() - start) * 1000, flush=True)
"""

helper = subprocess.Popen(
    ["unshare", "-m", "-p", "-i", "--fork", "--kill-child", "--mount-proc", "sh", "-c", WORLD, "sh", sys.executable, "-c", HELPER],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
measure(int(sys.argv[1]), os.path.realpath(sys.argv[2]), sys.argv[3:])
helper.stdin.close()
helper.kill()
