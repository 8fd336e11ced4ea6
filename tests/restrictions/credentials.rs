//! Credentials, and what root reads for a service.

use super::case::{As, python};
use super::given::{run, sh};
use super::support::Arena;

/// A host with secrets.
fn vault() -> Arena {
    let arena = Arena::new();
    arena
        .sh(
            "umask 077; mkdir -p /etc/keys/deep /etc/credstore /run/credstore
             printf one >/etc/keys/one; printf two >/etc/keys/deep/two
             printf plain >/etc/credstore/plain; printf early >/etc/credstore/both; printf late >/run/credstore/both
             printf app >/etc/credstore/app.one; printf other >/etc/credstore/other
             ln -s /etc/keys/one /etc/link; mkfifo /etc/fifo; head -c 1048577 /dev/zero >/etc/large",
        )
        .ok();
    arena
}

#[test]
fn credentials_are_read_by_the_service_alone() {
    let arena = vault();
    let properties = [
        "StateDirectory=st",
        "LoadCredential=one:/etc/keys/one",
        "LoadCredential=all:/etc/keys",
        "LoadCredential=linked:/etc/link",
        "LoadCredential=plain",
        "LoadCredential=both",
        "ImportCredential=app.*",
        "SetCredential=plain:not used",
        "SetCredential=said:a\\x20b\\n",
        "SetCredential=missing:instead",
        "LoadCredential=missing:/etc/missing",
    ];
    let program = "
place = os.environ['CREDENTIALS_DIRECTORY']
expect(place, '/run/credentials/box.service')
for name in sorted(os.listdir(place)):
    found = os.stat(place + '/' + name)
    expect((found.st_mode, found.st_uid, found.st_gid), (0o100400, os.getuid(), os.getgid()))
    print(name, read(place + '/' + name))
top = os.stat(place)
expect((top.st_mode, top.st_uid), (0o40500, os.getuid()))
expect(os.listdir('/run/credentials'), ['box.service'])
fails('EROFS', lambda: write(place))
fails('EROFS', lambda: os.chmod(place + '/one', 0o644))
fails('EACCES', lambda: os.open(place + '/one', os.O_WRONLY))
fails('EACCES', lambda: read('/etc/keys/one'))
";
    let out = python(&arena, As::Service, &properties, program).ok();
    let expected = "all_deep_two b'two'\nall_one b'one'\napp.one b'app'\nboth b'early'\nlinked b'one'\n\
        missing b'instead'\none b'one'\nplain b'plain'\nsaid b'a b\\n'\n";
    assert_eq!(out, expected);
    // Nothing of them is left on the host.
    arena.wait_until_idle();
    let left = arena
        .sh("ls /run/credentials; grep -c credentials /proc/mounts")
        .stdout;
    assert_eq!(left, "0\n");
}

#[test]
fn nobody_else_reads_a_credential() {
    let arena = vault();
    let words = "dynuser run -u box -p SetCredential=c:secret sh -c";
    let mut service = arena.spawn(
        words
            .split(' ')
            .chain(["cat $CREDENTIALS_DIRECTORY/c; echo; exec sleep 1000"]),
    );
    assert_eq!(service.line(), "secret");
    service.wait_exec("sleep");
    let pid = service.pid();
    // On the host there is nothing, and the way through the process is closed to other users.
    assert_eq!(arena.sh("ls -A /run/credentials").ok(), "");
    let there = format!("/proc/{pid}/root/run/credentials/box.service/c");
    arena.command(["cat", &there]).user(65534).run().fails(1);
    let other = [
        "dynuser",
        "run",
        "-u",
        "other",
        "-p",
        "SetCredential=d:x",
        "cat",
    ];
    let message = arena.run([&other[..], &[&there]].concat()).fails(1);
    assert!(message.contains("Permission denied"), "{message}");
    // A service without any sees none.
    let seen = run(
        &arena,
        &["User=third"],
        &[
            "sh",
            "-c",
            "echo \"${CREDENTIALS_DIRECTORY-none}\"; ls /run/credentials",
        ],
    );
    assert_eq!(seen.stdout, "none\n");
    service.stop();
}

#[test]
fn what_cannot_be_a_credential_stops_the_start() {
    let arena = vault();
    for (property, word) in [
        ("LoadCredential=x:/etc/missing", "/etc/missing"),
        ("LoadCredential=x:/etc/fifo", "/etc/fifo"),
        ("LoadCredential=x:/dev/zero", "/dev/zero"),
        ("LoadCredential=x:/etc/large", "1048"),
    ] {
        let out = run(&arena, &[property], &["echo", "started"]);
        assert_eq!(out.stdout, "", "{property}");
        let message = out.fails(243);
        assert!(message.contains(word), "{property}: {message}");
    }
    // In no store, which is no error.
    let out = sh(
        &arena,
        &["LoadCredential=nowhere"],
        "ls $CREDENTIALS_DIRECTORY; echo started",
    );
    assert_eq!(out.ok(), "started\n");
    for property in [
        "LoadCredential=../x:/etc/keys/one",
        "SetCredential=x",
        "ImportCredential=a*b",
    ] {
        let message = run(&arena, &[property], &["echo", "started"]).fails(1);
        assert!(message.contains(property), "{property}: {message}");
    }
}

/// Root reads for the service what the service may have put there.
#[test]
fn a_link_of_the_services_is_not_read_for_it() {
    let arena = vault();
    arena.put("/etc/keys/vars", "SECRET=1\n", 0o600);
    let plant = "ln -s /etc/keys/vars /var/lib/box/vars; ln -s /etc/keys/one /var/lib/box/one; mkfifo /var/lib/box/fifo";
    sh(&arena, &["StateDirectory=box"], plant).ok();
    for (property, status) in [
        ("EnvironmentFile=/var/lib/box/vars", 1),
        ("EnvironmentFile=-/var/lib/box/vars", 1),
        ("EnvironmentFile=/var/lib/box/fifo", 1),
        ("LoadCredential=x:/var/lib/box/one", 243),
        ("LoadCredential=x:/var/lib/box", 243),
        ("LoadCredential=x:/var/lib/box/fifo", 243),
    ] {
        let out = run(
            &arena,
            &["StateDirectory=box", property],
            &["echo", "started"],
        );
        assert_eq!(out.stdout, "", "{property}");
        let message = out.fails(status);
        assert!(message.contains("/var/lib/box"), "{property}: {message}");
    }
    // Its own files are its own affair, and links of root's lead where root wants.
    sh(
        &arena,
        &["StateDirectory=box"],
        "echo OWN=1 >/var/lib/box/own",
    )
    .ok();
    arena
        .sh("ln -s keys/vars /etc/vars; ln -s keys/one /etc/input")
        .ok();
    let properties = [
        "StateDirectory=box",
        "EnvironmentFile=/var/lib/box/own",
        "EnvironmentFile=/etc/vars",
        "LoadCredential=x:/etc/link",
        "StandardInput=file:/etc/input",
    ];
    let script = "echo $OWN $SECRET; cat $CREDENTIALS_DIRECTORY/x; cat";
    assert_eq!(sh(&arena, &properties, script).ok(), "1 1\noneone");
}
