//! A host with a file system of some kind at /var/lib, and state of former owners on it.

use super::directories::{KEEPER, host};
use super::volumes::Volume;
use super::{Arena, Output, Running};

/// A former dynamic user, whose number somebody else has meanwhile; nobody, whose systemd >= 257 makes all
/// state; a static account.
pub(crate) const OWNERS: [u32; 3] = [61300, 65534, KEEPER.1];

/// An arena with a file system of this kind at /var/lib, where the number of the former dynamic user is taken.
pub(crate) struct Host {
    // Reaped before the arena ends: its PID 1 waits for that.
    _taken: Running,
    pub(crate) arena: Arena,
}

impl Host {
    pub(crate) fn on(volume: Volume) -> Self {
        let arena = host();
        volume.mount(&arena, "/var/lib");
        arena.run(["mkdir", "-m", "700", "/var/lib/private"]).ok();
        let _taken = arena.process_of(61300);
        Self { _taken, arena }
    }

    /// A service `name` with properties, which runs a script in the shell, to its very end.
    pub(crate) fn run(&self, name: &str, properties: &[&str], script: &str) -> Output {
        let properties = properties.iter().flat_map(|property| ["-p", property]);
        let words = ["dynuser", "run", "-u", name].into_iter().chain(properties);
        let output = self.arena.run(words.chain(["sh", "-c", script]));
        self.arena.wait_until_idle();
        output
    }

    /// Makes /var/lib/vol a tree of `owner`, with some of everything in it.
    pub(crate) fn lay(&self, owner: u32) {
        let script = "set -e
            rm -rf /var/lib/vol /var/lib/private/vol; mkdir /var/lib/private/vol; ln -s private/vol /var/lib/vol
            cd /var/lib/vol; umask 022
            echo kept > file; mkdir dir; echo inner > dir/inner; ln -s file link; ln file hard
            mknod zero c 1 5; chmod 666 zero; mkfifo fifo
            cp /usr/bin/id own-set-id; cp /usr/bin/id root-set-id; cp /bin/grep capable
            echo secret > root-file; chmod 600 root-file
            chown -h $0:$0 . file dir dir/inner link zero fifo own-set-id capable
            chmod 6755 own-set-id root-set-id
            setcap cap_dac_override+ep capable
            setfacl -m u:$0:rw,u:1:r file; setfacl -m d:u:$0:rwx dir";
        self.arena
            .run(["sh", "-c", script, &owner.to_string()])
            .ok();
    }

    /// The owners on disk of everything in the tree, each once, without what is root's and devices.
    pub(crate) fn owners(&self) -> String {
        let script = "find /var/lib/private/vol ! -user 0 ! -type c -printf '%U:%G\\n' | sort -u";
        self.arena.sh(script).ok()
    }

    /// The entries of an access control list on disk.
    pub(crate) fn list(&self, file: &str) -> String {
        self.arena
            .run(["getfacl", "-cn", &format!("/var/lib/private/vol/{file}")])
            .ok()
    }
}
