//! Drop-ins: which folders count for a unit, and which of their files.

use std::collections::BTreeMap;

use rustix::fs::FileType;

use super::Writers;
use super::follow::{End, folder, last, open, read as read_file};
use crate::failure::{Failure, OrFail, Stage};
use crate::root_files::{refuse_others, unless_missing};
use crate::specifiers::UnitName;
use crate::sys::fs::{link_target, open_beneath, open_trusted, pin_beneath, shown_names};
use crate::unit_directories::FOLDERS;

/// What the names of drop-ins end in.
const SUFFIX: &str = ".conf";

/// More files in a folder than any host has.
const MOST: usize = 65_536;

const STAGE: Stage = Stage::Request;

/// The drop-ins of a unit that has these names, with their texts, in the order in which they count. `path` is
/// where the unit's main file is.
pub(super) fn read(
    name: &UnitName,
    names: &[UnitName],
    path: &str,
    writers: Writers,
) -> Result<Vec<(String, String)>, Failure> {
    let mut folders: Vec<&str> = FOLDERS.to_vec();
    // What lies beside a file that is elsewhere comes from the same hands: the administrator's goes first.
    if !folders.contains(&folder(path)) {
        folders.push(folder(path));
    }
    let mut all = vec![name.clone()];
    for name in names.iter().cloned().chain(links_to(names, &folders)?) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let own = all.iter().flat_map(|name| {
        folders.iter().flat_map(|folder| {
            let families = families(name).into_iter();
            families.map(move |family| format!("{folder}/{family}.d"))
        })
    });
    let every = folders
        .iter()
        .map(|folder| format!("{folder}/{}.d", name.suffix()));
    // By file name; the first folder that has it wins.
    let mut chosen: BTreeMap<String, String> = BTreeMap::new();
    for path in own.chain(every) {
        for name in configuration_files(&path, writers)? {
            let file = format!("{path}/{name}");
            chosen.entry(name).or_insert(file);
        }
    }
    let mut texts = Vec::new();
    for path in chosen.into_values() {
        match open(&path, writers)? {
            // A drop-in that is linked to /dev/null takes away those of its name.
            End::Masked => {}
            // As to systemd: it was there when the folder was read.
            End::Missing => {
                return Err(Failure::new(STAGE, path, "is a link that leads nowhere"));
            }
            End::File(file, _) => {
                let text = read_file(&file, &path)?;
                texts.push((path, text));
            }
        }
    }
    Ok(texts)
}

/// The names whose drop-in folders count for `name`, those that win first: its own, its template's, and all that are
/// cut behind a dash. For `a-b@x` these are `a-b@x`, `a-b@`, `a-`, `a-@x`, `a-@`, as systemd 257 has them.
fn families(name: &UnitName) -> Vec<String> {
    let mut families = Vec::new();
    gather(name.prefix(), name.instance(), name.suffix(), &mut families);
    families
}

fn gather(prefix: &str, instance: Option<&str>, suffix: &str, into: &mut Vec<String>) {
    let family = match instance {
        Some(instance) => format!("{prefix}@{instance}.{suffix}"),
        None => format!("{prefix}.{suffix}"),
    };
    // With all that follow from it.
    if into.contains(&family) {
        return;
    }
    into.push(family);
    let instance = instance.filter(|instance| !instance.is_empty());
    if instance.is_some() {
        gather(prefix, Some(""), suffix, into);
    }
    // The dash at the end is that of the last cut.
    let uncut = prefix.strip_suffix('-').unwrap_or(prefix);
    let cut = uncut.rfind('-').and_then(|dash| uncut.get(..=dash));
    if let Some(cut) = cut.filter(|cut| *cut != "-") {
        gather(cut, instance, suffix, into);
    }
}

/// The names of the drop-ins in a folder. None where it is not there.
fn configuration_files(path: &str, writers: Writers) -> Result<Vec<String>, Failure> {
    let Some(opened) = unless_missing(open_trusted(path)).or_fail(STAGE, path)? else {
        return Ok(Vec::new());
    };
    let opened = open_beneath(&opened, "").or_fail(STAGE, path)?;
    if writers == Writers::Root {
        refuse_others(&opened, path, FileType::Directory, STAGE)?;
    }
    let (mut names, _) = shown_names(&opened).or_fail(STAGE, path)?;
    if names.len() > MOST {
        return Err(Failure::new(STAGE, path, "holds more files than is sane"));
    }
    // Hidden files are an editor's, as to systemd.
    names.retain(|name| name.ends_with(SUFFIX) && !name.starts_with('.'));
    Ok(names)
}

/// Links in the unit folders whose names are other names of the unit: their drop-ins count too.
fn links_to(names: &[UnitName], folders: &[&str]) -> Result<Vec<UnitName>, Failure> {
    let mut links: Vec<UnitName> = Vec::new();
    for folder in folders {
        let Some(opened) = unless_missing(open_trusted(folder)).or_fail(STAGE, *folder)? else {
            continue;
        };
        let opened = open_beneath(&opened, "").or_fail(STAGE, *folder)?;
        let (entries, _) = shown_names(&opened).or_fail(STAGE, *folder)?;
        for entry in entries.iter().take(MOST) {
            let Ok(link) = UnitName::parse(entry) else {
                continue;
            };
            let pinned = unless_missing(pin_beneath(&opened, entry)).or_fail(STAGE, entry)?;
            // It is no link, mostly; or it went meanwhile.
            let Some(Ok(target)) = pinned.as_ref().map(link_target) else {
                continue;
            };
            let leads_here = UnitName::parse(last(&target)).is_ok_and(|to| {
                let template = names.iter().filter_map(UnitName::template).any(|t| t == to);
                names.contains(&to) || (template && link.is_template())
            });
            if !leads_here || names.iter().any(|name| name.suffix() != link.suffix()) {
                continue;
            }
            let instance = names.iter().find_map(|name| name.instance());
            let link = match instance.filter(|_| link.is_template()) {
                Some(instance) => link.with_instance(instance).unwrap_or(link),
                None => link,
            };
            links.push(link);
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_of_shorter_names_count() {
        let names = |text: &str| families(&UnitName::parse(text).expect(text)).join(" ");
        assert_eq!(names("foo.service"), "foo.service");
        assert_eq!(names("foo@x.service"), "foo@x.service foo@.service");
        assert_eq!(
            names("a-b-c.service"),
            "a-b-c.service a-b-.service a-.service"
        );
        assert_eq!(
            names("a-b-t@x.service").replace(".service", ""),
            "a-b-t@x a-b-t@ a-b- a- a-b-@x a-b-@ a-@x a-@"
        );
        assert_eq!(names("a-.service"), "a-.service");
        assert_eq!(names("-a.service"), "-a.service");
    }
}
