//! Who may search boundary directories besides root.

use crate::exec_directory::Kind;
use crate::failure::{Failure, OrFail};
use crate::observed::{Entry, Observed};
use crate::place;
use crate::search_right;
use crate::spec::Spec;
use crate::sys::fs::open_beneath;

/// The boundary directories of `spec` that somebody else than root may search.
///
/// # Errors
/// As [`super::look`].
pub fn searched(spec: &Spec) -> Result<Vec<String>, Failure> {
    let mut observed = Observed::default();
    for directory in spec.directories().iter().filter(|it| it.is_private()) {
        if let Some(boundary) = directory.kind().boundary() {
            let found = super::entry(boundary).or_fail(directory.stage(), boundary)?;
            observed.entries.insert(boundary.into(), found);
        }
    }
    look(&mut observed)?;
    Ok(observed.searchers.into_keys().collect())
}

/// Who may search the boundary directories, and their modes without that.
pub(super) fn look(observed: &mut Observed) -> Result<(), Failure> {
    for kind in Kind::ALL {
        let Some(boundary) = kind.boundary() else {
            continue;
        };
        let Some(Entry::Directory { mode, .. }) = observed.entries.get_mut(boundary) else {
            continue;
        };
        let found =
            place::find(boundary).and_then(|place| open_beneath(&place.parent, &place.name));
        let directory = found.or_fail(kind.stage(), boundary)?;
        let (without, searchers) =
            search_right::look(&directory).or_fail(kind.stage(), boundary)?;
        *mode = without;
        if !searchers.is_empty() {
            observed.searchers.insert(boundary.into(), searchers);
        }
    }
    Ok(())
}
