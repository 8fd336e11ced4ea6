//! Programs that the kernel runs for a control group (bpf(2)).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::{During, SysError, SysResult, last_error};
use crate::bpf_code::Instruction;
use crate::control_group::Hook;

/// `BPF_PROG_LOAD` and `BPF_PROG_ATTACH` of `enum bpf_cmd` (`linux/bpf.h`).
const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
/// `BPF_F_ALLOW_MULTI`: what others have attached here or above runs too, and all must agree.
const ALLOW_MULTI: u32 = 2;
/// As much as the verifier may say about a program that it refuses.
const LOG: usize = 16 * 1024;

/// `union bpf_attr`, the part for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// `union bpf_attr`, the part for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// The type of a program and of the place that it is attached to, with its name in what bpftool(8) shows:
/// `BPF_PROG_TYPE_CGROUP_SKB`, `…_CGROUP_DEVICE`, `BPF_CGROUP_INET_INGRESS`, `…_EGRESS`, `BPF_CGROUP_DEVICE`.
fn types(hook: Hook) -> (u32, u32, &'static [u8]) {
    match hook {
        Hook::PacketIn => (8, 0, b"dynuser_in"),
        Hook::PacketOut => (8, 1, b"dynuser_out"),
        Hook::Device => (15, 6, b"dynuser_device"),
    }
}

/// A program that the kernel has taken. It stays as long as this or what it is attached to does.
#[derive(Debug)]
pub struct Loaded {
    program: OwnedFd,
    hook: Hook,
}

/// Gives a program to the kernel, which proves that it ends and touches nothing that it must not.
///
/// # Errors
/// Those of bpf(2), with the verifier's last words: `EPERM` without `CAP_BPF` and `CAP_NET_ADMIN` (or where a
/// container or lockdown(7) forbids it), `EINVAL` or `EACCES` for a program that it refuses, `ENOSYS`.
pub fn load(hook: Hook, code: &[Instruction]) -> SysResult<Loaded> {
    let (kind, attach_type, name) = types(hook);
    // Eight bytes each, and aligned like the kernel's.
    let code: Vec<u64> = code
        .iter()
        .map(|instruction| u64::from_ne_bytes(instruction.bytes()))
        .collect();
    let mut attributes = LoadAttributes {
        kind,
        count: u32::try_from(code.len()).unwrap_or(u32::MAX),
        instructions: address(code.as_ptr()),
        // Nothing that it calls wants another one.
        license: address(c"Apache-2.0 OR MIT".as_ptr()),
        attach_type,
        ..LoadAttributes::default()
    };
    for (to, from) in attributes.name.iter_mut().zip(name) {
        *to = *from;
    }
    match load_now(&attributes) {
        Ok(program) => Ok(Loaded { program, hook }),
        Err(errno @ (Errno::INVAL | Errno::ACCESS)) => Err(refused(hook, attributes, errno)),
        Err(errno) => Err(errno).during("bpf", format!("BPF_PROG_LOAD, {hook:?}")),
    }
}

/// Asks once more, for the reason: what the verifier says takes it longer than what it does.
fn refused(hook: Hook, mut attributes: LoadAttributes, errno: Errno) -> SysError {
    let mut log = vec![0_u8; LOG];
    attributes.log_level = 1;
    attributes.log_size = u32::try_from(log.len()).unwrap_or(0);
    attributes.log = address(log.as_mut_ptr());
    // The descriptor of one that it takes now is closed again.
    let errno = load_now(&attributes).err().unwrap_or(errno);
    let text = String::from_utf8_lossy(&log);
    let lines = text.trim_end_matches('\0').lines().rev();
    let said: Vec<&str> = lines.filter(|line| !line.is_empty()).take(3).collect();
    let said: Vec<&str> = said.into_iter().rev().collect();
    SysError {
        call: "bpf",
        subject: format!("BPF_PROG_LOAD, {hook:?}, verifier: {}", said.join("; ")),
        errno,
    }
}

fn load_now(attributes: &LoadAttributes) -> Result<OwnedFd, Errno> {
    // SAFETY: the attributes hold the addresses and lengths of the instructions, the license and the log, which the
    // callers keep alive; the kernel reads the first two, and writes into the last one, which nobody else uses.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LOAD,
            &raw const *attributes,
            size_of::<LoadAttributes>(),
        )
    };
    match RawFd::try_from(answer) {
        // SAFETY: the kernel has just made this descriptor (close-on-exec, as it makes all of these) for us.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(last_error()),
    }
}

impl Loaded {
    /// Has the kernel run it for all processes in `group` and below, from now on until the group is removed.
    /// Sockets belong to the group in which they were made, wherever they are used.
    ///
    /// # Errors
    /// Those of bpf(2): `EPERM` where a group above has a program that must stay the only one, `E2BIG` where there are
    /// 64 already.
    pub fn attach(&self, group: impl AsFd) -> SysResult<()> {
        let number = |fd: RawFd| u32::try_from(fd).map_err(|_| Errno::BADF);
        let call = "bpf";
        let attributes = AttachAttributes {
            target: number(group.as_fd().as_raw_fd()).during(call, "group")?,
            program: number(self.program.as_raw_fd()).during(call, "program")?,
            attach_type: types(self.hook).1,
            flags: ALLOW_MULTI,
        };
        // SAFETY: the attributes are four numbers, which the kernel reads.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                ATTACH,
                &raw const attributes,
                size_of::<AttachAttributes>(),
            )
        };
        match answer {
            0 => Ok(()),
            _ => Err(last_error()).during(call, format!("BPF_PROG_ATTACH, {:?}", self.hook)),
        }
    }
}

/// An address as the kernel's structures hold it.
fn address<T>(of: *const T) -> u64 {
    u64::try_from(of.addr()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf_code::{R7, answer, copy, exit};
    use crate::device_filter::{self, Allowed, Devices, Policy};
    use crate::packet_filter::{self, Addresses, Direction};

    #[test]
    fn the_structures_are_the_kernels() {
        assert_eq!(size_of::<LoadAttributes>(), 72);
        assert_eq!(std::mem::offset_of!(LoadAttributes, attach_type), 68);
        assert_eq!(size_of::<AttachAttributes>(), 16);
    }

    #[test]
    fn a_program_that_is_wrong_is_refused_with_the_verifiers_words() {
        let error = load(Hook::Device, &[copy(0, R7), exit()]).expect_err("R7 holds nothing");
        assert!(error.subject.contains("R7 !read_ok"), "{error}");
        load(Hook::Device, &answer(1)).expect("a program that allows all");
    }

    #[test]
    fn every_kind_of_list_makes_a_program_that_is_taken() {
        for allow in [
            "",
            "any",
            "localhost",
            "0.0.0.0/0 fe80::/10",
            "::/0 10.0.0.0/8",
        ] {
            for deny in [
                "any",
                "localhost",
                "0.0.0.0/0",
                "::/0",
                "multicast 10.1.2.3",
            ] {
                let [mut allowed, mut denied] = [Addresses::default(), Addresses::default()];
                allowed.assign(allow).expect("a list");
                denied.assign(deny).expect("a list");
                for (hook, direction) in [
                    (Hook::PacketIn, Direction::In),
                    (Hook::PacketOut, Direction::Out),
                ] {
                    let code = packet_filter::program(direction, &allowed, &denied);
                    load(hook, &code.expect("a program")).expect(deny);
                }
            }
        }
        for value in ["char-* rwm", "block-* r", "/dev/char/1:3 m"] {
            let allowed = [Allowed::parse(value).expect("a device")];
            for policy in [Policy::Auto, Policy::Strict] {
                let rules = device_filter::rules(policy, &allowed, &Devices::default());
                let code = device_filter::program(&rules.expect("rules")).expect("a program");
                load(Hook::Device, &code).expect(value);
            }
        }
        let none = device_filter::program(&[]).expect("a program");
        load(Hook::Device, &none).expect("nothing is allowed");
    }

    #[test]
    fn the_longest_programs_are_taken() {
        // Of the kind that takes most: all bits count, no prefix covers another.
        let list = |from: u32| -> Addresses {
            let words: Vec<String> = (0..512)
                .map(|i| format!("2001:db8:{from:x}::{i:x} 10.{from}.{}.{}", i / 256, i % 256))
                .collect();
            let mut list = Addresses::default();
            list.assign(&words.join(" ")).expect("a list");
            list
        };
        let code = packet_filter::program(Direction::Out, &list(1), &list(2)).expect("a program");
        load(Hook::PacketOut, &code).expect("loaded");
        let allowed: Vec<Allowed> = (0..500)
            .map(|i| {
                let access = ["r", "w", "m", "rw", "rwm"];
                let access = access.get(i % 5).expect("one");
                Allowed::parse(&format!("/dev/char/{i}:{i} {access}")).expect("a device")
            })
            .collect();
        let rules = device_filter::rules(Policy::Closed, &allowed, &Devices::default());
        let code = device_filter::program(&rules.expect("rules")).expect("a program");
        load(Hook::Device, &code).expect("loaded");
    }
}
