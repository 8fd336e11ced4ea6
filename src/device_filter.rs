//! Which device nodes a service may open or make: `DevicePolicy=`, `DeviceAllow=` (systemd.resource-control(5)),
//! and the program for the kernel that says so.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::bpf_code::{
    Instruction, R0, R1, R2, R3, and_word, answer, length, load_word, set, shift_right_word,
    skip_if_equal, skip_unless_equal,
};

/// `DevicePolicy=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every device, unless some are allowed by name: then those and the pseudo devices.
    #[default]
    Auto,
    /// Those that are allowed by name and the pseudo devices.
    Closed,
    /// Those that are allowed by name.
    Strict,
}

/// Kinds of device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// What may be done with a device: the bits of `BPF_DEVCG_ACC_…` in the kernel's `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u32);

const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

impl Access {
    /// Everything.
    pub const ALL: Self = Self(MAKE | READ | WRITE);
    /// Reading and writing.
    pub const READ_WRITE: Self = Self(READ | WRITE);

    /// Reads some of the letters `rwm`; all of them for none.
    ///
    /// # Errors
    /// A sentence about the letters.
    pub fn parse(letters: &str) -> Result<Self, String> {
        if letters.is_empty() {
            return Ok(Self::ALL);
        }
        letters.chars().try_fold(Self(0), |access, letter| {
            let bit = match letter {
                'm' => MAKE,
                'r' => READ,
                'w' => WRITE,
                _ => return Err(format!("{letters:?} is not made of the letters r, w and m")),
            };
            Ok(Self(access.0 | bit))
        })
    }
}

/// `DeviceAllow=`: what is allowed, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Which device or devices.
    pub device: Device,
    /// What may be done with them.
    pub access: Access,
}

/// A device, or all of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A node, by its path.
    Node(String),
    /// All of the groups in `/proc/devices` whose names match a pattern.
    Group(NodeKind, String),
}

impl Allowed {
    /// Reads one value of `DeviceAllow=`.
    ///
    /// # Errors
    /// A sentence about the value.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut words = value.split_ascii_whitespace();
        let device = words.next().unwrap_or_default();
        let access = Access::parse(words.next().unwrap_or_default())?;
        if words.next().is_some() {
            return Err(
                "is not one device and what may be done with it, such as /dev/null rw".into(),
            );
        }
        let group = [("char-", NodeKind::Character), ("block-", NodeKind::Block)]
            .into_iter()
            .find_map(|(start, kind)| Some((kind, device.strip_prefix(start)?)));
        let device = match group {
            Some((kind, name)) if !name.is_empty() => Device::Group(kind, name.into()),
            None if device.starts_with("/dev/") && device.split('/').all(|part| part != "..") => {
                Device::Node(device.into())
            }
            _ => return Err("names neither a path below /dev nor a group such as char-pts".into()),
        };
        Ok(Self { device, access })
    }
}

/// A rule of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which kind of node.
    pub kind: NodeKind,
    /// Which driver; any.
    pub major: Option<u32>,
    /// Which of its devices; any.
    pub minor: Option<u32>,
    /// What may be done with it.
    pub access: Access,
}

/// What nobody can do harm with: numbers from the kernel's `Documentation/admin-guide/devices.txt`, so
/// that a host whose `/dev` shows other nodes under these names opens nothing.
const PSEUDO_DEVICES: [(u32, Option<u32>, Access); 8] = [
    (1, Some(3), Access::ALL),       // null
    (1, Some(5), Access::ALL),       // zero
    (1, Some(7), Access::ALL),       // full
    (1, Some(8), Access::ALL),       // random
    (1, Some(9), Access::ALL),       // urandom
    (5, Some(0), Access::ALL),       // tty
    (5, Some(2), Access::ALL),       // ptmx
    (136, None, Access::READ_WRITE), // pts/*
];

/// A node's kind and numbers.
pub type Numbers = (NodeKind, u32, u32);

/// What is known of this host's devices.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    /// What the paths that were asked for stand for. One that is not there is allowed to nobody.
    pub nodes: Vec<(String, Numbers)>,
    /// `/proc/devices` (proc_devices(5)).
    pub groups: String,
}

/// The rules for a policy; `None` where every device is allowed.
pub fn rules(policy: Policy, allowed: &[Allowed], devices: &Devices) -> Option<Vec<Rule>> {
    if policy == Policy::Auto && allowed.is_empty() {
        return None;
    }
    let mut rules = Vec::new();
    if policy != Policy::Strict {
        rules.extend(PSEUDO_DEVICES.map(|(major, minor, access)| Rule {
            kind: NodeKind::Character,
            major: Some(major),
            minor,
            access,
        }));
    }
    for Allowed { device, access } in allowed {
        let found: Vec<(NodeKind, Option<u32>, Option<u32>)> = match device {
            // Of drivers that register no name as well.
            Device::Group(kind, pattern) if pattern == "*" => vec![(*kind, None, None)],
            Device::Group(kind, pattern) => groups(&devices.groups)
                .filter(|(of, _, name)| of == kind && matches(pattern, name))
                .map(|(kind, major, _)| (kind, Some(major), None))
                .collect(),
            Device::Node(path) => numbered(path)
                .or_else(|| {
                    devices
                        .nodes
                        .iter()
                        .find(|(at, _)| at == path)
                        .map(|at| at.1)
                })
                .map(|(kind, major, minor)| (kind, Some(major), Some(minor)))
                .into_iter()
                .collect(),
        };
        rules.extend(found.into_iter().map(|(kind, major, minor)| Rule {
            kind,
            major,
            minor,
            access: *access,
        }));
    }
    Some(rules)
}

/// The numbers in a path such as `/dev/char/10:200`, which need no look at the host.
pub fn numbered(path: &str) -> Option<Numbers> {
    let (kind, numbers) = [
        (NodeKind::Character, "/dev/char/"),
        (NodeKind::Block, "/dev/block/"),
    ]
    .into_iter()
    .find_map(|(kind, start)| Some((kind, path.strip_prefix(start)?)))?;
    let (major, minor) = numbers.split_once(':')?;
    Some((kind, major.parse().ok()?, minor.parse().ok()?))
}

/// The groups in `/proc/devices`.
fn groups(text: &str) -> impl Iterator<Item = (NodeKind, u32, &str)> {
    let mut kind = None;
    text.lines().filter_map(move |line| {
        match line {
            "Character devices:" => kind = Some(NodeKind::Character),
            "Block devices:" => kind = Some(NodeKind::Block),
            _ => {}
        }
        let (major, name) = line.trim_ascii_start().split_once(' ')?;
        Some((kind?, major.parse().ok()?, name))
    })
}

/// Whether a name matches a pattern with `*` and `?` (glob(7); a `/` is a letter like any other).
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // The last star, and what it has not taken yet.
    let mut star = None;
    loop {
        let before = (pattern.clone(), name.clone());
        match (pattern.next(), name.next()) {
            (Some('*'), _) => {
                name = before.1;
                star = Some((pattern.clone(), name.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(letter)) if wanted == letter => {}
            (None, None) => return true,
            // It takes one more.
            (_, Some(_)) => match star.take() {
                Some((after, mut rest)) => {
                    rest.next();
                    (pattern, name) = (after.clone(), rest.clone());
                    star = Some((after, rest));
                }
                None => return false,
            },
            (Some(_), None) => return false,
        }
    }
}

/// More rules than any service has, and few enough for the kernel's verifier.
const MOST_RULES: usize = 512;

/// The program: it looks at a `struct bpf_cgroup_dev_ctx` (`linux/bpf.h`) and answers 1 where all that is wanted is
/// allowed, be it by several rules together.
///
/// # Errors
/// A sentence: there are too many rules.
pub fn program(rules: &[Rule]) -> Result<Vec<Instruction>, String> {
    if rules.len() > MOST_RULES {
        return Err(format!("allows more than {MOST_RULES} devices"));
    }
    // What is wanted is in the upper half of the first word; what was not allowed yet stays in R3.
    let mut program = vec![
        load_word(R3, R1, 0),
        shift_right_word(R3, 16),
        and_word(R3, Access::ALL.0),
    ];
    for rule in rules {
        program.extend(one_rule(rule)?);
    }
    program.extend([set(R0, 1), skip_if_equal(R3, 0, 1), set(R0, 0)]);
    program.push(answer(0)[1]);
    Ok(program)
}

fn one_rule(rule: &Rule) -> Result<Vec<Instruction>, String> {
    let kind = match rule.kind {
        NodeKind::Block => 1,
        NodeKind::Character => 2,
    };
    let mut code = vec![and_word(R3, !rule.access.0)];
    // From the end: each comparison skips all that follows it. Loaded anew for each: what the verifier learns of
    // one comparison must not split its way through all later ones.
    for (offset, wanted) in [(8, rule.minor), (4, rule.major)] {
        if let Some(wanted) = wanted {
            let skipped = length(&code)?;
            code.splice(
                ..0,
                [
                    load_word(R2, R1, offset),
                    skip_unless_equal(R2, wanted, skipped),
                ],
            );
        }
    }
    let skipped = length(&code)?;
    code.splice(
        ..0,
        [
            load_word(R2, R1, 0),
            and_word(R2, 0xffff),
            skip_unless_equal(R2, kind, skipped),
        ],
    );
    Ok(code)
}
