"""Look-ups a second over nscd's socket: the real one, whose answers lie in its cache, and ours, which keeps none.
In mount, PID and IPC namespaces of its own: nscd.py WORK NSCD, with the programs in WORK, and nscd's own."""
import os
import subprocess
import sys
import time

WORK, NSCD = sys.argv[1:3]
SECONDS = "1"
CASES = [("a dynamic user", "wuff"), ("a user of the host", "games"), ("nobody", "unknown")]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def wait_for(path):
    until = time.monotonic() + 60
    while not os.path.lexists(path):
        if time.monotonic() > until:
            sys.exit(f"{path} does not come")
        time.sleep(0.01)


def start(*words):
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measured():
    """For each case and number of clients: look-ups a second, and the median in microseconds."""
    found = {}
    for _, name in CASES:
        for clients in ("1", "4"):
            out = subprocess.run([f"{WORK}/nscd", name, clients, SECONDS], check=True, capture_output=True, text=True)
            found[name, clients] = [float(word) for word in out.stdout.split()]
    return found


for path in ("/run", "/var/lib", "/var/cache", "/dev/shm"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
# What is written to /etc is written here alone.
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True)
os.makedirs("/mnt/upper")
os.makedirs("/mnt/work")
layers = "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work"
subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", "/etc"], check=True)
write("/etc/nsswitch.conf", "passwd: files dynuser\ngroup: files dynuser\nshadow: files\n")
write("/etc/dynuser/dynuser.conf", "[Manager]\nNscdSocket=yes\n")
os.environ["LD_LIBRARY_PATH"] = WORK
os.makedirs("/run/nscd")
os.makedirs("/var/cache/nscd")
write(f"{WORK}/nscd.conf", "enable-cache passwd yes\nshared passwd no\nenable-cache group yes\nshared group no\n")

daemon = start(f"{WORK}/dynuser", "daemon")
wait_for("/run/dynuser/manager")
wait_for("/run/nscd/socket")
service = start(f"{WORK}/dynuser", "run", "-u", "wuff", "sleep", "1000")
wait_for("/run/dynuser/users/name:wuff")
ours = measured()

nscd = start(NSCD, "--foreground", "--config-file", f"{WORK}/nscd.conf")
wait_for("/run/nscd/nscd.pid")
while subprocess.run([NSCD, "--statistics"], capture_output=True).returncode:
    time.sleep(0.05)
theirs = measured()
for child in (service, daemon, nscd):
    child.kill()
    child.wait()

print("| passwd by name | clients | nscd, cached: a second | median, µs | ours: a second | median, µs | ours to nscd |")
print("|---|---|---|---|---|---|---|")
for title, name in CASES:
    for clients in ("1", "4"):
        (rate, median), (our_rate, our_median) = theirs[name, clients], ours[name, clients]
        print(f"| {title} | {clients} | {rate:,.0f} | {median:.0f} | {our_rate:,.0f} | {our_median:.0f} "
              f"| {our_rate / rate:.2f} |")
