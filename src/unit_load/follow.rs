//! Opening a unit's file, along the links that are its other names.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::Writers;
use crate::failure::{Failure, OrFail, Stage};
use crate::root_files::{refuse_kind, refuse_others, text, unless_missing};
use crate::specifiers::UnitName;
use crate::sys::fs::{
    link_target, open_beneath, open_file_beneath, open_trusted, pin_beneath, status,
};
use crate::unit_directories::{FOLDERS, LARGEST};

/// Links that are followed one after another.
const MOST_LINKS: usize = 16;

/// What a link that masks points to.
const MASK: &str = "/dev/null";

const STAGE: Stage = Stage::Request;

/// A file, found.
pub(super) struct Found {
    /// Where it is.
    pub(super) path: String,
    /// What stands in it.
    pub(super) text: String,
    /// The names of the links on the way and of the file, in that order: the last one is the unit's own.
    pub(super) names: Vec<UnitName>,
}

/// What a path leads to.
pub(super) enum End {
    /// Nothing.
    Missing,
    /// A link to /dev/null.
    Masked,
    /// A file, open for reading, with the paths that led to it, itself last.
    File(OwnedFd, Vec<String>),
}

/// The unit file at `path`; `None` if there is none.
pub(super) fn unit(
    path: &str,
    name: &UnitName,
    writers: Writers,
) -> Result<Option<Found>, Failure> {
    let masked = || {
        let why = "is masked: whoever linked it to /dev/null, or emptied it, wants that it is not started";
        Failure::new(STAGE, path, why)
    };
    let (file, paths) = match open(path, writers)? {
        End::Missing => return Ok(None),
        End::Masked => return Err(masked()),
        End::File(file, paths) => (file, paths),
    };
    let end = paths.last().map_or(path, String::as_str);
    let text = read(&file, end)?;
    if text.is_empty() {
        return Err(masked());
    }
    let mut names = vec![name.clone()];
    let first_folder = folder(path).to_owned();
    for path in paths.iter().skip(1) {
        // A link to a file that is elsewhere (`systemctl link`) gives that file a name: it has none yet.
        if !FOLDERS.contains(&folder(path)) && folder(path) != first_folder {
            break;
        }
        let next = UnitName::parse(last(path));
        let next = next.map_err(|why| Failure::new(STAGE, path.as_str(), why))?;
        names.extend(alias(names.last().unwrap_or(name), next, path)?);
    }
    Ok(Some(Found {
        path: end.into(),
        text,
        names,
    }))
}

/// The name that a link of the name `from` gives, when it leads to `to`. `None`: no other one.
fn alias(from: &UnitName, to: UnitName, path: &str) -> Result<Option<UnitName>, Failure> {
    let refused = |why: &str| {
        let why = format!("is linked to by {}: {why}", from.full());
        Err(Failure::new(STAGE, path, why))
    };
    if to.suffix() != from.suffix() {
        return refused("a unit of another type");
    }
    let instance = from.instance().filter(|instance| !instance.is_empty());
    match (from.instance().is_some(), to.is_template(), instance) {
        // foo@bar.service -> foo@.service: an instance that somebody made.
        (true, true, Some(_)) if from.prefix() == to.prefix() => Ok(None),
        (true, true, Some(instance)) => to
            .with_instance(instance)
            .map(Some)
            .or_else(|why| refused(&why)),
        (false, true, _) => refused("a template, and the link names no instance"),
        _ => Ok((to != *from).then_some(to)),
    }
}

/// What an open file says.
pub(super) fn read(file: &OwnedFd, path: &str) -> Result<String, Failure> {
    text(file, path, LARGEST, STAGE)
}

/// Opens the file at an absolute path. Links are followed by hand: each folder and each link on the way must be
/// root's alone, where that is asked for, or somebody else says what root does.
pub(super) fn open(path: &str, writers: Writers) -> Result<End, Failure> {
    let mut paths = VecDeque::from([path.to_owned()]);
    while paths.len() <= MOST_LINKS {
        let here = paths.back().cloned().unwrap_or_default();
        let opened = unless_missing(open_trusted(folder(&here)));
        let Some(parent) = opened.or_fail(STAGE, here.as_str())? else {
            return Ok(End::Missing);
        };
        let parent = open_beneath(&parent, "").or_fail(STAGE, folder(&here))?;
        if writers == Writers::Root {
            refuse_others(&parent, folder(&here), FileType::Directory, STAGE)?;
        }
        match open_file_beneath(&parent, last(&here)) {
            Err(error) if error.errno == Errno::NOENT => return Ok(End::Missing),
            Err(error) if error.errno == Errno::LOOP => match target(&parent, &here, writers)? {
                target if target == MASK => return Ok(End::Masked),
                target => paths.push_back(target),
            },
            file => {
                let file = file.or_fail(STAGE, here.as_str())?;
                match writers {
                    Writers::Root => refuse_others(&file, &here, FileType::RegularFile, STAGE)?,
                    Writers::Anybody => refuse_kind(&file, &here, FileType::RegularFile, STAGE)?,
                }
                return Ok(End::File(file, paths.into()));
            }
        }
    }
    Err(Failure::new(STAGE, path, "is a chain of links without end"))
}

/// Where the link at `path`, in the folder `parent`, leads to.
fn target(parent: &OwnedFd, path: &str, writers: Writers) -> Result<String, Failure> {
    let link = pin_beneath(parent, last(path)).or_fail(STAGE, path)?;
    let owner = status(&link).or_fail(STAGE, path)?.uid;
    if writers == Writers::Root && owner != 0 {
        let why = format!("is a link that belongs to {owner}, not to root");
        return Err(Failure::new(STAGE, path, why));
    }
    let target = link_target(&link).or_fail(STAGE, path)?;
    let target = match target.strip_prefix('/') {
        Some(_) => target,
        None => format!("{}/{target}", folder(path)),
    };
    Ok(tidy(&target))
}

/// An absolute path without `.` and `..`. In the unit folders nobody but root makes directories, so what is
/// above is what it looks like.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The folder that something is in.
pub(super) fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// The last part of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}
