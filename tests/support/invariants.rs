//! What must be true of a host at every instant, whatever was killed when. For a process inside an arena:
//! it reads /proc and /run itself, without a process for each question.
//!
//! Everything changes while it is looked at. So what looks wrong is looked at again until it is
//! certain: the thing was there, its lease was not, and the same thing was there still.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use serde_json::Value;

use super::inside::Figures;

const USERS: &str = "/run/dynuser/users";
const LEASES: &str = "/run/dynuser/leases";
const HOLDS: &str = "/run/dynuser/holds";

/// The numbers that dynuser hands out.
fn is_ours(number: u32) -> bool {
    (61184..=65519).contains(&number)
}

/// A process that runs under a lease, as the test knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    /// A process with the lease's number, or with the descriptor.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) name: String,
    /// Its directory in /run.
    pub(crate) runtime: Option<String>,
    /// The file of the descriptor that holds it, if that is what does.
    pub(crate) hold: Option<PathBuf>,
}

impl Alive {
    /// Whether it still is what holds its lease.
    fn holds(&self) -> bool {
        match &self.hold {
            None => ids_of(self.pid).is_some_and(|ids| ids.contains(&self.uid)),
            Some(file) => {
                let open = fs::read_dir(format!("/proc/{}/fd", self.pid));
                let mut open = open.into_iter().flatten().flatten();
                open.any(|fd| fs::read_link(fd.path()).is_ok_and(|found| found == *file))
            }
        }
    }
}

/// Something that carries a number, and by what it is recognised as the same thing later on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Task {
        pid: u32,
        tid: u32,
        start: u64,
    },
    SysV {
        table: &'static str,
        id: i64,
    },
    File {
        path: String,
        inode: u64,
        change: i64,
    },
    Keys,
}

/// Looks, and counts what it has looked at.
pub(crate) struct Checker {
    queues: OwnedFd,
    mounts: BTreeSet<String>,
    run: BTreeSet<String>,
    /// Numbers that nobody else's tests have: kernel keys are the whole machine's, and other arenas have theirs.
    keyed: BTreeSet<u32>,
    pub(crate) figures: Figures,
}

impl Checker {
    /// To be made while nothing is leased: what is there now is the host's.
    pub(crate) fn new() -> Self {
        let context = fsopen(c"mqueue", FsOpenFlags::FSOPEN_CLOEXEC).expect("fsopen mqueue");
        fsconfig_create(&context).expect("fsconfig");
        let queues = fsmount(
            context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        );
        Self {
            queues: queues.expect("fsmount"),
            mounts: mounts(),
            run: top_of_run(),
            keyed: BTreeSet::new(),
            figures: Figures::new(),
        }
    }

    /// Looks at the kernel keys of a number, too: only for one of a name of our own.
    pub(crate) fn look_at_keys_of(&mut self, uid: u32) {
        self.keyed.insert(uid);
    }

    fn count(&mut self, what: &str, number: usize) {
        *self.figures.entry(what.into()).or_default() += u64::try_from(number).expect("a count");
    }

    /// What must be true at every instant, also while no daemon runs. `alive` must stay so until this returns.
    ///
    /// # Panics
    /// With everything that is wrong.
    #[track_caller]
    pub(crate) fn check(&mut self, when: &str, alive: &[Alive]) {
        let mut wrong = self.numbers_without_lease();
        wrong.extend(self.doubles());
        wrong.extend(self.links());
        wrong.extend(self.holds());
        for service in alive {
            wrong.extend(self.lost(service));
        }
        self.count("checks", 1);
        assert!(
            wrong.is_empty(),
            "VIOLATION {when}: {wrong:#?}\n{}",
            evidence()
        );
    }

    /// What must be true when everything has ended but `alive`, each with a lease that has no others.
    ///
    /// # Panics
    /// With everything that is wrong.
    #[track_caller]
    pub(crate) fn check_rest(&mut self, when: &str, alive: &[Alive]) {
        self.check(when, alive);
        let uids: BTreeSet<u32> = alive.iter().map(|service| service.uid).collect();
        let names: BTreeSet<&str> = alive.iter().map(|service| service.name.as_str()).collect();
        let mut wrong = Vec::new();
        let mut same = |what: &str, found: BTreeSet<String>, expected: BTreeSet<String>| {
            if found != expected {
                wrong.push(format!("{what}: {found:?}, not {expected:?}"));
            }
        };
        same(
            "leases",
            entries(LEASES),
            uids.iter().map(u32::to_string).collect(),
        );
        let by_uid = uids.iter().map(|uid| format!("uid:{uid}"));
        let all = by_uid.chain(names.iter().map(|name| format!("name:{name}")));
        same("names", entries(USERS), all.collect());
        let told = |link: &Link| split(&link.target).1;
        let links = links();
        let (by_uid, by_name): (Vec<_>, Vec<_>) =
            links.iter().partition(|link| link.name.starts_with("uid:"));
        same(
            "what links tell",
            by_uid.into_iter().map(told).collect(),
            by_name.into_iter().map(told).collect(),
        );
        let left = entries("/run/dynuser/views").into_iter();
        let left = left.filter(|view| !view.parse().is_ok_and(|uid| uids.contains(&uid)));
        same("views", left.collect(), BTreeSet::new());
        let left = entries("/run/dynuser/tmp").into_iter();
        let left = left.filter(|own| !own.parse().is_ok_and(|uid| uids.contains(&uid)));
        same("temporary files", left.collect(), BTreeSet::new());
        let open = std::fs::metadata("/var/lib/private").map_or(0, |found| found.mode() & 0o077);
        same(
            "who passes the boundary",
            BTreeSet::from([open.to_string()]),
            BTreeSet::from(["0".into()]),
        );
        let held = alive.iter().filter_map(|service| service.hold.as_deref());
        let held = held.map(|file| file.file_name().expect("a name"));
        let held = held.map(|name| name.to_string_lossy().into_owned());
        same("holds", entries(HOLDS), held.collect());
        let runtime = alive.iter().filter_map(|service| service.runtime.clone());
        same(
            "/run",
            top_of_run(),
            self.run.iter().cloned().chain(runtime).collect(),
        );
        same("mounts", mounts(), self.mounts.clone());
        let carried = carriers(&self.queues, &self.keyed).into_keys();
        let strangers = carried
            .filter(|uid| !uids.contains(uid))
            .map(|uid| uid.to_string());
        same("numbers in use", strangers.collect(), BTreeSet::new());
        self.count("checks at rest", 1);
        assert!(
            wrong.is_empty(),
            "VIOLATION {when}: {wrong:#?}\n{}",
            evidence()
        );
    }

    /// What `dynuser list --json` says must agree with itself: no number twice, no name running twice.
    #[track_caller]
    pub(crate) fn check_list(&mut self, when: &str) {
        let output = Command::new("dynuser")
            .args(["list", "--json"])
            .output()
            .expect("dynuser list");
        assert!(output.status.success(), "{when}: {output:?}");
        let list: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
        let running = || {
            list.iter()
                .filter(|lease| lease.get("state").is_some_and(|state| state == "running"))
        };
        let uids: BTreeSet<Option<String>> = list
            .iter()
            .map(|lease| lease.get("uid").map(Value::to_string))
            .collect();
        assert_eq!(
            uids.len(),
            list.len(),
            "VIOLATION {when}: a number twice: {list:#?}"
        );
        // Not read in one instant, so a name that went from one number to another may be there twice.
        let names: BTreeSet<Option<String>> = running()
            .map(|lease| lease.get("name").map(Value::to_string))
            .collect();
        if names.len() != running().count() {
            let wrong = self.doubles();
            assert!(wrong.is_empty(), "VIOLATION {when}: {wrong:#?}");
        }
        self.count("lists", 1);
    }

    /// No number is carried by anything unless it is leased.
    fn numbers_without_lease(&mut self) -> Vec<String> {
        let carried = carriers(&self.queues, &self.keyed);
        self.count("things", carried.values().map(BTreeSet::len).sum());
        let mut wrong = Vec::new();
        for (uid, things) in carried {
            if is_leased(uid) {
                continue;
            }
            for thing in things {
                // It was there, the lease was not: is it there still, and the lease not?
                let again = carriers(&self.queues, &self.keyed);
                let still = again
                    .get(&uid)
                    .is_some_and(|things| things.contains(&thing));
                if still && !is_leased(uid) {
                    wrong.push(format!(
                        "{uid} has no lease, but {thing:?} {}",
                        told(&thing)
                    ));
                }
            }
        }
        wrong
    }

    /// No name has two running leases.
    fn doubles(&mut self) -> Vec<String> {
        let twice = |leases: &[(u32, String)]| -> BTreeSet<(u32, String)> {
            let double = |one: &&(u32, String)| {
                leases
                    .iter()
                    .any(|other| other.1 == one.1 && other.0 != one.0)
            };
            leases.iter().filter(double).cloned().collect()
        };
        let first = running();
        self.count("leases seen", first.len());
        let mut wrong = twice(&first);
        for _ in 0..3 {
            if wrong.is_empty() {
                break;
            }
            wrong = wrong.intersection(&twice(&running())).cloned().collect();
        }
        wrong
            .into_iter()
            .map(|(uid, name)| format!("{name} runs twice, once as {uid}"))
            .collect()
    }

    /// No link without a lease of that number, and none that contradicts it or its counterpart.
    fn links(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let links = links();
        self.count("links", links.len());
        for link in links {
            if let Some(why) = wrong_link(&link)
                && wrong_link(&link).is_some()
                && self::links().contains(&link)
                && wrong_link(&link).is_some()
            {
                wrong.push(why);
            }
        }
        wrong
    }

    /// No running lease speaks of a descriptor whose file is gone: the next daemon would take it for closed.
    fn holds(&mut self) -> Vec<String> {
        let missing = || -> BTreeSet<(u32, String)> {
            let holds = running().into_iter();
            let holds =
                holds.flat_map(|(uid, _)| holds_of(uid).into_iter().map(move |hold| (uid, hold)));
            let there = |hold: &str| fs::symlink_metadata(format!("{HOLDS}/{hold}")).is_ok();
            holds.filter(|(_, hold)| !there(hold)).collect()
        };
        self.count("looks at holds", 1);
        let mut wrong = missing();
        for _ in 0..3 {
            if wrong.is_empty() {
                break;
            }
            wrong = wrong.intersection(&missing()).cloned().collect();
        }
        let told = |(uid, hold)| format!("{uid} is held by {hold}, which is not there");
        wrong.into_iter().map(told).collect()
    }

    /// A service that lives has its lease, its names and its directory; a descriptor its file.
    fn lost(&mut self, service: &Alive) -> Vec<String> {
        let Alive {
            pid: _,
            uid,
            name,
            runtime,
            hold,
        } = service;
        self.count(
            if hold.is_some() {
                "descriptors"
            } else {
                "services"
            },
            1,
        );
        let mut wrong = Vec::new();
        let is_theirs = || service.holds();
        if !is_theirs() {
            return vec![format!("{service:?} does not run")];
        }
        match lease(*uid) {
            Some((theirs, state)) if theirs == *name && state == "running" => {}
            other => wrong.push(format!("{service:?} has lost its lease: {other:?}")),
        }
        let link = |path: String| {
            fs::read_link(path)
                .map(|target| split(&target.to_string_lossy()).0)
                .ok()
        };
        if link(format!("{USERS}/uid:{uid}")).as_ref() != Some(name) {
            wrong.push(format!("{service:?} has no link from its number"));
        }
        if link(format!("{USERS}/name:{name}")) != Some(uid.to_string()) {
            wrong.push(format!("{service:?} has no link from its name"));
        }
        if let Some(directory) = runtime {
            let owner = fs::metadata(format!("/run/{directory}"))
                .map(|found| found.uid())
                .ok();
            if owner != Some(*uid) {
                wrong.push(format!("{service:?} has lost its directory: {owner:?}"));
            }
        }
        if let Some(file) = hold {
            let name = file.file_name().expect("a name").to_string_lossy();
            if fs::symlink_metadata(file).is_err() || !holds_of(*uid).contains(&*name) {
                wrong.push(format!("{service:?} is not known to hold its lease"));
            }
        }
        if !wrong.is_empty() && !is_theirs() {
            wrong = vec![format!("{service:?} has ended meanwhile")];
        }
        wrong
    }
}

/// A link of the table of names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    name: String,
    target: String,
    inode: u64,
    change: (i64, i64),
}

fn links() -> Vec<Link> {
    let folder = match fs::read_dir(USERS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        folder => folder.expect(USERS),
    };
    let link = |entry: fs::DirEntry| {
        let found = fs::symlink_metadata(entry.path()).ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        Some(Link {
            name: entry.file_name().to_string_lossy().into_owned(),
            target: target.to_string_lossy().into_owned(),
            inode: found.ino(),
            change: (found.ctime(), found.ctime_nsec()),
        })
    };
    folder.flatten().filter_map(link).collect()
}

/// The target of a link: the name or the number, and what both links of a user say alike.
fn split(target: &str) -> (String, String) {
    let (key, rest) = target.split_once(':').unwrap_or((target, ""));
    (key.to_owned(), rest.to_owned())
}

/// What is wrong with a link, if anything is.
fn wrong_link(link: &Link) -> Option<String> {
    let (key, _) = split(&link.target);
    let (uid, name) = match (
        link.name.strip_prefix("uid:"),
        link.name.strip_prefix("name:"),
    ) {
        (Some(uid), _) => (uid, key.as_str()),
        (_, Some(name)) => (key.as_str(), name),
        // What was about to take the place of one: see `check_rest`.
        _ if link.name.starts_with('.') => return None,
        _ => return Some(format!("{} in {USERS} is nothing", link.name)),
    };
    let Ok(number) = uid.parse() else {
        return Some(format!("{} says {}", link.name, link.target));
    };
    let (counterpart, same) = match link.name.starts_with("uid:") {
        true => (format!("name:{name}"), uid),
        false => (format!("uid:{uid}"), name),
    };
    let other = fs::read_link(format!("{USERS}/{counterpart}")).ok();
    // Whoever was killed between the two may have told one alone what is new: see `check_rest`.
    let other = other.filter(|target| split(&target.to_string_lossy()).0 != same);
    if let Some(other) = other {
        return Some(format!(
            "{} says {}, its counterpart {}",
            link.name,
            link.target,
            other.display()
        ));
    }
    match lease(number) {
        Some((leased, _)) if leased == name => None,
        Some((leased, _)) => Some(format!(
            "{} says {}, the lease is {leased}'s",
            link.name, link.target
        )),
        None => Some(format!("{} -> {} has no lease", link.name, link.target)),
    }
}

/// Name and state of the lease of a number.
fn lease(uid: u32) -> Option<(String, String)> {
    let text = fs::read(format!("{LEASES}/{uid}")).ok()?;
    let lease: Value = serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("VIOLATION: lease {uid}: {error}"));
    let word = |key: &str| {
        lease
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Some((word("name"), word("state")))
}

/// The descriptors that hold the lease of a number.
fn holds_of(uid: u32) -> BTreeSet<String> {
    let text = fs::read(format!("{LEASES}/{uid}")).unwrap_or_default();
    let lease: Value = serde_json::from_slice(&text).unwrap_or_default();
    let holders = lease.get("holders").and_then(Value::as_array);
    let holds = holders
        .into_iter()
        .flatten()
        .filter_map(|holder| holder.get("hold")?.as_str());
    holds.map(str::to_owned).collect()
}

/// Whether anything is known of a number, in whatever state.
fn is_leased(uid: u32) -> bool {
    fs::symlink_metadata(format!("{LEASES}/{uid}")).is_ok()
}

/// The leases that run.
fn running() -> Vec<(u32, String)> {
    let numbers = entries(LEASES)
        .into_iter()
        .filter_map(|name| name.parse().ok());
    let run = |uid| {
        lease(uid)
            .filter(|(_, state)| state == "running")
            .map(|(name, _)| (uid, name))
    };
    numbers.filter_map(run).collect()
}

fn entries(folder: &str) -> BTreeSet<String> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
        folder_ => folder_
            .expect(folder)
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect(),
    }
}

/// What is in /run, our own folder left out.
fn top_of_run() -> BTreeSet<String> {
    entries("/run")
        .into_iter()
        .filter(|name| name != "dynuser")
        .collect()
}

/// What is mounted where in this namespace.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    text.lines()
        .map(|line| line.split(' ').nth(4).expect("a path").to_owned())
        .collect()
}

/// Everything that carries a number of the range.
fn carriers(queues: &OwnedFd, keyed: &BTreeSet<u32>) -> BTreeMap<u32, BTreeSet<Thing>> {
    let mut found: BTreeMap<u32, BTreeSet<Thing>> = BTreeMap::new();
    let mut add = |number: u32, thing: &Thing| {
        if is_ours(number) {
            found.entry(number).or_default().insert(thing.clone());
        }
    };
    tasks(&mut add);
    for (table, id) in [("shm", "shmid"), ("sem", "semid"), ("msg", "msqid")] {
        system_v(table, id, &mut add);
    }
    files(Path::new("/dev/shm"), &mut add);
    files(
        Path::new(&format!("/proc/self/fd/{}", queues.as_raw_fd())),
        &mut add,
    );
    let users = fs::read_to_string("/proc/key-users").expect("key-users");
    for line in users.lines() {
        let (uid, rest) = line.split_once(':').expect("a user");
        let uid: u32 = uid.trim().parse().expect("a number");
        let keys = rest.split_whitespace().nth(1).expect("keys");
        if keyed.contains(&uid) && !keys.starts_with("0/") {
            add(uid, &Thing::Keys);
        }
    }
    found
}

fn tasks(add: &mut impl FnMut(u32, &Thing)) {
    for pid in numbers("/proc") {
        for tid in numbers(&format!("/proc/{pid}/task")) {
            let folder = format!("/proc/{pid}/task/{tid}");
            let Some(ids) = fs::read_to_string(format!("{folder}/status"))
                .ok()
                .and_then(|text| ids(&text))
            else {
                continue;
            };
            if let Some(start) = ids
                .iter()
                .any(|id| is_ours(*id))
                .then(|| start(&folder))
                .flatten()
            {
                for id in ids {
                    add(id, &Thing::Task { pid, tid, start });
                }
            }
        }
    }
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The four UIDs and GIDs in /proc/PID/status, and the supplementary groups; none if it has ended.
fn ids(status: &str) -> Option<Vec<u32>> {
    let mut ids = Vec::new();
    for line in status.lines() {
        if let Some(state) = line.strip_prefix("State:")
            && state.trim_start().starts_with(['Z', 'X'])
        {
            return None;
        }
        if line.starts_with("Uid:") || line.starts_with("Gid:") || line.starts_with("Groups:") {
            ids.extend(
                line.split_whitespace()
                    .skip(1)
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
    }
    Some(ids)
}

fn ids_of(pid: u32) -> Option<Vec<u32>> {
    ids(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn start(folder: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{folder}/stat")).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

fn system_v(table: &'static str, id: &str, add: &mut impl FnMut(u32, &Thing)) {
    let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).expect("sysvipc");
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().expect("a line of names");
    let column = |name: &str| head.iter().position(|it| *it == name).expect("a column");
    for fields in lines {
        let field = |name: &str| fields.get(column(name)).expect("a field");
        let thing = Thing::SysV {
            table,
            id: field(id).parse().expect("a number"),
        };
        // Destroyed, attached somewhere still, and open to nobody: nothing of anybody's.
        let condemned = *field("perms") == "1000";
        for owner in if condemned {
            &["uid", "gid"][..]
        } else {
            &["uid", "gid", "cuid", "cgid"][..]
        } {
            add(field(owner).parse().expect("a number"), &thing);
        }
    }
}

fn files(folder: &Path, add: &mut impl FnMut(u32, &Thing)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        let thing = Thing::File {
            path: path.display().to_string(),
            inode: found.ino(),
            change: found.ctime_nsec(),
        };
        add(found.uid(), &thing);
        add(found.gid(), &thing);
        if found.is_dir() {
            files(&path, add);
        }
    }
}

/// What a thing is, for a message.
fn told(thing: &Thing) -> String {
    match thing {
        Thing::Task { pid, .. } => {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            format!("({} {:?})", words.replace('\0', " "), ids(&status))
        }
        _ => String::new(),
    }
}

/// What is there, for whoever reads of a violation.
fn evidence() -> String {
    let mut text = String::from("leases:\n");
    for name in entries(LEASES) {
        let lease = fs::read_to_string(format!("{LEASES}/{name}")).unwrap_or_default();
        text.push_str(&format!("  {name} {lease}\n"));
    }
    text.push_str(&format!("names: {:?}\n", links()));
    for pid in numbers("/proc") {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        text.push_str(&format!("  {pid} {}\n", words.replace('\0', " ")));
    }
    text
}
