//! Which hosts a service may talk to: `IPAddressAllow=`, `IPAddressDeny=` (systemd.resource-control(5)), and the
//! programs for the kernel that say so.
//!
//! What the kernel runs them on are the packets of IPv4 and IPv6 sockets. A packet socket (`AF_PACKET`)
//! is none, but takes `CAP_NET_RAW`.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use core::net::IpAddr;

use crate::bpf_code::{
    Instruction, R0, R1, R2, R3, R4, R6, R7, R8, R9, STACK, and_word, answer, call, copy,
    copy_word, go_back, length, load_word, set, skip_if_equal, skip_unless_equal,
};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Of IPv4: an address whose other bits are zero, and how many bits count.
    V4(u32, u32),
    /// Of IPv6, likewise.
    V6(u128, u32),
}

/// The names for some of them, from the table in systemd.resource-control(5).
const NAMES: [(&str, [Prefix; 2]); 4] = [
    ("any", [Prefix::V4(0, 0), Prefix::V6(0, 0)]),
    (
        "localhost",
        [Prefix::V4(0x7f00_0000, 8), Prefix::V6(1, 128)],
    ),
    (
        "link-local",
        [Prefix::V4(0xa9fe_0000, 16), Prefix::V6(0xfe80 << 112, 64)],
    ),
    (
        "multicast",
        [Prefix::V4(0xe000_0000, 4), Prefix::V6(0xff00 << 112, 8)],
    ),
];

impl Prefix {
    /// Reads `ADDRESS` or `ADDRESS/BITS`; bits beyond those that count are dropped.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(bits.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let bits = bits.unwrap_or(32);
                (bits <= 32).then(|| Self::V4(address.to_bits() & mask4(bits), bits))
            }
            IpAddr::V6(address) => {
                let bits = bits.unwrap_or(128);
                (bits <= 128).then(|| Self::V6(address.to_bits() & mask6(bits), bits))
            }
        }
    }

    /// Whether everything in `other` is in this one.
    fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(ours, bits), Self::V4(theirs, more)) => {
                bits <= more && theirs & mask4(bits) == ours
            }
            (Self::V6(ours, bits), Self::V6(theirs, more)) => {
                bits <= more && theirs & mask6(bits) == ours
            }
            _ => false,
        }
    }
}

fn mask4(bits: u32) -> u32 {
    u32::MAX
        .checked_shl(32_u32.saturating_sub(bits))
        .unwrap_or(0)
}

fn mask6(bits: u32) -> u128 {
    u128::MAX
        .checked_shl(128_u32.saturating_sub(bits))
        .unwrap_or(0)
}

/// More than any service has, and few enough for the kernel's machine.
const MOST_PREFIXES: usize = 1024;

/// A list of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(Vec<Prefix>);

impl Addresses {
    /// Adds the words of one value; an empty one empties the list.
    ///
    /// # Errors
    /// A sentence about a word. Nothing was added then.
    pub fn assign(&mut self, value: &str) -> Result<(), String> {
        if value.trim_ascii().is_empty() {
            self.0.clear();
            return Ok(());
        }
        let mut new = self.clone();
        for word in value.split_ascii_whitespace() {
            match NAMES.iter().find(|(name, _)| *name == word) {
                Some((_, prefixes)) => prefixes.iter().for_each(|prefix| new.add(*prefix)),
                None => new.add(Prefix::parse(word).ok_or_else(|| {
                    format!(
                        "{word:?} is no address such as 10.0.0.0/8 or fe80::/10, and none of any, localhost, \
                         link-local and multicast"
                    )
                })?),
            }
            // At every word: each is compared with all that there are.
            if new.0.len() > MOST_PREFIXES {
                return Err(format!(
                    "makes a list of more than {MOST_PREFIXES} networks"
                ));
            }
        }
        *self = new;
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, prefix: Prefix) {
        if !self.0.iter().any(|other| other.covers(prefix)) {
            self.0.retain(|other| !prefix.covers(*other));
            self.0.push(prefix);
        }
    }
}

/// Which way a packet goes. What is looked at is its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the service: where it comes from.
    In,
    /// From the service: where it goes.
    Out,
}

/// `protocol` in `struct __sk_buff` (`linux/bpf.h`).
const PROTOCOL: i16 = 16;
/// `skb_load_bytes` (bpf-helpers(7)).
const LOAD_BYTES: u32 = 26;
/// Where an address is put, below the end of the stack.
const ROOM: i16 = 16;
/// Pass, and drop: the sender is told `EPERM`.
const PASS: u32 = 1;
const DROP: u32 = 0;
/// The registers for the four words of an address.
const WORDS: [u8; 4] = [R6, R7, R8, R9];

/// The program for packets that go one way: allowed wins over denied, and what is in neither list passes.
///
/// # Errors
/// A sentence: the lists are too long.
pub fn program(
    direction: Direction,
    allow: &Addresses,
    deny: &Addresses,
) -> Result<Vec<Instruction>, String> {
    // Where the address is in the header (RFC 791, RFC 8200).
    let (at4, at6) = match direction {
        Direction::In => (12, 8),
        Direction::Out => (16, 24),
    };
    let mut four = Half::new(load_address(at4, 1));
    let mut six = Half::new(load_address(at6, 4));
    for (list, verdict) in [(allow, PASS), (deny, DROP)] {
        for prefix in &list.0 {
            match *prefix {
                Prefix::V4(address, bits) => four.add(&[address], &[mask4(bits)], verdict)?,
                Prefix::V6(address, bits) => {
                    six.add(&words(address), &words(mask6(bits)), verdict)?;
                }
            }
        }
    }
    let (four, six) = (four.finish(), six.finish());
    let mut program = vec![copy(R6, R1), load_word(R7, R6, PROTOCOL)];
    program.push(skip_unless_equal(R7, network_order(0x0800), length(&four)?));
    program.extend(four);
    program.push(skip_if_equal(R7, network_order(0x86dd), 2));
    // What is neither is nothing that the lists were made for.
    program.extend(answer(DROP));
    program.extend(six);
    Ok(program)
}

/// A word of 16 bits as it lies in a packet, in a register.
fn network_order(word: u16) -> u32 {
    u32::from(word.to_be())
}

/// The words of an address of IPv6.
fn words(address: u128) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.to_be_bytes();
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_be_bytes)
}

/// Loads the `count` words of the packet from `at` on into the first of [`WORDS`]. A packet that is too short is
/// dropped.
fn load_address(at: u32, count: u8) -> Vec<Instruction> {
    let bytes = u32::from(count).saturating_mul(4);
    let mut code = vec![
        copy(R1, R6),
        set(R2, at),
        copy(R3, STACK),
        go_back(R3, u32::from(ROOM.unsigned_abs())),
        set(R4, bytes),
        call(LOAD_BYTES),
        skip_if_equal(R0, 0, 2),
    ];
    code.extend(answer(DROP));
    let places = (0_i16..).step_by(4).map(|place| place.saturating_sub(ROOM));
    for (word, place) in WORDS.into_iter().zip(places).take(count.into()) {
        code.push(load_word(word, STACK, place));
    }
    code
}

/// The part of the program for one version of IP.
struct Half {
    code: Vec<Instruction>,
    /// Whether nothing can be reached that is added: the kernel refuses a program that has such parts.
    ended: bool,
}

impl Half {
    fn new(code: Vec<Instruction>) -> Self {
        Self { code, ended: false }
    }

    fn add(&mut self, wanted: &[u32], masks: &[u32], verdict: u32) -> Result<(), String> {
        if !self.ended {
            self.code.extend(compare(wanted, masks, verdict)?);
            self.ended = masks.iter().all(|mask| *mask == 0);
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Instruction> {
        if !self.ended {
            self.code.extend(answer(PASS));
        }
        self.code
    }
}

/// Ends with `verdict` if the words of the address are `wanted` under `masks`.
fn compare(wanted: &[u32], masks: &[u32], verdict: u32) -> Result<Vec<Instruction>, String> {
    let mut code = answer(verdict).to_vec();
    for ((word, wanted), mask) in WORDS.iter().zip(wanted).zip(masks).rev() {
        if *mask != 0 {
            let skipped = length(&code)?;
            code.splice(
                ..0,
                [
                    copy_word(R2, *word),
                    // Also where all bits count: without it the verifier takes the copy and the word for one, learns
                    // what the word is, and has to go all that follows twice.
                    and_word(R2, mask.to_be()),
                    skip_unless_equal(R2, wanted.to_be(), skipped),
                ],
            );
        }
    }
    Ok(code)
}
