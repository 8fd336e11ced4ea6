"""A service manager with a descriptor store (sd_notify(3), systemd.service(5)) and one service: dynuser daemon.

Reads "start" (or "start PID": as if the descriptors were for that one) and "kill" (SIGKILL, and waits for the end), "plant NUMBER" (keeps a lock that no lease stands for),
"kept" (tells the names in the store). Says what the daemon says. Only the main process is listened to.

manager.py ADDRESS: a path, or @NAME for an abstract one"""
import array, fcntl, os, select, signal, socket, struct, sys

# A test that waits for a line in vain reads the end.
signal.alarm(60)

address = sys.argv[1]
store, child, life = {}, None, None
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(address.replace("@", "\0", 1))
notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def start(listen_pid=None):
    pid = os.fork()
    if pid:
        return pid
    # The first one is nobody's, the second is not even open.
    kept = [("other", os.open("/etc/passwd", os.O_RDONLY)), ("closed", None)]
    kept += [(name, fd) for name, fds in store.items() for fd in fds]
    high = [fd if fd is None else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for _, fd in kept]
    os.closerange(3, 3 + len(kept))
    for number, fd in enumerate(high, 3):
        if fd is not None:
            os.dup2(fd, number)
    # What somebody forgot to close.
    os.dup2(0, 50)
    for number in (0, 1):
        os.dup2(os.open("/dev/null", os.O_RDWR), number)
    names = ":".join(name for name, _ in kept)
    os.execve("/usr/local/sbin/dynuser", ["dynuser", "daemon"], {
        "PATH": os.environ["PATH"], "NOTIFY_SOCKET": address, "LISTEN_PID": listen_pid or str(os.getpid()),
        "LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": names})


def hear():
    data, ancillary, _, _ = notify.recvmsg(4096, 1024)
    fds, sender = array.array("i"), None
    for level, kind, content in ancillary:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(content)
        elif kind == socket.SCM_CREDENTIALS:
            sender = struct.unpack("iii", content)[0]
    if sender != child:
        print(f"not from the daemon: {data}", flush=True)
        return
    words = dict(line.split("=", 1) for line in data.decode().split("\n"))
    if "FDSTORE" in words:
        assert words["FDPOLL"] == "0" and len(fds) == 1, data
        store.setdefault(words["FDNAME"], []).extend(fds)
        print("keeps", words["FDNAME"], flush=True)
    elif "FDSTOREREMOVE" in words:
        for fd in store.pop(words["FDNAME"], []):
            os.close(fd)
        print("forgets", words["FDNAME"], flush=True)
    else:
        print(data.decode(), flush=True)


def obey(command):
    global child, life
    match command.split():
        case ["start", *listen_pid]:
            child = start(*listen_pid)
            life = os.pidfd_open(child)
            print("pid", child, flush=True)
        case ["kill"]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            life = None
            print("killed", flush=True)
        case ["plant", number]:
            fd = os.open(f"/run/systemd/dynamic-uid/{number}", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            store[f"dynuser-{number}"] = [fd]
            print("planted", flush=True)
        case ["kept"]:
            print("store:", *sorted(store), flush=True)


print("up", flush=True)
rest = b""
while True:
    ready, _, _ = select.select([notify, 0] + [life] * bool(life), [], [])
    if notify in ready:
        hear()
    elif life in ready:
        print("the daemon ended by itself", flush=True)
        sys.exit(1)
    elif 0 in ready:
        data = os.read(0, 4096)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            obey(line.decode())
