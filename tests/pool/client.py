"""A client of the daemon's socket that shares no code with it: asks for users and holds them.

Reads commands, one a line, and answers each with one line:
  acquire NAME           ok UID | error TEXT
  fill PREFIX            ok LAST_US UID UID ...: acquires and keeps until it is refused
  rate PREFIX COUNT      ok CALLS_A_SECOND MEDIAN_US LAST_US: acquires, keeps
  churn PREFIX COUNT     ok CALLS_A_SECOND: acquires and drops at once, COUNT times
  drop NAME              ok
"""
import array
import os
import socket
import statistics
import struct
import sys
import time

SOCKET = "/run/dynuser/manager"
held = {}


def string(text):
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def pad(data, to):
    return data + b"\0" * (-len(data) % to)


def field(code, kind, value):
    if kind == "g":
        body = bytes([len(value)]) + value.encode() + b"\0"
    else:
        body = string(value)
    return struct.pack("<BB", code, 1) + kind.encode() + b"\0", body


def message(name):
    """A call of Acquire(s, a{sv}) without properties."""
    body = pad(string(name), 4) + struct.pack("<I", 0)
    body = pad(body, 8)  # an empty array still aligns to its first element
    fields = b""
    for code, kind, value in [
        (1, "o", "/org/dynuser1"),
        (2, "s", "org.dynuser1.Manager"),
        (3, "s", "Acquire"),
        (8, "g", "sa{sv}"),
    ]:
        fields = pad(fields, 8)
        head, data = field(code, kind, value)
        fields += pad(head, 4) + data if kind != "g" else head + data
    head = struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), 1, len(fields))
    return pad(head + fields, 8) + body


def acquire(name):
    """The UID and the descriptor, or the daemon's sentence."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(SOCKET)
        connection.sendall(b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n" + message(name))
        data, descriptors = b"", []
        while True:
            lines = data.split(b"\r\n", 2)
            if len(lines) == 3 and len(lines[2]) >= 16:
                assert lines[0].startswith(b"OK ") and lines[1] == b"AGREE_UNIX_FD", lines
                answer = lines[2]
                length, _, fields = struct.unpack_from("<III", answer, 4)
                start = (16 + fields + 7) // 8 * 8
                if len(answer) >= start + length:
                    break
            piece, ancillary, _, _ = connection.recvmsg(65536, 256)
            if not piece:
                raise RuntimeError("the daemon closed the connection")
            data += piece
            for level, kind, rights in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(rights[: len(rights) // 4 * 4])
                    descriptors += numbers
    body = answer[start:]
    if answer[1] == 3:
        (length,) = struct.unpack_from("<I", body)
        return body[4 : 4 + length].decode(), None
    assert answer[1] == 2 and len(descriptors) == 1, (answer, descriptors)
    return struct.unpack_from("<I", body)[0], descriptors[0]


def hold(name):
    uid, descriptor = acquire(name)
    if descriptor is None:
        raise RuntimeError(uid)
    held[name] = descriptor
    return uid


def fill(prefix):
    """The names are PREFIX and the position in the answer, counted from 0."""
    uids, last = [], 0.0
    while True:
        begun = time.perf_counter()
        try:
            uids.append(hold(f"{prefix}{len(uids)}"))
        except RuntimeError:
            return f"{last:.0f} " + " ".join(map(str, uids))
        last = (time.perf_counter() - begun) * 1e6


def rate(prefix, count):
    times = []
    for number in range(count):
        begun = time.perf_counter()
        hold(f"{prefix}{number}")
        times.append((time.perf_counter() - begun) * 1e6)
    return f"{count / sum(times) * 1e6:.0f} {statistics.median(times):.0f} {times[-1]:.0f}"


def churn(prefix, count):
    begun = time.perf_counter()
    for number in range(count):
        hold(f"{prefix}{number}")
        os.close(held.pop(f"{prefix}{number}"))
    return f"{count / (time.perf_counter() - begun):.0f}"


def obey(words):
    match words:
        case ["acquire", name]:
            return str(hold(name))
        case ["fill", prefix]:
            return fill(prefix)
        case ["rate", prefix, count]:
            return rate(prefix, int(count))
        case ["churn", prefix, count]:
            return churn(prefix, int(count))
        case ["drop", name]:
            os.close(held.pop(name))
            return ""
    raise SystemExit(f"what is {words}?")


for line in sys.stdin:
    try:
        print("ok", obey(line.split()), flush=True)
    except (RuntimeError, OSError) as error:
        print("error", error, flush=True)
