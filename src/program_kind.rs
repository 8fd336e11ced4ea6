//! What a program does when it asks for a user, by the first bytes of its file (elf(5), execve(2)).
//!
//! A program that is linked with the host's C library looks into nsswitch.conf, and may load a module. One that is linked
//! statically, or with another C library, reads the files of accounts alone.

#![forbid(unsafe_code)]

/// What a file is, as far as its names are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program that this dynamic linker loads, for this machine.
    Loaded {
        /// The path of the dynamic linker.
        by: String,
        /// The class of the file and its machine.
        machine: Machine,
    },
    /// A program that nothing loads: linked statically.
    Static,
    /// A text, for this program.
    Script(String),
    /// What nobody can tell.
    Unknown,
}

/// What a file in ELF is for: its class, and its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    class: u8,
    number: u16,
}

/// The file of our module, as glibc calls it.
pub const MODULE: &str = "libnss_dynuser.so.2";

/// How many bytes of a file are looked at. The headers of a program come first, by far in most files.
pub const LOOKED_AT: usize = 4096;

/// `PT_INTERP`.
const INTERPRETER: u32 = 3;

/// Names of glibc's dynamic linker begin with one of these (`ld-linux-x86-64.so.2`, `ld64.so.2`), on all machines.
const LINKERS: [&str; 4] = ["ld-linux", "ld64.so", "ld.so", "ld-2."];

impl Kind {
    /// Takes the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        if let Some(line) = bytes.strip_prefix(b"#!") {
            return script(line).map_or(Self::Unknown, Self::Script);
        }
        elf(bytes).unwrap_or(Self::Unknown)
    }
}

/// The machine that a file in ELF is for.
pub fn machine(bytes: &[u8]) -> Option<Machine> {
    let header = Header::read(bytes)?;
    Some(Machine {
        class: header.class,
        number: header.half(18)?,
    })
}

/// Whether a path is that of the dynamic linker of a host's own C library, if that is glibc: where distributions have it,
/// and called as it is.
pub fn is_hosts_linker(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    let mut parts = folder
        .split('/')
        .filter(|part| !part.is_empty() && *part != "usr");
    let libraries = parts.next().is_some_and(|part| part.starts_with("lib"));
    libraries && parts.count() <= 1 && LINKERS.iter().any(|linker| name.starts_with(linker))
}

fn script(line: &[u8]) -> Option<String> {
    // The kernel takes 256 bytes at most.
    let line = line
        .split(|byte| *byte == b'\n')
        .next()?
        .get(..)
        .filter(|line| line.len() < 254)?;
    let line = line.trim_ascii_start();
    let word = line.split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    let word = core::str::from_utf8(word).ok()?;
    word.starts_with('/').then(|| word.to_owned())
}

struct Header<'b> {
    bytes: &'b [u8],
    class: u8,
    little: bool,
}

impl<'b> Header<'b> {
    fn read(bytes: &'b [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"\x7fELF")?;
        let (class, order) = (*rest.first()?, *rest.get(1)?);
        let known = matches!(class, 1 | 2) && matches!(order, 1 | 2);
        known.then_some(Self {
            bytes,
            class,
            little: order == 1,
        })
    }

    fn half(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    /// A number that is as long as an address.
    fn long(&self, at: usize) -> Option<usize> {
        if self.class == 1 {
            return usize::try_from(self.word(at)?).ok();
        }
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        let long = if self.little {
            u64::from_le_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        };
        usize::try_from(long).ok()
    }
}

fn elf(bytes: &[u8]) -> Option<Kind> {
    let header = Header::read(bytes)?;
    // e_phoff, e_phentsize, e_phnum; p_offset and p_filesz of an entry.
    let (table, size, count, offset, length) = match header.class {
        1 => (28, 42, 44, 4, 16),
        _ => (32, 54, 56, 8, 32),
    };
    let machine = machine(bytes)?;
    let table = header.long(table)?;
    let (size, count) = (
        usize::from(header.half(size)?),
        usize::from(header.half(count)?),
    );
    for number in 0..count {
        let entry = number.checked_mul(size)?.checked_add(table)?;
        if header.word(entry)? != INTERPRETER {
            continue;
        }
        let at = header.long(entry.checked_add(offset)?)?;
        let length = header.long(entry.checked_add(length)?)?;
        let path = bytes.get(at..at.checked_add(length)?)?;
        let path = core::str::from_utf8(path.strip_suffix(b"\0")?).ok()?;
        return Some(Kind::Loaded {
            by: path.to_owned(),
            machine,
        });
    }
    Some(Kind::Static)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of 64 bits with one entry in its table.
    fn program(kind: u32, interpreter: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes[72..80].copy_from_slice(&120_u64.to_le_bytes());
        bytes[96..104].copy_from_slice(&(interpreter.len() as u64).to_le_bytes());
        bytes.extend(interpreter.as_bytes());
        bytes
    }

    #[test]
    fn a_program_is_told_by_who_loads_it() {
        let musl = Kind::of(&program(3, "/lib/ld-musl-x86_64.so.1\0"));
        let machine = Machine {
            class: 2,
            number: 62,
        };
        let by = "/lib/ld-musl-x86_64.so.1".into();
        assert_eq!(musl, Kind::Loaded { by, machine });
        assert_eq!(Kind::of(&program(1, "")), Kind::Static);
        for cut in 0..program(3, "/lib/ld.so\0").len() {
            assert_eq!(
                Kind::of(&program(3, "/lib/ld.so\0")[..cut]),
                Kind::Unknown,
                "{cut}"
            );
        }
        assert_eq!(Kind::of(&program(3, "/lib/ld.so")), Kind::Unknown);
    }

    #[test]
    fn ourselves_are_loaded_by_the_host_s_linker_or_static() {
        let file = std::fs::read("/proc/self/exe").expect("ourselves");
        match Kind::of(&file[..LOOKED_AT]) {
            Kind::Loaded { by, machine } => {
                assert!(is_hosts_linker(&by) || by.contains("musl"), "{by}");
                assert_eq!(super::machine(&file), Some(machine));
            }
            kind => assert_eq!(kind, Kind::Static),
        }
    }

    #[test]
    fn a_script_is_told_by_its_first_line() {
        for (text, program) in [
            ("#!/bin/sh\n", "/bin/sh"),
            ("#! /usr/bin/env python3\nx", "/usr/bin/env"),
            ("#!/bin/sh", "/bin/sh"),
        ] {
            assert_eq!(Kind::of(text.as_bytes()), Kind::Script(program.into()));
        }
        for text in ["#!", "#!\n", "#!sh\n", "", "echo", "\x7fELF", "#!\u{ff}"] {
            assert_eq!(Kind::of(text.as_bytes()), Kind::Unknown, "{text:?}");
        }
        let long = format!("#!/{}\n", "a".repeat(300));
        assert_eq!(Kind::of(long.as_bytes()), Kind::Unknown);
    }

    #[test]
    fn the_host_s_linker_is_where_distributions_have_it() {
        for good in [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
            "/lib/ld-linux.so.2",
            "/lib64/ld64.so.2",
            "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        ] {
            assert!(is_hosts_linker(good), "{good}");
        }
        for bad in [
            "/lib/ld-musl-x86_64.so.1",
            "/nix/store/a-glibc/lib/ld-linux-x86-64.so.2",
            "/system/bin/linker64",
            "ld-linux.so.2",
            "/opt/lib/ld-linux.so.2",
            "/lib/a/b/ld-linux.so.2",
        ] {
            assert!(!is_hosts_linker(bad), "{bad}");
        }
    }
}
