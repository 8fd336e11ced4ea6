//! Shell patterns, as fnmatch(3) and glob(7) have them: `*`, `?`, `[a-z]`, `[!a]`, a backslash for the next one.

/// The longest text or pattern that is compared, in characters: the time grows with their product.
const LONGEST: usize = 4096;

/// Whether a text matches a pattern as a whole.
pub fn matches(pattern: &str, text: &str) -> bool {
    compare(pattern, text, false)
}

/// The same, whether letters are small or not.
pub fn matches_any_case(pattern: &str, text: &str) -> bool {
    compare(pattern, text, true)
}

fn compare(pattern: &str, text: &str, any_case: bool) -> bool {
    let fold = |text: &str| -> Vec<char> {
        let folded = text.chars().map(|c| match any_case {
            true => c.to_ascii_lowercase(),
            false => c,
        });
        folded.take(LONGEST).collect()
    };
    if pattern.chars().count() > LONGEST || text.chars().count() > LONGEST {
        return false;
    }
    let (pattern, text) = (fold(pattern), fold(text));
    let (mut pattern, mut text) = (pattern.as_slice(), text.as_slice());
    // Where to go on when what follows the last `*` does not match: one character further.
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        let step = match (pattern.split_first(), text.split_first()) {
            (Some(('*', rest)), _) => {
                star = Some((rest, text));
                pattern = rest;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some((c, left))) => one(pattern, *c).map(|rest| (rest, left)),
            _ => None,
        };
        (pattern, text) = match (step, star) {
            (Some(step), _) => step,
            (None, Some((rest, from))) => {
                let Some((_, further)) = from.split_first() else {
                    return false;
                };
                star = Some((rest, further));
                (rest, further)
            }
            (None, None) => return false,
        };
    }
}

/// What is left of a pattern whose first element matches `c`.
fn one(pattern: &[char], c: char) -> Option<&[char]> {
    let (first, rest) = pattern.split_first()?;
    match first {
        '?' => Some(rest),
        '\\' => {
            let (literal, rest) = rest.split_first()?;
            (*literal == c).then_some(rest)
        }
        '[' => match bracket(rest, c) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            // It is never closed, so it stands for itself.
            None => (c == '[').then_some(rest),
        },
        literal => (*literal == c).then_some(rest),
    }
}

/// Whether `c` is among what the bracket holds, and what follows it.
fn bracket(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let (not, mut rest) = match pattern.split_first()? {
        ('!' | '^', rest) => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut first = true;
    loop {
        let (low, after) = rest.split_first()?;
        if *low == ']' && !first {
            return Some((found != not, after));
        }
        first = false;
        rest = match after {
            ['-', high, after @ ..] if *high != ']' => {
                found |= (*low..=*high).contains(&c);
                after
            }
            after => {
                found |= *low == c;
                after
            }
        };
    }
}

/// The longest pattern that comes of one with braces, in bytes. Longer than any path: without it, half a line of
/// commas before half a line of text would take memory that grows with their product.
const LONGEST_BRACED: usize = 4 * LONGEST;

/// The patterns that one with `{a,b}` stands for, at most `most` of them. None that is longer than any path.
pub fn braces(pattern: &str, most: usize) -> Vec<String> {
    let mut whole = Vec::new();
    let mut left = vec![pattern.to_owned()];
    while let Some(pattern) = left.pop() {
        if whole.len().saturating_add(left.len()) >= most {
            break;
        }
        let inner = pattern.split_once('{').and_then(|(head, rest)| {
            let (body, tail) = rest.split_once('}')?;
            (!body.contains('{')).then_some((head, body, tail))
        });
        match inner {
            Some((head, body, tail)) => {
                let fits = |one: &&str| {
                    let all = [head, one, tail].map(str::len).into_iter();
                    all.fold(0, usize::saturating_add) <= LONGEST_BRACED
                };
                let each = body.split(',').filter(fits).take(most);
                let each: Vec<_> = each.map(|one| format!("{head}{one}{tail}")).collect();
                left.extend(each.into_iter().rev());
            }
            None => whole.push(pattern),
        }
    }
    whole
}
