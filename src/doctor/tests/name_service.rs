//! Programs that find the names, and those that do not.

use super::*;

fn names(change: impl FnOnce(&mut NameService)) -> Facts {
    with(|facts| change(&mut facts.names))
}

fn module(change: impl FnOnce(&mut Module)) -> Facts {
    names(|names| change(names.module.as_mut().expect("it is installed")))
}

#[test]
fn the_module_must_be_one_that_everybody_can_load() {
    let path = "/lib/libnss_dynuser.so.2";
    let facts = module(|module| module.closed = Some(path.into()));
    one(
        &facts,
        &[
            "warning /lib/libnss",
            "closed to others",
            "chmod 644 /lib/libnss",
        ],
    );
    let facts = module(|module| module.closed = Some("/lib".into()));
    one(&facts, &["warning /lib:", "chmod 755 /lib"]);
    let facts = module(|module| module.fault = Some("was built for another machine".into()));
    one(
        &facts,
        &["was built for another machine: programs pass it over"],
    );
    let facts = names(|names| names.table_closed = Some("/run/dynuser".into()));
    one(&facts, &["warning /run/dynuser:", "chmod 755 /run/dynuser"]);
}

#[test]
fn initgroups_stands_in_for_group_only_where_it_is_written() {
    let judge = |line: &str| {
        trouble(&with(|facts| {
            facts.nsswitch = text(&format!("{NSSWITCH}{line}"))
        }))
    };
    assert_eq!(
        judge("initgroups: files dynuser\nshadow: files"),
        Vec::<String>::new()
    );
    let found = judge("initgroups: files");
    assert!(
        found
            .concat()
            .contains("the line initgroups: does not name dynuser"),
        "{found:?}"
    );
}

#[test]
fn whoever_exists_must_be_found() {
    let tried = |found, cache: Option<&str>| {
        names(|names| {
            let user = "user wuff (61200)".into();
            names.tried = Some(Tried { user, found });
            names.cache = cache.map(|program| Cache {
                program: program.into(),
                pid: 7,
            });
        })
    };
    assert_eq!(trouble(&tried(Ok(true), None)), Vec::<String>::new());
    assert_eq!(
        trouble(&tried(Ok(true), Some("dynuserd"))),
        Vec::<String>::new()
    );
    one(
        &tried(Ok(true), Some("unscd")),
        &["note /run/nscd/socket", "unscd (process 7)"],
    );
    one(
        &tried(Ok(false), None),
        &[
            "warning name service",
            "user wuff (61200) exists",
            "does not find it",
        ],
    );
    one(
        &tried(Err("ETIMEDOUT".into()), None),
        &["cannot tell: ETIMEDOUT"],
    );
    let stale = trouble(&tried(Ok(false), Some("nscd")));
    assert!(
        stale.concat().contains("restart nscd: it may be older"),
        "{stale:?}"
    );
    // Where nothing names the module there is no need to ask.
    let facts = with(|facts| {
        facts.names = tried(Ok(false), None).names;
        facts.nsswitch = text("passwd: files\ngroup: dynuser");
    });
    one(&facts, &["passwd: does not name dynuser"]);
}

#[test]
fn programs_without_modules_have_their_own_remedy() {
    let musl = |facts: &mut Facts| facts.names.musl = true;
    one(&with(musl), &["note musl", "NscdSocket=yes"]);
    let alone = with(|facts| {
        musl(facts);
        (facts.names.glibc, facts.names.module) = (false, None);
        facts.nsswitch = Ok(None);
    });
    one(&alone, &["warning musl", "NscdSocket=yes"]);
    let answered = with(|facts| {
        musl(facts);
        facts.config = configured("NscdSocket=yes");
    });
    assert_eq!(trouble(&answered), Vec::<String>::new());
    let told = with(|facts| facts.config = configured("UserDatabaseSocket=no"));
    one(
        &told,
        &["note /run/systemd/userdb", "UserDatabaseSocket=auto"],
    );
    let nobody_asks = with(|facts| {
        facts.config = configured("UserDatabaseSocket=no");
        facts.names.user_database = false;
    });
    assert_eq!(trouble(&nobody_asks), Vec::<String>::new());
}

#[test]
fn the_name_service_is_judged_by_place_and_file() {
    let judge = |nsswitch: &str| trouble(&with(|facts| facts.nsswitch = text(nsswitch)));
    for fine in [
        NSSWITCH,
        "passwd: dynuser\ngroup: files [SUCCESS=merge] dynuser systemd\n",
        "passwd: files\npasswd : files dynuser # ours\ngroup:dynuser",
        "passwd:files [NOTFOUND=continue] dynuser sss\ngroup: files dynuser",
    ] {
        assert_eq!(judge(fine), Vec::<String>::new(), "{fine}");
    }
    let missing = judge("passwd: files systemd\ngroup: files dynuser");
    assert_eq!(missing.len(), 1);
    assert!(
        missing
            .concat()
            .contains("-> write: passwd: files dynuser systemd"),
        "{missing:?}"
    );
    assert_eq!(judge("").len(), 2);
    assert_eq!(
        judge("# passwd: dynuser\npasswd: files # dynuser\ngroup: dynuser").len(),
        1
    );
    let late = judge("passwd: files systemd dynuser\ngroup: dynuser");
    assert!(
        late.concat().starts_with("note") && late.concat().contains("before systemd"),
        "{late:?}"
    );
    let never = judge("passwd: files [ NOTFOUND = return ] dynuser\ngroup: dynuser");
    assert!(
        never.concat().starts_with("warning") && never.concat().contains("[NOTFOUND=return]"),
        "{never:?}"
    );
    let facts = with(|facts| facts.names.module = None);
    one(&facts, &["warning libnss_dynuser.so.2", "not installed"]);
}
