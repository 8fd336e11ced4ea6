//! Runs a program as the kernel would, for tests of what was generated.

#![allow(clippy::arithmetic_side_effects)]

use super::*;

/// What a program sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// The words of its context, by offset in bytes.
    pub(crate) context: Vec<(i16, u32)>,
    /// The packet, from its network header on.
    pub(crate) packet: Vec<u8>,
}

/// Addresses: of the context and of the stack's end. Far apart, and no number that a program computes.
const CONTEXT: u64 = 0x1_0000_0000;
const STACK_END: u64 = 0x2_0000_0000;

/// Runs `program` to its end, and gives its answer.
///
/// # Panics
/// Where the kernel would have refused the program.
pub(crate) fn run(program: &[Instruction], world: &World) -> u64 {
    let mut registers = [0_u64; 11];
    registers[1] = CONTEXT;
    registers[10] = STACK_END;
    let mut stack = [0_u8; 512];
    let mut at = 0;
    loop {
        let Instruction {
            code,
            target,
            source,
            offset,
            constant,
        } = program[at];
        let (t, s) = (usize::from(target), usize::from(source));
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
        let signed = i64::from(i32::from_ne_bytes(constant.to_ne_bytes()));
        at += 1;
        match code {
            LOAD_WORD if registers[s] == CONTEXT => {
                let word = world.context.iter().find(|(at, _)| *at == offset);
                registers[t] = u64::from(word.expect("a word of the context").1);
            }
            LOAD_WORD => {
                let address = registers[s].wrapping_add_signed(i64::from(offset));
                let from = usize::try_from(512 - (STACK_END - address)).unwrap();
                let bytes: [u8; 4] = stack[from..from + 4].try_into().unwrap();
                registers[t] = u64::from(u32::from_ne_bytes(bytes));
            }
            MOVE_CONSTANT => registers[t] = u64::from_ne_bytes(signed.to_ne_bytes()),
            MOVE => registers[t] = registers[s],
            MOVE_WORD => registers[t] = u64::from(low(registers[s])),
            ADD_CONSTANT => registers[t] = registers[t].wrapping_add_signed(signed),
            AND_WORD => registers[t] = u64::from(low(registers[t]) & constant),
            SHIFT_RIGHT_WORD => registers[t] = u64::from(low(registers[t]) >> constant),
            SKIP_IF_EQUAL | SKIP_UNLESS_EQUAL => {
                if (low(registers[t]) == constant) == (code == SKIP_IF_EQUAL) {
                    at += usize::try_from(offset).expect("only forward");
                }
            }
            CALL => {
                assert_eq!(constant, 26, "skb_load_bytes alone is known here");
                assert_eq!(registers[1], CONTEXT);
                let from = usize::try_from(registers[2]).unwrap();
                let to = usize::try_from(512 - (STACK_END - registers[3])).unwrap();
                let length = usize::try_from(registers[4]).unwrap();
                registers[0] = match world.packet.get(from..from + length) {
                    Some(bytes) => {
                        stack[to..to + length].copy_from_slice(bytes);
                        0
                    }
                    None => u64::MAX,
                };
                // What a call leaves in them is nobody's business.
                for lost in &mut registers[1..6] {
                    *lost = 0xdead_beef_dead_beef;
                }
            }
            EXIT => return registers[0],
            other => panic!("{other:#x} is no instruction of ours"),
        }
    }
}
