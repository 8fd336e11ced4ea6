//! From a path to the descriptor of the directory that holds it.

use std::os::fd::OwnedFd;

use crate::exec_directory::Kind;
use crate::layout::RUN;
use crate::sys::SysResult;
use crate::sys::fs::{open_beneath, open_trusted};

/// A name in a directory that is held open: what is done to it is done there, whatever happens to
/// the path meanwhile.
#[derive(Debug)]
pub struct Place {
    /// The directory, open for reading.
    pub parent: OwnedFd,
    /// The name in it.
    pub name: String,
}

/// Finds the place of an absolute `path`.
///
/// Down to the base of a kind of directories, links that only root could make are followed (state
/// kept on another disk). Below it none is: that is where services have a say.
///
/// # Errors
/// Those of openat2(2), `ENOENT` among them where a parent is missing.
pub fn find(path: &str) -> SysResult<Place> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (base, below) = split_base(above);
    // "." opens the base once more, for reading: open_trusted gives a descriptor that only points.
    let parent = open_beneath(open_trusted(base)?, below)?;
    Ok(Place {
        parent,
        name: name.into(),
    })
}

/// Splits the path of a directory into the base of its kind and what is below.
fn split_base(path: &str) -> (&str, &str) {
    [RUN]
        .into_iter()
        .chain(Kind::ALL.map(Kind::base))
        .find_map(|base| match path.strip_prefix(base)?.strip_prefix('/') {
            Some(below) => Some((base, below)),
            None => (path == base).then_some((base, "")),
        })
        .unwrap_or((if path.is_empty() { "/" } else { path }, ""))
}

#[cfg(test)]
mod tests {
    use super::split_base;

    #[test]
    fn links_are_followed_down_to_the_base_only() {
        for (path, base, below) in [
            ("/var/lib", "/var/lib", ""),
            ("/var/lib/private", "/var/lib", "private"),
            ("/var/lib/private/a/b", "/var/lib", "private/a/b"),
            ("/var/library", "/var/library", ""),
            ("/run", "/run", ""),
            ("/run/dynuser/users", "/run/dynuser", "users"),
            ("/etc", "/etc", ""),
            ("", "/", ""),
        ] {
            assert_eq!(split_base(path), (base, below), "{path}");
        }
    }
}
