//! New files in directories of others (Landlock), and what holds for users that the host has.

use super::case::{As, CASE, Case, python};
use super::support::Arena;

/// Everything that makes something new, in the directory that is standard input; and io_uring, by hand.
const MAKING: &str = "
import mmap, struct
def ring_open(folder, name, flags, mode):
    # A ring of one entry: IORING_OP_OPENAT.
    params = ctypes.create_string_buffer(120)
    ring = call(425, 1, ctypes.addressof(params))
    word = lambda at: struct.unpack_from('I', params, at)[0]
    entries, sq, cq = word(0), 40, 80
    sq_array, cqes, cq_tail = word(sq + 24), word(cq + 20), word(cq + 4)
    size = max(sq_array + entries * 4, cqes + word(4) * 16)
    rings = mmap.mmap(ring, size, offset=0)
    sqes = mmap.mmap(ring, entries * 64, offset=0x10000000)
    path = ctypes.create_string_buffer(name.encode())
    struct.pack_into('BBHiQQIIQ', sqes, 0, 18, 0, 0, folder, 0, ctypes.addressof(path), mode, flags, 7)
    struct.pack_into('I', rings, sq_array, 0)
    struct.pack_into('I', rings, word(sq + 4), 1)
    call(426, ring, 1, 1, 1, 0, 0)
    result = struct.unpack_from('Qi', rings, cqes)[1]
    os.close(ring)
    if result < 0:
        raise OSError(-result, '')
    return result
class How(ctypes.Structure):
    _fields_ = [('flags', ctypes.c_uint64), ('mode', ctypes.c_uint64), ('resolve', ctypes.c_uint64)]
def openat2(folder, name, mode):
    how, path = How(os.O_CREAT | os.O_RDWR, mode, 8), ctypes.create_string_buffer(name.encode())
    return call(437, folder, ctypes.addressof(path), ctypes.addressof(how), 24)
def make_all(folder, mode):
    print('open', attempt(lambda: os.open('a', os.O_CREAT | os.O_WRONLY, mode, dir_fd=folder)))
    print('openat2', attempt(lambda: openat2(folder, 'b', mode)))
    print('io_uring', attempt(lambda: ring_open(folder, 'c', os.O_CREAT | os.O_WRONLY, mode)))
    print('mkdir', attempt(lambda: os.mkdir('d', mode, dir_fd=folder)))
    print('symlink', attempt(lambda: os.symlink('x', 'e', dir_fd=folder)))
    print('mkfifo', attempt(lambda: os.mkfifo('f', mode, dir_fd=folder)))
";

const KINDS: [&str; 6] = ["open", "openat2", "io_uring", "mkdir", "symlink", "mkfifo"];

fn each(answer: &str) -> String {
    KINDS.map(|kind| format!("{kind} {answer}\n")).concat()
}

/// Runs the program with a directory of the host as standard input.
fn with_directory(arena: &Arena, properties: &[&str], program: &str) -> super::support::Output {
    let mut words = vec![
        "sh",
        "-c",
        "exec \"$@\" </srv/foreign",
        "sh",
        "dynuser",
        "run",
        "-u",
        "box",
    ];
    for property in properties {
        words.extend(["-p", property]);
    }
    let program = format!("{}{MAKING}{program}", include_str!("tools.py"));
    // Python does not start with a directory as its standard input.
    let start = "exec /usr/bin/python3 -I -c \"$0\" 3<&0 </dev/null";
    words.extend(["/bin/sh", "-c", start, &program]);
    arena.run(words)
}

#[test]
fn nothing_is_made_in_a_directory_that_somebody_hands_over() {
    let arena = Arena::new();
    arena
        .sh("mkdir -m 1777 /srv/foreign; echo old >/srv/foreign/old; chmod 666 /srv/foreign/old")
        .ok();
    let own = "StateDirectory=st";
    assert_eq!(
        with_directory(&arena, &[own], "make_all(3, 0o644)").ok(),
        each("EACCES")
    );
    assert_eq!(arena.sh("ls /srv/foreign").ok(), "old\n");
    // What is there may be used.
    let program = "
os.write(os.open('old', os.O_WRONLY | os.O_APPEND, dir_fd=3), b'more\\n')
make_all(os.open('/var/lib/st', os.O_RDONLY), 0o644)
for place in ('/tmp', '/var/tmp', '/dev/shm'): write(place)
";
    assert_eq!(with_directory(&arena, &[own], program).ok(), each("OK"));
    assert_eq!(arena.sh("cat /srv/foreign/old").ok(), "old\nmore\n");
    // A file of the service's cannot leave its places either.
    let program = "print(attempt(lambda: os.rename('/var/lib/st/a', 'z', dst_dir_fd=3)))
os.mkdir('/tmp/x'); open('/tmp/x/f', 'w').close(); os.rename('/tmp/x/f', '/tmp/g'); os.link('/tmp/g', '/tmp/x/h')";
    assert_eq!(with_directory(&arena, &[own], program).ok(), "EXDEV\n");
}

#[test]
fn unless_it_is_asked_for() {
    let arena = Arena::new();
    arena.sh("mkdir -m 1777 /srv/foreign").ok();
    let allowed = ["RestrictForeignDirectories=no"];
    let out = with_directory(&arena, &allowed, "make_all(3, 0o644)").ok();
    let expected = each("OK").replace("io_uring OK", "io_uring EPERM");
    assert_eq!(out, expected, "without Landlock there is no io_uring");
    // Whoever may mount is not confined by it.
    arena
        .sh("rm -r /srv/foreign; mkdir -m 1777 /srv/foreign")
        .ok();
    let mounts = ["AmbientCapabilities=CAP_SYS_ADMIN"];
    let program = "print(attempt(lambda: checked(libc.mount(b'x', b'/tmp', b'tmpfs', 0, None))))";
    assert_eq!(with_directory(&arena, &mounts, program).ok(), "OK\n");
}

#[test]
fn no_way_makes_a_file_with_set_id_bits() {
    let arena = Arena::new();
    arena.sh("mkdir -m 1777 /srv/foreign").ok();
    let program = "
folder = os.open('/var/lib/st', os.O_RDONLY)
make_all(folder, 0o6755)
for name in os.listdir(folder):
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if found.st_mode & 0o6000: print('set-ID', name, found.st_size)
fails('EPERM', lambda: os.chmod('a', 0o4755, dir_fd=folder))
";
    let out = with_directory(&arena, &["StateDirectory=st"], program);
    // What no filter sees makes empty files on a nosuid mount, which lose the bit with the first byte.
    for line in out.stdout.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["set-ID", "b" | "c", "0"] | ["openat2" | "io_uring" | "symlink", _] => {}
            [_, "EPERM"] => {}
            _ => panic!("{out}"),
        }
    }
    let program = "
for name in ('b', 'c'):
    path = '/var/lib/st/' + name
    if os.path.exists(path):
        with open(path, 'w') as file: file.write('#!/bin/sh')
        expect(os.stat(path).st_mode & 0o6000, 0)
";
    with_directory(&arena, &["StateDirectory=st"], program).ok();
}

/// A user that the host has is not confined as a dynamic one is; what is in force for any process is.
#[test]
fn for_a_user_of_the_host_what_a_process_does_to_itself_is_in_force() {
    let arena = Arena::new();
    let user = &["DynamicUser=no", "User=daemon", "Group=daemon"];
    Case {
        base: user,
        properties: &[
            "PrivateNetwork=yes",
            "Nice=5",
            "UMask=0077",
            "LimitNOFILE=50",
            "NoNewPrivileges=yes",
        ],
        refused: &[("many_files()", "EMFILE")],
        gained: &[
            "expect(os.getpriority(os.PRIO_PROCESS, 0), 5)",
            "expect(field('Umask'), '0077')",
            "expect(field('NoNewPrivs'), '1')",
        ],
        allowed: &["expect(os.getuid(), 1)", "over_loopback()"],
        ..CASE
    }
    .try_in(&arena);
    Case {
        base: user,
        properties: &[
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        ],
        gained: &["bind(80)", "expect(field('CapBnd'), '0000000000000400')"],
        ..CASE
    }
    .try_in(&arena);
    Case {
        base: user,
        properties: &[
            "RestrictAddressFamilies=AF_UNIX",
            "SystemCallErrorNumber=ENOANO",
            "SystemCallFilter=~@chown",
        ],
        refused: &[
            ("socket.socket()", "EAFNOSUPPORT"),
            ("os.chown('/tmp', 1, 1)", "ENOANO"),
        ],
        allowed: &["socket.socket(socket.AF_UNIX).close()"],
        ..CASE
    }
    .try_in(&arena);
}

/// What is in force for a dynamic user alone is refused for another: nobody is to think that it holds.
#[test]
fn for_a_user_of_the_host_nothing_is_left_out_silently() {
    let arena = Arena::new();
    for property in [
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "PrivateUsers=yes",
        "ReadOnlyPaths=/srv",
        "PrivatePIDs=yes",
        "SetCredential=a:b",
    ] {
        let words = [
            "dynuser",
            "run",
            "-u",
            "box",
            "-p",
            "DynamicUser=no",
            "-p",
            "User=daemon",
            "-p",
            property,
            "echo",
            "started",
        ];
        let out = arena.run(words);
        assert!(
            !out.status.success() && out.stdout.is_empty(),
            "{property}: {out}"
        );
        let name = property.split('=').next().unwrap();
        assert!(out.stderr.contains(name), "{property}: {out}");
    }
}

/// Root of the sandbox cannot be more than the sandbox.
#[test]
fn root_inside_is_held_by_the_same_mounts() {
    let arena = Arena::new();
    let program = "
fails('EROFS', lambda: write('/usr'))
fails('EROFS', lambda: write('/etc'))
write('/tmp')
print('done')
";
    assert_eq!(
        python(&arena, As::Root, &["StateDirectory=st"], program).ok(),
        "done\n"
    );
}
