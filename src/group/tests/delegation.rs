//! Groups that were given away, and what their users make of them.

use super::*;

#[test]
fn whom_a_group_is_given_to_may_build_in_it_and_not_leave_and_not_grow() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.set_delegation("yes", Some(true)).expect("yes");
    settings.set_subgroup("main").expect("a name");
    let group = world.group("given", &settings);
    let here = world.path(&group.path);
    let as_user = |script: &str| {
        let script = script.replace("HERE", &here);
        let user = USER.to_string();
        let words = [
            "setpriv",
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "sh",
            "-c",
            &script,
        ];
        command(&group, &words).output().expect("setpriv")
    };
    let inside = as_user("grep ^0:: /proc/self/cgroup");
    let inside = String::from_utf8_lossy(&inside.stdout).into_owned();
    assert!(
        inside.trim_end().ends_with("/given.service/main"),
        "{inside}"
    );
    // Names that are words elsewhere, processes in them, and as deep as the kernel lets him.
    let built = as_user(
        "cd HERE && mkdir -- -rf 'a b' '*' main/.. 2>/dev/null; mkdir main/sub && echo 0 > main/sub/cgroup.procs \
         && { sleep 1000 >&- 2>&- & } ; cd HERE; n=0; while mkdir d 2>/dev/null; do cd d; n=$((n+1)); done; echo $n; exit 0",
    );
    let depth: u32 = String::from_utf8_lossy(&built.stdout)
        .trim()
        .parse()
        .expect("a depth");
    assert_eq!(depth, 32, "{built:?}");
    for refused in [
        "echo 100 > HERE/cgroup.max.depth",
        "echo 1 > HERE/cgroup.kill",
        "echo 0 > HERE/../cgroup.procs",
        "mkdir HERE/../mine",
    ] {
        let output = as_user(refused);
        assert!(!output.status.success(), "{refused} was not refused");
    }
    world.root.remove(&group.path, PATIENCE).expect("removed");
    assert!(!std::path::Path::new(&here).exists());
}

#[test]
fn the_depth_of_a_tree_takes_no_descriptors() {
    let world = World::new();
    let group = world.group("deep", &{
        let mut settings = ControlGroup::default();
        settings.set_delegation("", None).expect("a list");
        settings
    });
    let mut here =
        open_beneath(&world.root.directory, group.path.trim_start_matches('/')).expect("open");
    cgroup::write(&here, "cgroup.max.depth", "max").expect("a limit");
    for _ in 0..200 {
        cgroup::make(&here, "beside").expect("a group");
        here = cgroup::make(&here, "d").expect("a group");
    }
    drop(here);
    world.root.remove(&group.path, PATIENCE).expect("removed");
}
