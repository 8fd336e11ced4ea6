"""What tests/pty.rs tries under a caller's terminal: pty.py PROGRAM SCENARIO."""

import fcntl, hashlib, os, random, signal, subprocess, sys, tempfile, termios, time

sys.dont_write_bytecode = True
from outer_terminal import PATIENCE, Terminal, equal, ignoring_children, play, start


def the_terminal_is_raw_and_put_back_after_the_end():
    t = Terminal("echo ready; read x; echo got $x; exit 7")
    t.expect(b"ready\r\n")
    assert t.is_raw()
    assert not fcntl.fcntl(t.slave, fcntl.F_GETFL) & os.O_NONBLOCK, "O_NONBLOCK leaked to the caller"
    t.type(b"go\r")
    equal(t.end(), 7)
    equal(t.seen, b"go\r\ngot go\r\n")
    assert not fcntl.fcntl(t.slave, fcntl.F_GETFL) & os.O_NONBLOCK
    t.check_put_back()


def the_terminal_is_put_back_after_sigterm():
    t = Terminal("echo ready; sleep 100")
    t.expect(b"ready")
    assert t.is_raw()
    os.kill(t.pid, signal.SIGTERM)
    equal(t.end(), 128 + 15)
    t.check_put_back()


def the_terminal_is_put_back_after_the_childs_death():
    t = Terminal("echo ready; read x; kill -9 $$")
    t.expect(b"ready")
    assert t.is_raw()
    t.type(b"\r")
    equal(t.end(), 128 + 9)
    t.check_put_back()


def the_terminal_is_put_back_after_an_outer_stop():
    t = Terminal("echo ready; read x; exit 3")
    t.expect(b"ready")
    os.kill(t.pid, signal.SIGSTOP)
    os.waitpid(t.pid, os.WUNTRACED)
    # What a shell does with a stopped job: it takes the terminal and sets its modes, and later gives it back.
    t.bring_forward(os.getpgrp())
    termios.tcsetattr(t.slave, termios.TCSANOW, t.before)
    t.bring_forward(t.pid)
    os.kill(t.pid, signal.SIGCONT)
    deadline = time.time() + PATIENCE
    while not t.is_raw():
        assert time.time() < deadline, "not raw again"
        time.sleep(0.01)
    t.type(b"\r")
    equal(t.end(), 3)
    t.check_put_back()


def the_window_keeps_its_size():
    t = Terminal("stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    equal(t.expect(b"ready"), b"33 111\r\n")
    t.resize(20, 77)
    t.expect(b"20 77\r\n")
    t.type(b"\x03")
    equal(t.end(), 128 + 2)


BASH = "exec bash --norc --noprofile -i"


def keys_reach_the_inner_job():
    t = Terminal(BASH)
    t.expect(b"PROMPT> ")
    t.type(b"echo fore''ground; sleep 100\r")
    t.expect(b"foreground\r\n")
    time.sleep(0.2)
    t.type(b"\x03")
    t.expect(b"PROMPT> ")
    t.type(b"echo status=$?\r")
    t.expect(b"status=130\r\n")
    t.type(b"exit 5\r")
    equal(t.end(), 5)
    t.check_put_back()


def jobs_can_be_stopped_and_brought_back():
    t = Terminal(BASH)
    t.expect(b"PROMPT> ")
    assert b"no job control" not in t.seen
    t.type(b"cat\r")
    time.sleep(0.3)
    t.type(b"\x1a")
    t.expect(b"Stopped")
    t.expect(b"PROMPT> ")
    t.type(b"fg\r")
    t.expect(b"cat\r\n")
    time.sleep(0.2)
    t.type(b"to the cat\r")
    t.expect(b"to the cat\r\nto the cat\r\n")
    t.type(b"\x04")
    t.expect(b"PROMPT> ")
    t.type(b"\x04")
    equal(t.end(), 0)
    t.check_put_back()


SIZE = 10 * 1024 * 1024
FLOOD = f"stty -opost; python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes({SIZE}))'"


def ten_megabytes_come_out_unchanged():
    t = Terminal(FLOOD)
    equal(t.end(60), 0)
    equal(len(t.seen), SIZE)
    assert t.seen == random.Random(1).randbytes(SIZE)


def ten_megabytes_go_into_a_pipe_unchanged():
    p = start(FLOOD, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    time.sleep(0.5)  # the pipe fills up, and everything before it
    output = p.communicate(timeout=60)[0]
    equal(p.returncode, 0)
    equal(len(output), SIZE)
    assert output == random.Random(1).randbytes(SIZE)


def a_large_paste_goes_in_unchanged():
    noise = random.Random(2).randbytes(1_000_000)
    t = Terminal("stty raw -echo; echo ready; head -c 1000000 | sha256sum")
    t.expect(b"ready")
    t.type(noise)
    t.expect(hashlib.sha256(noise).hexdigest().encode())
    equal(t.end(), 0)
    lines = b"".join(b"line %06d of the paste, as long as such lines are\n" % i for i in range(20000))
    t = Terminal("stty -echo; echo ready; sha256sum")
    t.expect(b"ready")
    t.type(lines + b"\x04")
    t.expect(hashlib.sha256(lines).hexdigest().encode())
    equal(t.end(), 0)


def a_background_process_does_not_hang_the_end():
    for keep in ("(trap '' HUP; exec sleep 30) &", "setsid sh -c \"trap '' HUP; exec sleep 30\" &"):
        t = Terminal(f"{keep} sleep 0.2; echo done; exit 4")
        begin = time.time()
        equal(t.end(10), 4)
        assert time.time() - begin < 5
        equal(t.seen, b"done\r\n")
        t.check_put_back()


# The leader gives its terminal up before it ends, so that the kernel hangs up for nobody.
WITHOUT_HANGUP = """exec python3 -c '
import fcntl, os, signal, termios, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
fcntl.ioctl(0, termios.TIOCNOTTY)
print("done", flush=True)
if os.fork() == 0:
    end = time.time() + 30
    while time.time() < end: {}
time.sleep(0.2)
os._exit(6)
'"""


def a_background_process_without_hangup_does_not_hang_the_end():
    t = Terminal(WITHOUT_HANGUP.format("time.sleep(1)"))
    equal(t.end(10), 6)
    equal(t.seen, b"done\r\n")
    t.check_put_back()


def a_flood_after_the_end_is_cut_off():
    t = Terminal(WITHOUT_HANGUP.format('os.write(1, b"flood" * 100)'))
    equal(t.end(10), 6)
    assert t.seen.count(b"flood") > 100
    t.check_put_back()


def a_hangup_reaches_the_child():
    with tempfile.TemporaryDirectory() as directory:
        note = directory + "/hup"
        t = Terminal(f"trap 'echo hup >>{note}; exit 9' HUP; echo ready; while :; do sleep 0.05; done")
        t.expect(b"ready")
        os.close(t.master)
        equal(t.wait(), 9)
        equal(open(note).read(), "hup\n")


def the_end_of_a_piped_input_is_told_to_every_reader():
    for data in (b"one\ntwo", b"one\ntwo\n", b"", b"x\n" * 50_000):
        p = start("cat; sleep 0.2; cat; echo end; exit 8", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output = p.communicate(data, timeout=PATIENCE)[0]
        equal(p.returncode, 8)
        equal(output, (data + b"end\n").replace(b"\n", b"\r\n"))
    # A line editor.
    p = start(BASH, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output = p.communicate(b"echo from''bash\nexit 3\n", timeout=PATIENCE)[0]
    equal(p.returncode, 3)
    assert b"frombash\r\n" in output
    p = start(BASH, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output = p.communicate(b"echo from''bash\n", timeout=PATIENCE)[0]
    equal(p.returncode, 0)
    assert b"frombash\r\n" in output


def nobody_reading_ends_the_child():
    p = start("yes", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    p.stdout.read(10)
    p.stdout.close()
    equal(p.wait(timeout=PATIENCE), 128 + signal.SIGHUP)


def a_service_without_streams_comes_back():
    t = Terminal("exec <&- >&- 2>&-; sleep 0.3; echo back >/dev/tty; read x </dev/tty; exit 2")
    t.expect(b"back\r\n")
    t.type(b"\r")
    equal(t.end(), 2)


SHOW_MASK = "print(*[l.split()[1] for l in open('/proc/self/status') if l.startswith('SigBlk')])"


def the_child_has_a_clean_start():
    # Nothing held back, the terminal its own, no descriptor of ours.
    t = Terminal(SHOW_MASK, program="python3")
    equal(t.end(), 0)
    equal(t.seen, b"0000000000000000\r\n")
    t = Terminal("echo tty=$(tty </dev/tty); ls /proc/$$/fd | tr '\\n' ' '; echo end")
    equal(t.end(), 0)
    assert b"tty=/dev/tty" in t.seen or b"tty=/dev/pts/" in t.seen, t.seen
    assert b"0 1 2 end" in t.seen, t.seen
    # A caller who ignores SIGCHLD would lose the status.
    p = start("exit 5", stdin=subprocess.DEVNULL, before=ignoring_children)
    equal(p.wait(timeout=PATIENCE), 5)


def signals_are_passed_on():
    traps = " ".join(f"trap 'echo got {n}' {n};" for n in ("HUP", "INT", "QUIT", "USR1", "USR2", "CONT"))
    t = Terminal(f"{traps} trap 'echo got TERM; exit 12' TERM; echo ready; while :; do sleep 0.05; done")
    t.expect(b"ready")
    for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "CONT", "TERM"):
        os.kill(t.pid, getattr(signal, "SIG" + name))
        t.expect(f"got {name}\r\n".encode())
    equal(t.end(), 12)
    t.check_put_back()


def a_stuck_terminal_does_not_hold_back_signals():
    t = Terminal("yes")
    t.expect(b"y")
    time.sleep(0.5)  # nobody reads: everything is full
    # Room for less than is waiting: poll says "ready", and a write of all of it would sleep.
    for _ in range(30):
        os.read(t.master, 50)
        time.sleep(0.01)
    os.kill(t.pid, signal.SIGTERM)  # the child dies, and its last words have no reader
    time.sleep(0.2)
    os.kill(t.pid, signal.SIGTERM)
    equal(t.wait(), 128 + 15)
    t.check_put_back()


COUNTER = """exec python3 -uc '
import signal, time
count = 0
def handler(number, _):
    global count
    count += 1
    print("count", count, "signal", number, flush=True)
signal.signal(signal.SIGINT, handler)
signal.signal(signal.SIGHUP, handler)
print("ready", flush=True)
while True: time.sleep(1)
'"""


def wait_passes_on_what_was_sent_and_no_keys():
    t = Terminal(COUNTER, role="wait")
    t.expect(b"ready")
    assert not t.is_raw()
    t.type(b"\x03")
    t.expect(b"count 1 signal 2\r\n")
    time.sleep(0.5)
    assert b"count" not in t.seen, "one Ctrl-C arrived twice"
    os.kill(t.pid, signal.SIGINT)
    t.expect(b"count 2 signal 2\r\n")
    os.kill(t.pid, signal.SIGTERM)
    equal(t.end(), 128 + 15)
    # The child in another group has nothing to do with the keys. (In the same group a double could go unseen: two
    # signals of one kind that wait are one.)
    t = Terminal(COUNTER.replace("count = 0", "count = 0; __import__(\"os\").setpgid(0, 0)"), role="wait")
    t.expect(b"ready")
    t.type(b"\x03")
    time.sleep(0.5)
    os.kill(t.pid, signal.SIGHUP)
    assert b"signal 2" not in t.expect(b"signal 1\r\n"), "a key was passed on"
    os.kill(t.pid, signal.SIGTERM)
    equal(t.end(), 128 + 15)
    # Ctrl-Z stops both, and both go on.
    t = Terminal("echo ready; read x; exit 3", role="wait")
    t.expect(b"ready")
    t.type(b"\x1a")
    assert os.WIFSTOPPED(os.waitpid(t.pid, os.WUNTRACED)[1])
    os.killpg(t.pid, signal.SIGCONT)
    t.type(b"\r")
    equal(t.end(), 3)


def wait_ends_as_the_child_ends():
    for command, expected in (("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -ABRT $$", 134)):
        equal(start(command, "wait", before=ignoring_children).wait(PATIENCE), expected)
    p = start(SHOW_MASK, "wait", program="python3", stdout=subprocess.PIPE)
    equal(p.communicate()[0], b"0000000000000000\n")


if __name__ == "__main__":
    play(globals()[sys.argv[2]])
