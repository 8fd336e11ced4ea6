"""Takes a number as systemd does (src/core/dynamic-user.c, pick_uid) and has it until its input is closed.

systemd.py NUMBER NAME: says "locked" or "busy"."""
import fcntl, os, signal, sys

# A test that waits for a line in vain reads the end.
signal.alarm(60)

number, name = sys.argv[1:]
folder = "/run/systemd/dynamic-uid"
os.makedirs(folder, 0o755, exist_ok=True)
path = f"{folder}/{number}"
while True:
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("busy", flush=True)
        sys.exit(0)
    if os.fstat(fd).st_nlink > 0:
        break
    os.close(fd)
os.pwrite(fd, f"{name}\n".encode(), 0)
os.ftruncate(fd, len(name) + 1)
print("locked", flush=True)
sys.stdin.read()
os.unlink(path)
