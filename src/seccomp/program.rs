//! Instructions, written from the end.

use super::body::Body;
use super::machine::X32_BIT;

/// One instruction of classic BPF, laid out like the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are skipped when a comparison is true.
    pub jt: u8,
    /// How many instructions are skipped when it is false.
    pub jf: u8,
    /// Its constant.
    pub k: u32,
}

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

pub(super) const ALLOW: u32 = 0x7FFF_0000;
pub(super) const LOG: u32 = 0x7FFC_0000;
/// With the error number in the low half.
pub(super) const ERRNO: u32 = 0x0005_0000;
/// For an architecture without a table too. Not ENOSYS: a program that is told so by every call, `exit` among
/// them, runs into undefined behaviour. This one ends at once, with SIGSYS, and somebody will ask why.
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;

pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_NOT_BELOW: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

/// A word of `struct seccomp_data`, by its place in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u32);

impl Word {
    pub(super) const NUMBER: Self = Self(0);
    const ARCH: Self = Self(4);

    /// The low half of an argument, from 0.
    pub(super) const fn argument(argument: u32) -> Self {
        Self(16_u32.saturating_add(argument.saturating_mul(8)))
    }
}

/// The program that does as `interfaces` say, each by its architecture, the most frequent one first.
pub(super) fn write(interfaces: &[(u32, Body)]) -> Vec<Instruction> {
    let mut program = Backwards::default();
    let mut no_match = program.end_with(KILL_PROCESS);
    let entries: Vec<(u32, Place)> = interfaces
        .iter()
        .map(|(arch, body)| (*arch, program.body(body)))
        .collect();
    for (arch, entry) in entries.into_iter().rev() {
        no_match = program.branch(IF_EQUAL, arch, entry, no_match);
    }
    program.put(LOAD, 0, 0, Word::ARCH.0);
    program.reversed.reverse();
    program.reversed
}

/// A body that judges numbers from [`X32_BIT`] up as `x32`. The number -1 is no call: a tracer writes it to leave one
/// out.
pub(super) fn by_x32_bit(plain: Body, x32: Body) -> Body {
    let starts = [(0, plain.clone()), (X32_BIT, x32), (u32::MAX, plain)];
    Body::ranges(Word::NUMBER, u32::MAX, starts)
}

/// A program written from its end, so that the target of each jump is there before the jump.
#[derive(Default)]
struct Backwards {
    reversed: Vec<Instruction>,
    /// Bodies that are there, to be used again.
    written: Vec<(Body, Place)>,
}

/// An instruction already written, counted from the end of the program.
type Place = usize;

impl Backwards {
    fn put(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Place {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len().saturating_sub(1)
    }

    fn end_with(&mut self, verdict: u32) -> Place {
        self.put(RETURN, 0, 0, verdict)
    }

    fn branch(&mut self, test: u16, k: u32, yes: Place, no: Place) -> Place {
        let (yes, no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.distance_to(yes), self.distance_to(no));
        // `near` has made both so short. If it ever fails, what comes out must not be a jump to anywhere else.
        match (u8::try_from(jt), u8::try_from(jf)) {
            (Ok(jt), Ok(jf)) => self.put(test, jt, jf, k),
            _ => self.end_with(KILL_PROCESS),
        }
    }

    /// How many instructions lie between the next one to be written and one that is there.
    fn distance_to(&self, target: Place) -> usize {
        self.reversed.len().saturating_sub(target).saturating_sub(1)
    }

    /// A conditional jump reaches no further than 255 instructions. What is too far away gets a jump in between,
    /// which has 32 bits for the distance; one place is left for that of the other arm.
    fn near(&mut self, target: Place) -> Place {
        match self.distance_to(target) {
            distance if distance >= 255 => {
                let distance = u32::try_from(distance).unwrap_or(u32::MAX);
                self.put(JUMP, 0, 0, distance)
            }
            _ => target,
        }
    }

    fn body(&mut self, body: &Body) -> Place {
        if let Some((_, place)) = self.written.iter().find(|(there, _)| there == body) {
            return *place;
        }
        let place = match body {
            Body::Verdict(verdict) => self.end_with(*verdict),
            Body::AnyBit {
                word,
                bits,
                yes,
                no,
            } => {
                let (yes, no) = (self.body(yes), self.body(no));
                self.branch(IF_ANY_BIT, *bits, yes, no);
                self.put(LOAD, 0, 0, word.0)
            }
            Body::Ranges { word, mask, bodies } => {
                let places: Vec<(u32, Place)> = bodies
                    .iter()
                    .map(|(start, body)| (*start, self.body(body)))
                    .collect();
                // The root of the tree is what it wrote last, and so what comes next.
                self.tree(&places);
                if *mask != u32::MAX {
                    self.put(AND, 0, 0, *mask);
                }
                self.put(LOAD, 0, 0, word.0)
            }
        };
        self.written.push((body.clone(), place));
        place
    }

    /// Finds the range in a few comparisons.
    fn tree(&mut self, ranges: &[(u32, Place)]) -> Place {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        match (low, high) {
            ([], [(_, place), ..]) => *place,
            (_, [(middle, _), ..]) => {
                let middle = *middle;
                let above = self.tree(high);
                let below = self.tree(low);
                self.branch(IF_NOT_BELOW, middle, above, below)
            }
            (_, []) => self.end_with(KILL_PROCESS),
        }
    }
}

#[cfg(test)]
mod tests;
