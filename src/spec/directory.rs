//! The directories of a service: which, where, and by what other names.

use crate::directives::{Asked, Settings};
use crate::exec_directory::{ExecDirectory, Kind, lies_in};
use crate::failure::{Failure, Stage};

/// A directory of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    asked: Asked,
    private: bool,
}

impl Directory {
    /// Where everybody, the service first, knows it.
    pub fn place(&self) -> &ExecDirectory {
        &self.asked.directory
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.place().kind()
    }

    /// The stage that fails when it cannot be had.
    pub fn stage(&self) -> Stage {
        self.kind().stage()
    }

    /// Whether it belongs behind the boundary.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Whether the service may only read it.
    pub fn is_read_only(&self) -> bool {
        self.asked.read_only
    }

    /// Its other names: symbolic links to the public path.
    pub fn links(&self) -> &[ExecDirectory] {
        &self.asked.links
    }

    /// The path where it belongs: behind the boundary if it is private.
    pub fn real(&self) -> String {
        let behind = self.place().behind().filter(|_| self.private);
        behind.unwrap_or_else(|| self.place().public())
    }
}

/// The directories that the settings ask for, sorted.
///
/// # Errors
/// For a link in the place of a directory or of another link: nothing may be touched then.
pub(super) fn check(settings: &Settings) -> Result<Vec<Directory>, Failure> {
    let mut directories: Vec<Directory> = settings
        .directories
        .iter()
        .map(|asked| Directory {
            asked: asked.clone(),
            private: !settings.static_user && asked.directory.kind().is_private(settings.preserve),
        })
        .collect();
    directories.sort_by(|one, other| one.place().cmp(other.place()));
    for directory in &directories {
        for link in directory.links() {
            refuse_double(&directories, directory, link)?;
        }
    }
    for file_system in &settings.temporary {
        let own = directories.iter().find(|directory| {
            let place = directory.place();
            let behind = place.behind();
            let paths = [Some(place.public()), behind];
            let mut paths = paths.into_iter().flatten();
            paths.any(|path| lies_in(&file_system.path, &path))
        });
        if let Some(directory) = own {
            return Err(Failure::new(
                Stage::Request,
                format!("TemporaryFileSystem={}", file_system.path),
                format!("would hide what is in {}", directory.place()),
            ));
        }
    }
    Ok(directories)
}

/// Refuses a link in a place that is taken by something of the same service.
fn refuse_double(
    directories: &[Directory],
    owner: &Directory,
    link: &ExecDirectory,
) -> Result<(), Failure> {
    let refused = |other: &ExecDirectory| {
        Err(Failure::new(
            Stage::Request,
            format!("the link {link} to {}", owner.place()),
            format!("is in the place of {other}"),
        ))
    };
    for other in directories {
        let place = other.place();
        if link.is_within(place) || place.is_within(link) {
            return refused(place);
        }
        let theirs = other.links().iter();
        // By their places, of which no two are the same: the whole of each would be all its links, at every link.
        let mut theirs = theirs.filter(|theirs| place != owner.place() || *theirs != link);
        if let Some(theirs) = theirs.find(|it| it.is_within(link) || link.is_within(it)) {
            return refused(theirs);
        }
    }
    Ok(())
}
