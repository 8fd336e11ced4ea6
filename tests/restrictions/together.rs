//! Everything at once.

use super::case::{As, python};
use super::kernel::host;

/// One service with all of it, and directories of its own.
#[test]
fn all_of_it_together() {
    let (arena, _listener) = host();
    let properties = [
        "StateDirectory=st",
        "RuntimeDirectory=rt",
        "CacheDirectory=ca",
        "LogsDirectory=lo",
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "ProtectControlGroups=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectProc=invisible",
        "ProcSubset=pid",
        "PrivateNetwork=yes",
        "PrivateIPC=yes",
        "PrivateUsers=yes",
        "PrivatePIDs=yes",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "ReadWritePaths=/opt",
        "ReadOnlyPaths=/var/lib/st",
        "InaccessiblePaths=/mnt",
        "NoExecPaths=/",
        "ExecPaths=/usr -/bin -/lib -/lib64 /run/rt",
        "BindReadOnlyPaths=/usr/share:/srv",
        "UMask=0077",
        "LimitNOFILE=50",
        "Nice=3",
        "CPUSchedulingPolicy=batch",
        "CPUAffinity=0",
        "IOSchedulingClass=idle",
        "OOMScoreAdjust=100",
        "SetCredential=c:secret",
        "Environment=A=b",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "RestrictAddressFamilies=AF_UNIX AF_INET",
        "KeyringMode=private",
        "SecureBits=noroot",
        "StandardInput=null",
        "StandardError=append:/var/log/lo/error",
    ];
    arena.sh("chmod 777 /opt").ok();
    let program = "
expect(os.getpid(), 1)
expect(processes(), [1])
fails('EROFS', lambda: write('/var/lib/st'))
for place in ('/run/rt', '/var/cache/ca', '/var/log/lo', '/tmp', '/var/tmp', '/dev/shm', '/opt'): write(place)
execute_copy('/run/rt')
fails('EACCES', lambda: execute_copy('/tmp'))
fails('EACCES', lambda: os.listdir('/mnt'))
fails('EACCES', lambda: os.listdir('/home'))
fails('ECONNREFUSED', lambda: connect(('127.0.0.1', 7777)))
fails('EAFNOSUPPORT', lambda: socket.socket(socket.AF_INET6))
fails('ENOENT', lambda: shared_memory(0x1234))
fails('ENOENT', lambda: read('/proc/uptime'))
fails('EMFILE', many_files)
# Rights in its own user namespace are none over a network of the host's.
fails('EACCES', lambda: bind(80))
over_loopback()
expect(sorted(os.listdir('/dev')), sorted(set(os.listdir('/dev')) & {'core', 'fd', 'full', 'log', 'hugepages', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero'}))
expect(read(os.environ['CREDENTIALS_DIRECTORY'] + '/c'), b'secret')
expect(os.environ['A'], 'b')
expect(os.listdir('/srv') != [], True)
expect(field('CapEff'), '0000000000000400')
expect(field('NoNewPrivs'), '1')
expect(os.getpriority(os.PRIO_PROCESS, 0), 3)
os.write(2, b'to the log')
print('done')
";
    let out = python(&arena, As::Service, &properties, program);
    assert_eq!(arena.sh("cat /var/log/private/lo/error").ok(), "to the log");
    assert_eq!(out.ok(), "done\n");
}
