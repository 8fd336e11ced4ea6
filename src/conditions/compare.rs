//! Comparisons in the arguments of conditions.

use core::cmp::Ordering;

use super::pattern::matches;

/// How two texts or numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `$=`: the right one is a shell pattern.
    Pattern,
    /// `!$=`.
    NotPattern,
    /// `=`, of texts.
    Same,
    /// `!=`, of texts.
    NotSame,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `==`, and `=` of numbers.
    Equal,
    /// `<>`, and `!=` of numbers.
    NotEqual,
    /// `>=`.
    GreaterOrEqual,
    /// `>`.
    Greater,
}

/// All with what is written for them, the longer ones first.
const OPERATORS: [(&str, Operator); 10] = [
    ("!$=", Operator::NotPattern),
    ("$=", Operator::Pattern),
    ("<>", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotSame),
    ("=", Operator::Same),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// The operator that a text begins with, and the rest of it.
pub fn split_operator(text: &str) -> Option<(Operator, &str)> {
    OPERATORS
        .iter()
        .find_map(|(written, operator)| Some((*operator, text.strip_prefix(written)?)))
}

impl Operator {
    /// Whether an order between two is what is asked for. `None`: it compares texts.
    pub fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Same | Self::Equal | Self::Pattern => order.is_eq(),
            Self::NotSame | Self::NotEqual | Self::NotPattern => order.is_ne(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }

    /// Compares two versions or texts.
    pub fn holds(self, left: &str, right: &str) -> bool {
        match self {
            Self::Pattern => matches(right, left),
            Self::NotPattern => !matches(right, left),
            Self::Same => left == right,
            Self::NotSame => left != right,
            _ => self.accepts(version_order(left, right)),
        }
    }
}

/// The order of two versions, as the Version Format Specification of uapi-group.org has it (systemd's
/// `strverscmp_improved`).
pub fn version_order(left: &str, right: &str) -> Ordering {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "~-^.".contains(c);
    let (mut left, mut right) = (left, right);
    loop {
        left = left.trim_start_matches(|c| !is_part(c));
        right = right.trim_start_matches(|c| !is_part(c));
        // What is marked so comes before what is not, `~` even before the end.
        if let Some(order) = marked('~', &mut left, &mut right) {
            return order;
        }
        if left.is_empty() || right.is_empty() {
            return left.len().cmp(&right.len());
        }
        for mark in ['-', '^', '.'] {
            if let Some(order) = marked(mark, &mut left, &mut right) {
                return order;
            }
        }
        let digit = |c: char| c.is_ascii_digit();
        let order = if left.starts_with(digit) || right.starts_with(digit) {
            let (a, b) = (
                run(&mut left, digit).trim_start_matches('0'),
                run(&mut right, digit).trim_start_matches('0'),
            );
            // A letter is less than any number, even than nought.
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            let letter = |c: char| c.is_ascii_alphabetic();
            let (a, b) = (run(&mut left, letter), run(&mut right, letter));
            a.cmp(b)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The order of two texts of which one begins with `mark`; takes it off both if both do.
fn marked(mark: char, left: &mut &str, right: &mut &str) -> Option<Ordering> {
    match (left.strip_prefix(mark), right.strip_prefix(mark)) {
        (Some(after), Some(other)) => {
            (*left, *right) = (after, other);
            None
        }
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (None, None) => None,
    }
}

/// Takes the characters of a kind off the front.
fn run<'t>(text: &mut &'t str, kind: impl Fn(char) -> bool) -> &'t str {
    let end = text.find(|c| !kind(c)).unwrap_or(text.len());
    let (taken, rest) = text.split_at_checked(end).unwrap_or((*text, ""));
    *text = rest;
    taken
}
