"""Clients of nscd's socket, good and bad. Each prints what came of it."""
import os
import resource
import select
import socket
import struct
import sys

PATH = "/run/nscd/socket"
GETGRBYNAME = 2


def connect():
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(PATH)
    return client


def request(kind, key, version=2, length=None):
    return struct.pack("iii", version, kind, len(key) if length is None else length) + key


def answer(client):
    """All that comes; that the connection is reset in the end means only that something was left unread."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def ask(sent, ends=False):
    client = connect()
    try:
        client.sendall(sent)
        if ends:
            client.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass
    return answer(client)


def is_root(said):
    return said.endswith(b"root\0/root\0/bin/bash\0")


def odd():
    """What no client of a C library sends, and what nobody but nscd understands: what is said to each."""
    root = b"root\0"
    cases = {f"kind {kind} {key}": request(kind, key + b"\0") for kind in range(22) if kind not in (8, 9)
             for key in (b"root", b"0", b"nosuch", b"passwd", b"hosts", b"")}
    cases |= {f"kind {kind}": request(kind, root) for kind in (22, -1, 2**31 - 1, -(2**31))}
    cases |= {f"version {version}": request(0, root, version) for version in (0, 1, 3, -1, 2 << 24)}
    cases |= {f"length {length}": request(0, root, 2, length) for length in (-1, 0, 1, 1025, 2**31 - 1, -(2**31))}
    cases |= {
        "swapped": struct.pack(">iii", 2, 0, 5) + root,
        "longest": request(0, b"a" * 1023 + b"\0"),
        "too long": request(0, b"a" * 1024 + b"\0"),
        "no NUL": request(0, b"root"),
        "NUL inside": request(0, b"root\0x\0"),
        "NUL first": request(0, b"\0root\0"),
        "no text": request(0, b"\xff\xfe\0"),
        "more": request(0, root) + b"more" * 100,
        "by number, no number": request(1, b"root\0"),
        "by number, hexadecimal": request(3, b"0x0\0"),
        "nothing": b"",
    }
    cases |= {f"only {length} bytes": request(0, root)[:length] for length in range(17)}
    for name, sent in cases.items():
        ends = len(sent) < 17 or name.startswith("length")
        print(name, ask(sent, ends=ends).hex())


def trickle():
    client = connect()
    for byte in request(0, b"root\0"):
        client.send(bytes([byte]))
    print(is_root(answer(client)))


def hold(count, sent):
    """Opens connections, sends that and no more, and waits to be told to look how many are left, and to go."""
    clients = []
    for _ in range(count):
        client = connect()
        try:
            client.sendall(sent)
        except ConnectionError:
            pass
        clients.append(client)
    print("up", flush=True)
    for line in sys.stdin:
        closed = select.poll()
        for client in clients:
            closed.register(client, select.POLLRDHUP)
        print(count - len(closed.poll(0)), flush=True)


def flood(count):
    """Connects, says something or nothing, and goes."""
    some = [b"", b"\2", request(0, b"root\0")[:13], request(0, b"root\0"), request(0, b"x" * 1024), b"\0" * 4096]
    for turn in range(count):
        try:
            client = connect()
            client.send(some[turn % len(some)])
            client.close()
        except ConnectionError:
            pass
    print("done")


def good(count):
    print(sum(is_root(ask(request(0, b"root\0"))) for _ in range(count)))


def unanswerable(count):
    """Asks for nobody, so often at once, until all have been told that nobody can tell."""
    clients = [connect() for _ in range(count)]
    for client in clients:
        client.sendall(request(0, b"nosuch\0"))
    print(sum(answer(client)[4:8] == b"\xff" * 4 for client in clients))


def large(name):
    print(len(ask(request(GETGRBYNAME, name.encode() + b"\0"))))


resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
if len(sys.argv) > 3:
    # Here, and by number: on the way nobody is asked for who that is.
    os.setuid(int(sys.argv[3]))
if sys.argv[1] == "odd":
    odd()
elif sys.argv[1] == "trickle":
    trickle()
elif sys.argv[1] == "silent":
    hold(int(sys.argv[2]), b"")
elif sys.argv[1] == "half":
    hold(int(sys.argv[2]), request(0, b"root\0")[:14])
elif sys.argv[1] == "deaf":
    hold(int(sys.argv[2]), request(GETGRBYNAME, b"large\0"))
elif sys.argv[1] == "flood":
    flood(int(sys.argv[2]))
elif sys.argv[1] == "unanswerable":
    unanswerable(int(sys.argv[2]))
elif sys.argv[1] == "good":
    good(int(sys.argv[2]))
elif sys.argv[1] == "large":
    large(sys.argv[2])
