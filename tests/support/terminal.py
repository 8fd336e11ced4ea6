"""A person at a terminal: starts a command on a new terminal and types. Used by pty_run.rs, which
appends what the person does; what that prints is compared there."""

import fcntl, os, pty, re, select, signal, struct, sys, termios, time

PATIENCE = 20
seen = b""


def size(rows, columns):
    """Sets the size of the window; the kernel tells the foreground job by SIGWINCH."""
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def modes():
    """The modes of the person's terminal."""
    return termios.tcgetattr(outer)


def raw():
    """Whether keys go through as they are: no echo, no line editing, no signals."""
    return not modes()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def start(*command):
    """Starts a command as the only job of a new session on the terminal, once the size is set."""
    global child, outer, seen
    seen = b""
    ready, go = os.pipe()
    child, outer = pty.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)
        os.close(ready)
        os.execvp(command[0], command)
    os.close(ready)
    size(33, 101)
    os.write(go, b"x")
    os.close(go)


def read(seconds):
    """Reads what there is; false at the end."""
    global seen
    if not select.select([outer], [], [], seconds)[0]:
        return True
    try:
        more = os.read(outer, 65536)
    except OSError:
        more = b""
    seen += more
    return more != b""


def expect(pattern):
    """Waits for a pattern on the screen, and forgets everything up to its end."""
    global seen
    end = time.monotonic() + PATIENCE
    while not (match := re.search(pattern.encode(), seen)):
        if time.monotonic() > end or not read(1) and not re.search(pattern.encode(), seen):
            sys.exit(f"no {pattern!r} on the screen, but {seen!r}")
    seen = seen[match.end() :]
    return match


def wait_for(what, happened):
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {what}; on the screen: {seen!r}")
        read(0.01)


def type(text):
    os.write(outer, text.encode())


def status():
    """Reads to the end, and tells how the command ended: its exit status, or minus its signal."""
    end = time.monotonic() + PATIENCE
    while True:
        read(0.01)
        pid, how = os.waitpid(child, os.WNOHANG)
        if pid:
            while select.select([outer], [], [], 0)[0] and read(0):
                pass
            return os.waitstatus_to_exitcode(how)
        if time.monotonic() > end:
            sys.exit(f"it does not end; on the screen: {seen!r}")


