"""Measures, in namespaces that benches/run has made, and prints what it found as Markdown.

measure.py WORK ROUNDS: WORK holds the programs built by benches/run.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import time

import give

BENCH = "/run/bench"
DYNUSER = f"{BENCH}/dynuser"
UID = "61184"

# What a run may write to, each a tmpfs. /run comes first: everything else is kept there.
FRESH = [("/run", "755"), ("/tmp", "1777"), ("/var/tmp", "1777"), ("/dev/shm", "1777"),
         ("/var/lib", "755"), ("/var/cache", "755"), ("/var/log", "755")]


def run(*words, **options):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def build_world(work):
    """The host of a newcomer: nothing is installed, nsswitch.conf says `files`, 50 users."""
    # The source of the copies may lie below what is covered next.
    source = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    for path, mode in FRESH:
        run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", path)
        if path == "/run":
            shutil.copytree(f"/proc/self/fd/{source}", BENCH, ignore=shutil.ignore_patterns("unpacked"))
            os.chmod(BENCH, 0o755)
    os.close(source)
    write(f"{BENCH}/passwd", "root:x:0:0:root:/root:/bin/bash\n" + "".join(
        f"user{n}:x:{1000 + n}:{1000 + n}:User {n}:/home/user{n}:/bin/bash\n" for n in range(2, 51)))
    write(f"{BENCH}/group", "root:x:0:\n" + "".join(
        f"user{n}:x:{1000 + n}:\n" for n in range(2, 51)))
    write(f"{BENCH}/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n")
    for name in ("passwd", "group", "nsswitch.conf"):
        run("mount", "--bind", f"{BENCH}/{name}", f"/etc/{name}")


def wait_for(happened):
    until = time.monotonic() + 20
    while not happened():
        if time.monotonic() > until:
            sys.exit("it did not happen in 20 s")
        time.sleep(0.01)


class Daemon:
    """A daemon that is running: what is measured is a warm start."""

    def __enter__(self):
        # The module is found there, and by nobody else: searching costs the others nothing.
        self.process = subprocess.Popen([DYNUSER, "daemon"],
                                        env={**os.environ, "LD_LIBRARY_PATH": BENCH})
        wait_for(lambda: self.process.poll() is not None or os.path.exists("/run/dynuser/manager"))
        if self.process.poll() is not None:
            sys.exit("the daemon did not start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        if self.process.wait(20) != 0:
            sys.exit("the daemon failed")


def bwrap(state, views, identity):
    """bwrap with the mounts of `dynuser run`; then also with its identity and its filter."""
    words = ["/usr/bin/bwrap", "--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev",
             "--bind", "/proc", "/proc", "--bind", "/sys", "/sys",
             "--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/var/tmp"]
    if state:
        words += ["--tmpfs", "/var/lib/private",
                  "--bind", "/var/lib/private/bwrap", "/var/lib/private/bwrap",
                  "--remount-ro", "/var/lib/private"]
    if views:
        words += ["--ro-bind", f"{BENCH}/bwrap.passwd", "/etc/passwd",
                  "--ro-bind", f"{BENCH}/bwrap.group", "/etc/group"]
    words += ["--chdir", "/", "--cap-drop", "ALL"]
    if not identity:
        return words
    # Only with these can the identity be taken on inside; setpriv gives them up.
    for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
        words += ["--cap-add", capability]
    return words + ["--seccomp", "9", *setpriv()]


def setpriv():
    return ["/usr/bin/setpriv", "--reuid", UID, "--regid", UID, "--clear-groups",
            "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]


def dynuser(state):
    return [DYNUSER, "run", *(["-p", "StateDirectory=bench"] if state else [])]


def read_results(path):
    results = {}
    with open(path) as file:
        for line in file:
            label, *numbers = line.rstrip("\n").split("\t")
            results[label] = [int(number) for number in numbers]
    return results


def program(words):
    """What is run: a unit file has its own."""
    if "--unit-file" in words:
        return []
    return ["true" if words else "/usr/bin/true"]


def spawn(commands, rounds):
    """Minimum, median and 90th percentile in ns of each command, and how often it ran."""
    write(f"{BENCH}/commands", "".join(
        "\n".join([label, *words, *program(words)]) + "\n\n"
        for label, words in commands.items()))
    # Descriptor 9 is the filter for bwrap. The driver rewinds it; all others ignore it.
    run("bash", "-c", 'exec "$@" 9<' + f"{BENCH}/filter.bpf", "spawn",
        f"{BENCH}/spawn", f"{BENCH}/commands", str(rounds), f"{BENCH}/results")
    return read_results(f"{BENCH}/results")


def isolation(words):
    """What a process sees of its own isolation, but for what it is called."""
    script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; awk '$1 == \"Uid:\" " \
             "{ print $2 == $3 && $2 == $4 && $2 != 0 }' /proc/self/status; cat /proc/self/mountinfo"
    text = run("bash", "-c", 'exec "$@" 9<' + f"{BENCH}/filter.bpf", "isolation",
               *words, "sh", "-c", script)
    status, mounts = [], {}
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 6:
            options = fields[5].split(",")
            name = fields[4].replace("/private/bwrap", "/private/bench")
            mounts[name] = ("ro" in options, "nosuid" in options)
        else:
            status.append(line)
    return status, mounts


def check_equal(state, views):
    """That bwrap is given the same work to do: otherwise the comparison says nothing."""
    ours, theirs = isolation(dynuser(state)), isolation(bwrap(state, views, True))
    if ours != theirs:
        ours, theirs = ([*status, *sorted(map(str, mounts.items()))]
                        for status, mounts in (ours, theirs))
        sys.exit("the isolation of dynuser and bwrap differs:\n"
                 + "\n".join(f"dynuser: {line}" for line in ours if line not in theirs)
                 + "\n" + "\n".join(f"bwrap: {line}" for line in theirs if line not in ours))


def print_table(title, columns, rows):
    print(f"\n**{title}**\n\n| {' | '.join(columns)} |")
    print("|---" + "|---:" * (len(columns) - 1) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def launches(views, rounds, crowd=0):
    where = "nsswitch.conf names `files` alone" if views else "nsswitch.conf names the module"
    others = [subprocess.Popen(["sleep", "1000"]) for _ in range(crowd)]
    if crowd:
        where += f", beside {crowd} sleeping processes"
    commands = {"`true`": [], "`setpriv` (identity alone)": setpriv(),
                "`unshare -m`": ["/usr/bin/unshare", "-m"]}
    for state, of in ((False, ""), (True, ", state directory")):
        commands[f"`bwrap`, same mounts{of}"] = bwrap(state, views, False)
        commands[f"`bwrap`, same mounts and identity{of}"] = bwrap(state, views, True)
        commands[f"`dynuser run`{of}"] = dynuser(state)
    with Daemon():
        if not os.path.exists(f"{BENCH}/filter.bpf"):
            run(f"{BENCH}/filter", f"{BENCH}/filter.bpf", *dynuser(False), "true")
        for state in (False, True):
            check_equal(state, views)
        results = spawn(commands, rounds)
    for other in others:
        other.kill()
        other.wait()
    rows = []
    for label, (least, median, most, _) in results.items():
        of = ", state directory" if label.endswith(", state directory") else ""
        ratios = []
        for other in (f"`bwrap`, same mounts{of}", f"`bwrap`, same mounts and identity{of}"):
            base = results[other]
            ratios.append(f"{median / base[1]:.2f} ({least / base[0]:.2f})")
        rows.append([label, *(f"{ns / 1e6:.2f}" for ns in (least, median, most)),
                     f"{(median - results['`true`'][1]) / 1e6:.2f}", *ratios])
    print_table(f"Starting `true`, {where}: ms, {rounds} runs of each in turns",
                ["command", "min", "median", "p90", "median above `true`",
                 "× bwrap, same mounts: median (min)", "× bwrap, same isolation: median (min)"], rows)


# What most hardened units ask for, besides what every service of a dynamic user has.
HARDENED = """CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
"""


def hardened(rounds):
    """The whole block, as properties and from a unit file, beside a bwrap that does the mounts of the bare sandbox."""
    properties = [word for line in HARDENED.splitlines() for word in ("-p", line)]
    unit = f"{BENCH}/hardened.service"
    write(unit, f"[Service]\nDynamicUser=yes\nExecStart=/usr/bin/true\n{HARDENED}")
    commands = {"`true`": [], "`bwrap`, the bare sandbox's mounts": bwrap(False, False, False),
                "`bwrap`, same mounts and identity": bwrap(False, False, True),
                "`dynuser run`": dynuser(False), "`dynuser run`, whole block": [*dynuser(False), *properties],
                "`dynuser run --unit-file`, whole block": [DYNUSER, "run", "--unit-file", unit]}
    with Daemon():
        results = spawn(commands, rounds)
    rows = []
    base = results["`bwrap`, same mounts and identity"]
    for label, (least, median, most, _) in results.items():
        rows.append([label, *(f"{ns / 1e6:.2f}" for ns in (least, median, most)),
                     f"{median / base[1]:.2f} ({least / base[0]:.2f})"])
    print_table(f"Starting `true` with the whole hardening block: ms, {rounds} runs of each in turns",
                ["command", "min", "median", "p90", "× bwrap, same mounts and identity: median (min)"], rows)


def look_ups():
    """A running user, looked up in every way: its numbers are those of one process and one run."""
    userdb = "/run/systemd/userdb"
    os.makedirs(userdb)
    with Daemon():
        service = subprocess.Popen([DYNUSER, "run", "-u", "bench50", "-p", "StateDirectory=bench50",
                                    "/usr/bin/sleep", "1000"])
        link = "/run/dynuser/users/name:bench50"
        wait_for(lambda: os.path.lexists(link) and os.path.exists(f"{userdb}/org.dynuser"))
        uid = os.readlink(link).split(":")[0]
        run(f"{BENCH}/nss", f"{BENCH}/libnss_dynuser.so.2", "bench50", uid, "user25", f"{BENCH}/results", userdb,
            env={**os.environ, "LD_LIBRARY_PATH": BENCH})
        service.terminate()
        service.wait()
        wait_for(lambda: not os.path.lexists(link))
    results = read_results(f"{BENCH}/results")
    base = results["`readlink` of a number's link|hit"]
    rows = [[*label.split("|"), *(f"{ns / 1e3:.2f}" for ns in (least, median)),
             f"{median / base[1]:.2f} ({least / base[0]:.2f})"]
            for label, (least, median, _, _) in results.items()]
    count = base[3]
    print_table(f"Looking up one running user (`files`: of 50, the one in the middle): µs, {count} of each in turns",
                ["look-up", "", "min", "median", "× bare `readlink`: median (min)"], rows)


def module():
    """What the module brings into every process of the host."""
    file = f"{BENCH}/libnss_dynuser.so.2"
    undefined = [line.split()[-1].split("@")[0] for line in run("nm", "-D", "--undefined-only", file).splitlines()]
    relocations = sum(" R_" in line for line in run("readelf", "-rW", file).splitlines())
    return f"{os.stat(file).st_size:,} bytes, {relocations} relocations, needs {', '.join(f'`{name}`' for name in undefined)}"


def resident(pid):
    """Resident memory of a process in MB, and how much of it is its own (anonymous)."""
    with open(f"/proc/{pid}/status") as file:
        status = file.read()
    return [int(re.search(rf"^{name}:\s*(\d+) kB$", status, re.M)[1]) / 1000
            for name in ("VmRSS", "RssAnon")]


class Client:
    """Asks for users through the socket, one after the other, and holds them."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-B", f"{BENCH}/client.py"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, command):
        print(command, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split(None, 1)
        return answer[0] == "ok", answer[1].strip() if len(answer) > 1 else ""


def pool():
    """The whole range, held by descriptors: no process of its users is there to be looked at."""
    # Numbers that carry kernel keys are passed over, so a range of its own that nobody has used.
    # Not on the host's disk, and with the same accounts as all the rest.
    for folder in ("upper", "work"):
        os.mkdir(f"{BENCH}/{folder}")
    run("mount", "-t", "overlay", "-o", f"lowerdir=/etc,upperdir={BENCH}/upper,workdir={BENCH}/work",
        "overlay", "/etc")
    for name in ("passwd", "group", "nsswitch.conf"):
        run("mount", "--bind", f"{BENCH}/{name}", f"/etc/{name}")
    os.makedirs("/etc/dynuser", exist_ok=True)
    write("/etc/dynuser/dynuser.conf", "[Manager]\nUIDRange=200000-204335\n")
    rows, count = [], 100
    with Daemon() as daemon:
        memory = {0: resident(daemon.process.pid)}
        client = Client()
        taken, base = 0, None
        for until in (0, 1000, 2000, 3000, 4000, 4236):
            if until > taken:
                client.ask(f"rate fill{until}- {until - taken}")
                taken = until
            good, answer = client.ask(f"rate at{until}- {count}")
            if not good:
                sys.exit(f"an allocation failed: {answer}")
            a_second, median, last = map(int, answer.split())
            base = base or a_second
            rows.append([f"{taken:,}", f"{a_second:,}", f"{median / 1000:.2f}", f"{a_second / base:.2f}"])
            taken += count
        memory[taken] = resident(daemon.process.pid)
        begun = time.perf_counter()
        good, why = client.ask("acquire one-more")
        refused = (time.perf_counter() - begun) * 1000
        if good:
            sys.exit("there was one more number")
        daemon.process.kill()
        daemon.process.wait()
        os.remove("/run/dynuser/manager")
        begun = time.perf_counter()
        with Daemon() as second:
            adopted = time.perf_counter() - begun
            memory["adopted"] = resident(second.process.pid)
            # The others are let go by the daemon's successors; nobody waits for that here.
            leases = len(os.listdir("/run/dynuser/leases"))
        # What __exit__ ends in its place.
        daemon.process = subprocess.Popen(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])
        time.sleep(0.2)
    client.process.kill()
    print_table(f"Allocations through the socket, {count} in a row, one client: by how many of 4,336 numbers are taken",
                ["taken", "a second", "median ms", "× none taken"], rows)
    print(f"\nThe {taken:,}th took {last / 1000:.2f} ms; one more was refused after {refused:.2f} ms: {why}.\n"
          f"A daemon after kill -9 answered after {adopted:.2f} s with all {leases:,} leases.")
    print_table("The daemon's memory, MB", ["leases", "resident", "anonymous"],
                [[f"{leases}", *(f"{size:.1f}" for size in sizes)] for leases, sizes in memory.items()])


def owned_by_another(rounds, files=100_000):
    """Starts with a state directory of many files that belong to somebody else, on ext4 in memory."""
    place = "/dev/shm/state"
    with open(place, "w") as file:
        file.truncate(2 * files * 6144 + (256 << 20))
    run("mkfs.ext4", "-q", "-N", str(files * 5 // 2 + 20000), place)
    run("mount", "-o", "loop", place, "/var/lib")
    os.chmod("/var/lib", 0o755)
    os.mkdir("/var/lib/private", 0o700)
    owners = {"former": 65534, "another": 1002}
    for name, owner in owners.items():
        top = f"/var/lib/private/{name}"
        give.build(top, files)
        run("chown", "-hR", f"{owner}:{owner}", top)
        os.symlink(f"private/{name}", f"/var/lib/{name}")
    words = lambda name: [DYNUSER, "run", "-u", name, "-p", f"StateDirectory={name}"]
    commands = {"an empty one, its own": words("empty")}
    for name, owner in owners.items():
        commands[f"{files:,} files of {owner}"] = words(name)
    with Daemon():
        results = spawn(commands, rounds)
    for name, owner in owners.items():
        found = os.stat(f"/var/lib/private/{name}/0/0/file1")
        if found.st_uid != owner:
            sys.exit(f"{name} was given to {found.st_uid}: nothing was measured")
    run("umount", "/var/lib")
    os.unlink(place)
    base = results["an empty one, its own"]
    rows = [[label, *(f"{ns / 1e6:.2f}" for ns in (least, median, most)),
             f"{median / base[1]:.2f} ({least / base[0]:.2f})"]
            for label, (least, median, most, _) in results.items()]
    print_table(f"Starting `true` with a state directory, ext4 in memory: ms, {rounds} runs of each in turns",
                ["state directory", "min", "median", "p90", "× the empty one: median (min)"], rows)


def cpu():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    return f"{os.cpu_count()} × {model[1] if model else platform.machine()}"


def main():
    work, rounds = sys.argv[1], int(sys.argv[2])
    load = os.getloadavg()[0]
    build_world(work)
    version = run("/usr/bin/bwrap", "--version").strip()
    print(f"{cpu()}, Linux {platform.release()}, {version}, load {load:.1f} at the beginning, "
          f"{sum(1 for _ in open('/proc/self/mountinfo'))} mounts.")
    for kind in ("passwd", "group"):
        shutil.copy(f"{BENCH}/{kind}", f"{BENCH}/bwrap.{kind}")
    os.makedirs("/var/lib/private", mode=0o700)
    os.mkdir("/var/lib/private/bwrap", 0o755)
    os.chown("/var/lib/private/bwrap", int(UID), int(UID))
    launches(True, rounds)
    # What looks at all processes of a host takes longer where there are some.
    launches(True, rounds, 200)
    write(f"{BENCH}/nsswitch.conf", "passwd: files dynuser\ngroup: files dynuser\nshadow: files\n")
    launches(False, rounds)
    hardened(rounds)
    look_ups()
    owned_by_another(rounds)
    print_table(*give.table(f"{BENCH}/give", 200_000, max(3, rounds // 40)))
    pool()
    print(f"\nSizes: `libnss_dynuser.so.2` {module()}; "
          f"`dynuser` {os.stat(DYNUSER).st_size:,} bytes.")


main()
