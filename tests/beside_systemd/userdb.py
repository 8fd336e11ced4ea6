"""Serves one dynamic user as systemd does: varlink, io.systemd.UserDatabase. Ends with its input.

userdb.py NUMBER NAME"""
import json, os, signal, socket, sys, threading

# A test that waits for a line in vain reads the end.
signal.alarm(60)

number, name = int(sys.argv[1]), sys.argv[2]
service = "io.systemd.DynamicUser"
folder = "/run/systemd/userdb"
common = {"service": service, "disposition": "dynamic"}
user = {"userName": name, "uid": number, "gid": number, "realName": "Dynamic User", "homeDirectory": "/",
        "shell": "/usr/sbin/nologin", "locked": True, **common}
group = {"groupName": name, "gid": number, "description": "Dynamic Group", **common}


def answer(call):
    asked = call.get("parameters", {})
    keys, record = {
        "io.systemd.UserDatabase.GetUserRecord": (("userName", "uid"), user),
        "io.systemd.UserDatabase.GetGroupRecord": (("groupName", "gid"), group),
    }.get(call["method"], ((), None))
    wanted = [key for key in keys if key in asked]
    if wanted and all(asked[key] == record[key] for key in wanted):
        return {"parameters": {"record": record, "incomplete": False}}
    return {"error": "io.systemd.UserDatabase.NoRecordFound", "parameters": {}}


def serve(connection):
    rest = b""
    with connection:
        while data := connection.recv(65536):
            *calls, rest = (rest + data).split(b"\0")
            for call in calls:
                connection.sendall(json.dumps(answer(json.loads(call))).encode() + b"\0")


os.makedirs(folder, 0o755, exist_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{folder}/{service}")
os.chmod(f"{folder}/{service}", 0o666)
listener.listen()


def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
print("serving", flush=True)
sys.stdin.read()
os.unlink(f"{folder}/{service}")
