"""Run inside a booted systemd by record.sh: cases on stdin, answers on stdout, a line of JSON each."""

import json
import os
import shutil
import subprocess
import sys

PLACE = "/run/systemd/system/"
OUT = "/run/unit-text/"
# What /show, a copy of bash, does before it looks at its arguments: each call leaves a file with them, a NUL
# behind each. A script would not see the name that it was called by.
SHOW = """cat </proc/$$/cmdline >%s$(printf %%03d $(ls %s | wc -l)); exit 0
""" % (OUT, OUT)


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True)


def start(units):
    """Writes all units, reloads once, starts each; gives what its programs were called with."""
    for name, text in units:
        if name is not None:
            with open(PLACE + name, "w") as out:
                out.write(text)
    run("systemctl", "daemon-reload")
    for name, _ in units:
        shutil.rmtree(OUT, ignore_errors=True)
        os.mkdir(OUT)
        failed = name is None or run("systemctl", "start", name).returncode != 0
        calls = [open(OUT + it, "rb").read() for it in sorted(os.listdir(OUT))]
        yield None if failed else [call.decode().split("\0")[:-1] for call in calls]


def template(name):
    before, at, after = name.partition("@")
    return before + "@.service" if at else name


def commands(cases):
    """A case: {"environment": {…}, "value": "…"}, with /show as the program. An answer: the argv of each."""
    units = []
    for at, case in enumerate(cases):
        text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nEnvironment=BASH_ENV=/show.rc\n"
        for name, value in case.get("environment", {}).items():
            quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
            text += 'Environment="%s=%s"\n' % (name, quoted)
        units.append(("unit-text-%d.service" % at, text + "ExecStart=%s\n" % case["value"]))
    return start(units)


def specifiers(cases):
    """A case: {"unit": "a@b.service", "text": "…"}. An answer: the text expanded, or null."""
    units = []
    for case in cases:
        text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nEnvironment=BASH_ENV=/show.rc\nExecStart=:/show \"%s\"\n" % case["text"]
        units.append((case["unit"], text))
    for (name, text) in units:
        with open(PLACE + template(name), "w") as out:
            out.write(text)
        run("systemctl", "daemon-reload")
        shutil.rmtree(OUT, ignore_errors=True)
        os.mkdir(OUT)
        failed = run("systemctl", "start", name).returncode != 0
        calls = [open(OUT + it, "rb").read() for it in os.listdir(OUT)]
        os.unlink(PLACE + template(name))
        yield None if failed else calls[0].decode().split("\0")[-2]


def environment(cases):
    """A case: the text of a file. An answer: the variables, or null where the file is refused."""
    for text in cases:
        with open("/run/unit-text.env", "w", newline="") as out:
            out.write(text)
        # As bytes: reading text would make one newline of "\\r\\n".
        done = subprocess.run(("systemd-run", "-q", "--wait", "--pipe", "-p", "EnvironmentFile=/run/unit-text.env",
                               "/usr/bin/env", "-0"), capture_output=True)
        own = ("LANG", "PATH", "LOGNAME", "USER", "HOME", "SHELL", "INVOCATION_ID", "SYSTEMD_EXEC_PID",
               "JOURNAL_STREAM", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "TERM", "LC_CTYPE")
        pairs = [it.split("=", 1) for it in done.stdout.decode().split("\0") if it]
        yield {k: v for k, v in pairs if k not in own} if done.returncode == 0 else None


def spans(cases):
    """A case: a time span. An answer: its microseconds (null: refused), as systemd-analyze has it."""
    for text in cases:
        told = run("systemd-analyze", "timespan", "--", text)
        lines = [it for it in told.stdout.splitlines() if "s:" in it]
        yield int(lines[0].split()[-1]) if told.returncode == 0 else None


def shown(unit, properties):
    told = run("systemctl", "show", unit, "-p", ",".join(properties)).stdout.splitlines()
    return dict(line.split("=", 1) for line in told)


def settings(cases, properties):
    for at, case in enumerate(cases):
        with open(PLACE + "unit-text-%d.service" % at, "w") as out:
            out.write("[Service]\nExecStart=/bin/true\n" + "".join(line + "\n" for line in case))
    run("systemctl", "daemon-reload")
    for at, case in enumerate(cases):
        yield shown("unit-text-%d.service" % at, properties(case))


def capabilities(cases):
    """A case: lines. An answer: both sets in words."""
    return settings(cases, lambda case: ["CapabilityBoundingSet", "AmbientCapabilities"])


def limits(cases):
    """A case: [line]. An answer: {"LimitX": hard, "LimitXSoft": soft} in words."""
    def of(case):
        name = case[0].split("=")[0]
        return [name, name + "Soft"]
    return settings(cases, of)


def main():
    shutil.copy("/bin/bash", "/show")
    with open("/show.rc", "w") as out:
        out.write(SHOW)
    try:
        cases = [json.loads(line) for line in sys.stdin]
        for answer in globals()[sys.argv[1]](cases):
            print(json.dumps(answer, ensure_ascii=False), flush=True)
    finally:
        os.unlink("/show")
        os.unlink("/show.rc")
        shutil.rmtree(OUT, ignore_errors=True)
        for name in os.listdir(PLACE):
            if name.startswith("unit-text"):
                os.unlink(PLACE + name)
        run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed")


main()
