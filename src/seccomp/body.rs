//! What a program does about a call: a tree of looks at its arguments.

use super::program::Word;

/// What is done from some point on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The end: `SECCOMP_RET_*`.
    Verdict(u32),
    /// A word has one of some bits, or none of them.
    AnyBit {
        word: Word,
        bits: u32,
        yes: Box<Body>,
        no: Box<Body>,
    },
    /// By the value of a word under a mask: each body holds from its value to the next one. There are two or more, and
    /// the first value is 0.
    Ranges {
        word: Word,
        mask: u32,
        bodies: Vec<(u32, Body)>,
    },
}

impl Body {
    /// `yes` where an argument has one of the bits.
    pub(super) fn any_bit(argument: u32, bits: u32, yes: Self, no: Self) -> Self {
        if yes == no {
            return no;
        }
        Self::AnyBit {
            word: Word::argument(argument),
            bits,
            yes: Box::new(yes),
            no: Box::new(no),
        }
    }

    /// By ranges in ascending order, the first from 0, of which those that say the same are joined.
    pub(super) fn ranges(
        word: Word,
        mask: u32,
        ranges: impl IntoIterator<Item = (u32, Self)>,
    ) -> Self {
        let mut bodies: Vec<(u32, Self)> = Vec::new();
        for (start, body) in ranges {
            if bodies.last().is_none_or(|(_, last)| *last != body) {
                bodies.push((start, body));
            }
        }
        match bodies.pop() {
            Some((_, only)) if bodies.is_empty() => only,
            Some(last) => {
                bodies.push(last);
                Self::Ranges { word, mask, bodies }
            }
            // Nothing said about any value: nobody asks for that, and it must not let anything pass.
            None => Self::Verdict(super::program::KILL_PROCESS),
        }
    }

    /// By single values of a word, and `other` for all the rest.
    pub(super) fn values(
        word: Word,
        mask: u32,
        values: impl IntoIterator<Item = (u32, Self)>,
        other: &Self,
    ) -> Self {
        let mut values: Vec<(u32, Self)> = values.into_iter().collect();
        values.sort_by_key(|(value, _)| *value);
        values.dedup_by_key(|(value, _)| *value);
        let mut ranges = Vec::with_capacity(values.len());
        // The first value that nothing has been said about.
        let mut next = Some(0_u32);
        for (value, body) in values {
            if let Some(gap) = next.filter(|next| *next < value) {
                ranges.push((gap, other.clone()));
            }
            ranges.push((value, body));
            next = value.checked_add(1);
        }
        ranges.extend(next.map(|rest| (rest, other.clone())));
        Self::ranges(word, mask, ranges)
    }
}
