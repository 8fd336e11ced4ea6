"""The caller's terminal, played for tests/pty.py, and ways to start the program under test in it."""

import contextlib, fcntl, os, select, signal, struct, subprocess, sys, termios, time

PROGRAM = sys.argv[1]
PATIENCE = 20
STARTED = []
IGNORED = (signal.SIGHUP, signal.SIGTTOU)


class Terminal:
    """A terminal whose session this process leads, as a login shell would, with one job in front."""

    def __init__(self, command, role="pty", size=(33, 111), program="sh"):
        try:
            with open("/dev/tty") as earlier:
                fcntl.ioctl(earlier, termios.TIOCNOTTY)
        except OSError:
            pass
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self.resize(*size)
        # Modes that are nobody's default, so that "put back" can be told from "reset".
        modes = termios.tcgetattr(self.slave)
        modes[3] &= ~termios.ECHOK
        modes[6][termios.VERASE] = b"\x08"
        termios.tcsetattr(self.slave, termios.TCSANOW, modes)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            self.bring_forward(os.getpid())
            for stream in (0, 1, 2):
                os.dup2(self.slave, stream)
            os.closerange(3, 4096)
            as_a_shell_would()
            os.execve(PROGRAM, [PROGRAM], environment(command, role, program))
        STARTED.append(self.pid)
        try:
            os.setpgid(self.pid, self.pid)
        except OSError:
            pass

    def bring_forward(self, group):
        os.tcsetpgrp(self.slave, group)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def read(self, deadline):
        if select.select([self.master], [], [], max(0, deadline - time.time()))[0]:
            self.seen += os.read(self.master, 65536)
        elif time.time() >= deadline:
            raise AssertionError(f"timed out after {self.seen[-2000:]!r}")

    def expect(self, text, patience=PATIENCE):
        deadline = time.time() + patience
        while text not in self.seen:
            self.read(deadline)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, keys):
        """Types while reading, as a terminal does: one that does not read stops the other side."""
        while keys:
            readable, writable, _ = select.select([self.master], [self.master], [], PATIENCE)
            assert readable or writable, "the terminal takes no keys"
            if readable:
                self.seen += os.read(self.master, 65536)
            if writable:
                keys = keys[os.write(self.master, keys[:512]):]

    def end(self, patience=PATIENCE):
        """The status of the job, as a shell tells it; everything that it wrote is in `seen`."""
        deadline = time.time() + patience
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            while select.select([self.master], [], [], 0 if pid else 0.02)[0]:
                self.seen += os.read(self.master, 65536)
            if pid:
                return code(status)
            assert time.time() < deadline, f"does not end: {self.seen[-2000:]!r}"

    def wait(self):
        """The same, with nobody at the terminal."""
        deadline = time.time() + PATIENCE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return code(status)
            assert time.time() < deadline, "does not end"
            time.sleep(0.02)

    def check_put_back(self):
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"


def code(status):
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1000 + os.WTERMSIG(status)


def environment(command, role, program):
    return dict(
        os.environ,
        DYNUSER_TEST_ROLE=role,
        DYNUSER_TEST_COMMAND=command,
        DYNUSER_TEST_PROGRAM=program,
        LC_ALL="C",
        PS1="PROMPT> ",
        TERM="dumb",
    )


def as_a_shell_would():
    for number in (*IGNORED, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def ignoring_children():
    as_a_shell_would()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def start(command, role="pty", before=as_a_shell_would, program="sh", **streams):
    p = subprocess.Popen([PROGRAM], env=environment(command, role, program), preexec_fn=before, **streams)
    STARTED.append(p.pid)
    return p


def equal(found, expected):
    assert found == expected, f"{found!r} instead of {expected!r}"


def play(scenario):
    """Runs it as the leader of a session, as a login shell is one."""
    os.setsid()
    for ignored in IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    try:
        scenario()
    except BaseException:
        # What a failed test leaves behind would keep the test runner waiting for the end of our output.
        for pid in STARTED:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        raise
    print("passed")
