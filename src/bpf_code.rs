//! The machine code that the kernel runs for a control group: extended BPF, only what our filters are made of.
//!
//! Source: the kernel's `Documentation/bpf/standardization/instruction-set.rst` and `include/uapi/linux/bpf.h`.

#![forbid(unsafe_code)]

#[cfg(test)]
pub(crate) mod interpreter;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u8,
    /// The register that it changes, or compares.
    pub target: u8,
    /// The register that it reads.
    pub source: u8,
    /// Bytes from an address, or instructions to skip.
    pub offset: i16,
    /// Its constant; the kernel extends the sign where it is one of 64 bits.
    pub constant: u32,
}

/// What a program answers, how a call to the kernel ended.
pub const R0: u8 = 0;
/// What a program is called with; the first argument of a call.
pub const R1: u8 = 1;
/// Lost at a call, as are the two after it.
pub const R2: u8 = 2;
/// See [`R2`].
pub const R3: u8 = 3;
/// See [`R2`].
pub const R4: u8 = 4;
/// Kept over a call, as are the three after it.
pub const R6: u8 = 6;
/// See [`R6`].
pub const R7: u8 = 7;
/// See [`R6`].
pub const R8: u8 = 8;
/// See [`R6`].
pub const R9: u8 = 9;
/// The end of the stack, which grows down.
pub const STACK: u8 = 10;

const LOAD_WORD: u8 = 0x61;
const MOVE_CONSTANT: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const MOVE_WORD: u8 = 0xbc;
const ADD_CONSTANT: u8 = 0x07;
const AND_WORD: u8 = 0x54;
const SHIFT_RIGHT_WORD: u8 = 0x74;
const SKIP_IF_EQUAL: u8 = 0x16;
const SKIP_UNLESS_EQUAL: u8 = 0x56;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

impl Instruction {
    const fn new(code: u8, target: u8, source: u8, offset: i16, constant: u32) -> Self {
        Self {
            code,
            target,
            source,
            offset,
            constant,
        }
    }

    /// The eight bytes that the kernel reads. It keeps both registers in one byte, as bit fields of C: their
    /// order is that of the machine.
    pub fn bytes(self) -> [u8; 8] {
        let (low, high) = if cfg!(target_endian = "little") {
            (self.target, self.source)
        } else {
            (self.source, self.target)
        };
        let registers = (low & 0x0f) | high.wrapping_shl(4);
        let [o0, o1] = self.offset.to_ne_bytes();
        let [c0, c1, c2, c3] = self.constant.to_ne_bytes();
        [self.code, registers, o0, o1, c0, c1, c2, c3]
    }
}

/// `target = *(u32 *)(address + offset)`.
pub const fn load_word(target: u8, address: u8, offset: i16) -> Instruction {
    Instruction::new(LOAD_WORD, target, address, offset, 0)
}

/// `target = constant`.
pub const fn set(target: u8, constant: u32) -> Instruction {
    Instruction::new(MOVE_CONSTANT, target, 0, 0, constant)
}

/// `target = source`, an address or a number of 64 bits.
pub const fn copy(target: u8, source: u8) -> Instruction {
    Instruction::new(MOVE, target, source, 0, 0)
}

/// `target = source`, its low 32 bits.
pub const fn copy_word(target: u8, source: u8) -> Instruction {
    Instruction::new(MOVE_WORD, target, source, 0, 0)
}

/// `target -= bytes`, for addresses.
pub const fn go_back(target: u8, bytes: u32) -> Instruction {
    Instruction::new(ADD_CONSTANT, target, 0, 0, bytes.wrapping_neg())
}

/// `target &= mask`, its low 32 bits; the others are zero afterwards.
pub const fn and_word(target: u8, mask: u32) -> Instruction {
    Instruction::new(AND_WORD, target, 0, 0, mask)
}

/// `target >>= bits`, its low 32 bits; the others are zero afterwards.
pub const fn shift_right_word(target: u8, bits: u32) -> Instruction {
    Instruction::new(SHIFT_RIGHT_WORD, target, 0, 0, bits)
}

/// Skips instructions if the low 32 bits of `register` are `constant`.
pub const fn skip_if_equal(register: u8, constant: u32, instructions: i16) -> Instruction {
    Instruction::new(SKIP_IF_EQUAL, register, 0, instructions, constant)
}

/// Skips instructions unless the low 32 bits of `register` are `constant`. (A comparison of 64 bits would
/// extend the constant's sign: no address from 128.0.0.0 on would be equal to itself.)
pub const fn skip_unless_equal(register: u8, constant: u32, instructions: i16) -> Instruction {
    Instruction::new(SKIP_UNLESS_EQUAL, register, 0, instructions, constant)
}

/// Calls a function of the kernel (bpf-helpers(7)) by its number.
pub const fn call(function: u32) -> Instruction {
    Instruction::new(CALL, 0, 0, 0, function)
}

/// Ends with what is in [`R0`].
pub const fn exit() -> Instruction {
    Instruction::new(EXIT, 0, 0, 0, 0)
}

/// Ends with an answer.
pub const fn answer(answer: u32) -> [Instruction; 2] {
    [set(R0, answer), exit()]
}

/// How many instructions there are, as far as one can be skipped over.
///
/// # Errors
/// A sentence: more than a skip can reach.
pub fn length(instructions: &[Instruction]) -> Result<i16, String> {
    i16::try_from(instructions.len()).map_err(|_| {
        String::from("makes a program that is longer than the kernel's machine can skip")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_the_kernels_eight_bytes() {
        // As `llvm-objdump -d` of bpf shows them, on a little-endian machine.
        if cfg!(target_endian = "little") {
            assert_eq!(exit().bytes(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(set(R0, 1).bytes(), [0xb7, 0, 0, 0, 1, 0, 0, 0]);
            assert_eq!(load_word(R2, R1, 4).bytes(), [0x61, 0x12, 4, 0, 0, 0, 0, 0]);
            assert_eq!(copy(R3, STACK).bytes(), [0xbf, 0xa3, 0, 0, 0, 0, 0, 0]);
            assert_eq!(
                go_back(R3, 16).bytes(),
                [0x07, 3, 0, 0, 0xf0, 0xff, 0xff, 0xff]
            );
        }
    }
}
