//! Whether a mount namespace can be had, found out by making one.

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::fs::open_trusted;
use super::own_namespaces::{self, Kind};
use super::{During, SysResult, mount};

/// Does everything once that the view of a service takes: a namespace, mounts in it that are changed, copied, made and
/// attached. Nothing of it is seen anywhere, and nothing is left.
///
/// # Errors
/// Of the first call that is refused.
pub fn mounts() -> SysResult<()> {
    // The thread is in that namespace from then on, and the namespace ends with it.
    let tried = std::thread::Builder::new().name("probe".into()).spawn(|| {
        own_namespaces::unshare(Kind::Mounts)?;
        mount::stop_propagation()?;
        let there = open_trusted("/run")?;
        mount::clone_tree(&there)?;
        let empty = mount::new_tmpfs(&[("size", "4k")], MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        mount::attach(empty, &there)
    });
    let tried = tried.during("clone", "probe")?;
    tried
        .join()
        .map_err(|_| Errno::IO)
        .during("clone", "probe")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_host_can_have_mounts_and_sees_nothing_of_it() {
        let table = || std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let before = table().lines().count();
        match rustix::process::geteuid().is_root() {
            true => mounts().expect("root of a host"),
            false => assert_eq!(mounts().map_err(|error| error.errno), Err(Errno::PERM)),
        }
        assert_eq!(table().lines().count(), before);
    }
}
