# What the acts inside a service are made of. `attempt` says how one went: OK, or the name of the error.
import ctypes, errno, os, resource, shutil, signal, socket, stat, subprocess

libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), '')
    return result

def call(number, *words):
    return checked(libc.syscall(*[ctypes.c_long(word) for word in (number, *words)]))

def attempt(act):
    try:
        act()
        return 'OK'
    except OSError as error:
        return errno.errorcode[error.errno]
    except ValueError as error:
        return str(error)
    except AssertionError as error:
        return 'not as expected: ' + repr(error.args).replace('\n', ' ')

def fails(how, act):
    got = attempt(act)
    assert got == how, (got, how)

def expect(got, wanted):
    assert got == wanted, (got, wanted)

def write(folder):
    path = folder + '/made-by-the-service'
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    os.unlink(path)

def read(path):
    with open(path, 'rb') as file:
        return file.read()

def execute(path):
    subprocess.run([path], check=True)

def execute_copy(folder):
    path = folder + '/program'
    shutil.copy('/bin/true', path)
    try:
        execute(path)
    finally:
        os.unlink(path)

def fill(path, size):
    with open(path, 'wb', buffering=0) as file:
        while size:
            size -= file.write(b'x' * size)

def node():
    os.mknod('/tmp/node', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink('/tmp/node')

def chown():
    with open('/tmp/whose', 'w'):
        os.chown('/tmp/whose', 1, 1)

def connect(address, family=socket.AF_INET):
    with socket.socket(family) as client:
        client.connect(address)

def over_loopback():
    with socket.socket() as server, socket.socket() as client:
        server.bind(('127.0.0.1', 0))
        server.listen()
        client.connect(server.getsockname())

def bind(port):
    with socket.socket() as server:
        server.bind(('127.0.0.1', port))

def queue(name, flags=0):
    os.close(checked(libc.mq_open(name, flags, 0o600, None)))

def shared_memory(key, flags=0):
    return checked(libc.shmget(key, 4096 if flags else 0, flags))

def processes():
    return sorted(int(name) for name in os.listdir('/proc') if name.isdigit())

def prctl(option):
    return checked(libc.prctl(option, 0, 0, 0, 0))

def many_files():
    files = []
    try:
        for _ in range(100):
            files.append(open('/dev/null'))
    finally:
        for file in files:
            file.close()

def field(name):
    with open('/proc/self/status') as status:
        return next(line.split(':')[1].strip() for line in status if line.startswith(name + ':'))
