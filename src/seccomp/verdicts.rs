//! What becomes of each call of an interface.

use super::Rules;
use super::body::Body;
use super::machine::{Interface, MULTIPLEXERS, Multiplexer, X32_BIT};
use super::program::{ALLOW, ERRNO, KILL_PROCESS, LOG, Word, by_x32_bit};
use super::restrictions::{Restriction, Restrictions, of};
use crate::directives::{Architecture, Denial};
use crate::syscall_sets::numbers::Table;

/// The error of a call that nobody knows: newer than our tables. A C library that tries it falls back, where it
/// would not after EPERM (systemd does the same).
const ENOSYS: u32 = 38;

/// Everything about one interface, by number.
pub(super) fn of_interface(interface: &Interface, rules: &Rules) -> Body {
    let architectures = rules.filters.architectures.as_ref();
    let named = |architecture: Architecture| {
        architectures.is_none_or(|named| named.contains(&architecture))
    };
    if !interface.native && !named(interface.architecture) {
        return Body::Verdict(KILL_PROCESS);
    }
    let calls = Calls {
        rules,
        restrictions: of(rules, interface.table),
        table: interface.table,
    };
    let all = calls.by_number();
    match interface.table == Table::X86_64 && !named(Architecture::X32) {
        true => by_x32_bit(all, Body::Verdict(KILL_PROCESS)),
        false => all,
    }
}

struct Calls<'a> {
    rules: &'a Rules,
    restrictions: Restrictions,
    table: Table,
}

impl Calls<'_> {
    fn by_number(&self) -> Body {
        let unknown = self.unknown();
        let filters = &self.rules.filters;
        let all_matter = filters.calls.is_some() || filters.logged.is_some();
        let matters = |name: &str| {
            let stands_for_many = || MULTIPLEXERS.iter().any(|of_many| of_many.name == name);
            all_matter || self.restrictions.contains_key(name) || stands_for_many()
        };
        // The others pass, like numbers that nobody knows. To leave them out spares a quarter of the work.
        let calls = self.table.calls().into_iter();
        let calls = calls.filter(|(_, name)| matters(name));
        let calls = calls.map(|(number, name)| (number, self.call(name)));
        let mask = match self.table {
            Table::X86_64 => !X32_BIT,
            _ => u32::MAX,
        };
        Body::values(Word::NUMBER, mask, calls, &unknown)
    }

    /// A number that no table has.
    fn unknown(&self) -> Body {
        let filters = &self.rules.filters;
        Body::Verdict(match (&filters.calls, &filters.logged) {
            (Some(calls), _) if calls.allow => ERRNO | ENOSYS,
            (_, Some(logged)) if !logged.allow => LOG,
            _ => ALLOW,
        })
    }

    fn call(&self, name: &str) -> Body {
        let direct = self.judge(name, None, self.restrictions_of(name));
        match MULTIPLEXERS.iter().find(|of_many| of_many.name == name) {
            Some(of_many) if self.table == Table::X86 => self.multiplexer(of_many, &direct),
            _ => direct,
        }
    }

    fn multiplexer(&self, of_many: &Multiplexer, direct: &Body) -> Body {
        let members = of_many.members.iter().map(|(value, name)| {
            let mut restrictions = self.restrictions_of(name).to_vec();
            if of_many.blind {
                restrictions = restrictions.iter().map(Restriction::blindly).collect();
            }
            (*value, self.judge(name, Some(of_many.name), &restrictions))
        });
        Body::values(Word::argument(0), of_many.mask, members, direct)
    }

    fn restrictions_of(&self, name: &str) -> &[Restriction] {
        self.restrictions.get(name).map_or(&[], Vec::as_slice)
    }

    fn judge(&self, name: &str, multiplexer: Option<&str>, restrictions: &[Restriction]) -> Body {
        let filters = &self.rules.filters;
        let listed = filters.calls.as_ref();
        match listed.and_then(|calls| calls.denial(name, multiplexer, filters.denial)) {
            Some(Denial::Kill) => return Body::Verdict(KILL_PROCESS),
            Some(Denial::Errno(number)) => return Body::Verdict(ERRNO | u32::from(number)),
            None => {}
        }
        let logged = filters.logged.as_ref();
        // Such a list says "passes" of what is to be logged.
        let logged =
            logged.is_some_and(|calls| calls.denial(name, multiplexer, Denial::Kill).is_none());
        let last = Body::Verdict(if logged { LOG } else { ALLOW });
        let looks = restrictions.iter().rev();
        looks.fold(last, |next, restriction| restriction.before(next))
    }
}

#[cfg(test)]
mod tests;
