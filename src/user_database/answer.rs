//! What a call gets.

use serde::Serialize;

use super::call::{Call, Parameter, Parameters};
use super::interface::{Description, INTERFACES, Info};
use super::listing::{self, Listing, Step, What, memberships};
use super::records::{Membership, message, reply};
use super::{SERVICE, Table, Unavailable, is_group_name};
use crate::layout::is_strict_user_name;
use crate::user_record::Record;

/// What is to be done about a call.
#[derive(Debug)]
pub enum Answer {
    /// Nothing: nobody waits for a reply.
    Silence,
    /// This is the only message.
    Message(Vec<u8>),
    /// These are told one after the other: what each step [`told`](Step::told).
    Listing(Listing),
}

/// Why a call gets no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoRecordFound,
    BadService,
    ServiceNotAvailable,
    ConflictingRecordFound,
    ExpectedMore,
    InvalidParameter(String),
    InterfaceNotFound(String),
    MethodNotFound(String),
    MethodNotImplemented(String),
}

impl From<Unavailable> for Refusal {
    fn from(_: Unavailable) -> Self {
        Self::ServiceNotAvailable
    }
}

#[derive(Serialize)]
struct ErrorReply<'m> {
    error: &'m str,
    parameters: ErrorParameters<'m>,
}

#[derive(Default, Serialize)]
struct ErrorParameters<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'m str>,
}

impl Refusal {
    fn message(&self) -> Vec<u8> {
        let mut parameters = ErrorParameters::default();
        let error = match self {
            Self::NoRecordFound => "io.systemd.UserDatabase.NoRecordFound",
            Self::BadService => "io.systemd.UserDatabase.BadService",
            Self::ServiceNotAvailable => "io.systemd.UserDatabase.ServiceNotAvailable",
            Self::ConflictingRecordFound => "io.systemd.UserDatabase.ConflictingRecordFound",
            Self::ExpectedMore => "org.varlink.service.ExpectedMore",
            Self::InvalidParameter(name) => {
                parameters.parameter = Some(name);
                "org.varlink.service.InvalidParameter"
            }
            Self::InterfaceNotFound(name) => {
                parameters.interface = Some(name);
                "org.varlink.service.InterfaceNotFound"
            }
            Self::MethodNotFound(name) => {
                parameters.method = Some(name);
                "org.varlink.service.MethodNotFound"
            }
            Self::MethodNotImplemented(name) => {
                parameters.method = Some(name);
                "org.varlink.service.MethodNotImplemented"
            }
        };
        message(&ErrorReply { error, parameters })
    }
}

impl Step {
    /// The message, and whether it is the last one.
    pub fn told(self) -> Option<(Vec<u8>, bool)> {
        match self {
            Self::Nothing => None,
            Self::Message(message) => Some((message, false)),
            Self::Last(message) => Some((message, true)),
            Self::None => Some((Refusal::NoRecordFound.message(), true)),
            // systemd says so, and tells one that is alone.
            Self::TooMany => Some((Refusal::ExpectedMore.message(), true)),
            Self::Unavailable => Some((Refusal::ServiceNotAvailable.message(), true)),
        }
    }
}

/// Answers a call.
pub fn answer(call: Call, table: &impl Table) -> Answer {
    if call.oneway {
        return Answer::Silence;
    }
    match reply_to(call, table) {
        Ok(answer) => answer,
        Err(refusal) => Answer::Message(refusal.message()),
    }
}

fn reply_to(call: Call, table: &impl Table) -> Result<Answer, Refusal> {
    let Call {
        method,
        parameters,
        more,
        upgrade,
        ..
    } = call;
    let parameters = parameters.unwrap_or_default();
    let Some((interface, name)) = method.rsplit_once('.') else {
        return Err(Refusal::MethodNotFound(method));
    };
    if !INTERFACES.iter().any(|(known, _)| *known == interface) {
        return Err(Refusal::InterfaceNotFound(interface.into()));
    }
    if upgrade {
        return Err(Refusal::MethodNotImplemented(method));
    }
    match (interface, name) {
        ("io.systemd.UserDatabase", "GetUserRecord") => record(
            Wanted::read(parameters, "uid", "userName")?,
            false,
            more,
            table,
        ),
        ("io.systemd.UserDatabase", "GetGroupRecord") => record(
            Wanted::read(parameters, "gid", "groupName")?,
            true,
            more,
            table,
        ),
        ("io.systemd.UserDatabase", "GetMemberships") => {
            memberships_of(parameters, more, table).map(Answer::Listing)
        }
        ("org.varlink.service", "GetInfo") => {
            texts(parameters, [])?;
            Ok(Answer::Message(reply(Info::new(), false)))
        }
        ("org.varlink.service", "GetInterfaceDescription") => describe(parameters),
        _ => Err(Refusal::MethodNotFound(method)),
    }
}

/// Takes a list apart into texts by their names. `null` is nothing, as the interface has it.
fn texts<const N: usize>(
    parameters: Parameters,
    names: [&str; N],
) -> Result<[Option<String>; N], Refusal> {
    let mut found = [const { None }; N];
    for (name, value) in parameters.0 {
        let place = names.iter().zip(&mut found).find(|(it, _)| **it == name);
        match (place, value) {
            (Some(_), Parameter::Nothing) => {}
            (Some((_, place)), Parameter::Text(text)) => *place = Some(text),
            // Also what systemd 258 knows and 257 does not (uidMin, fuzzyNames, dispositionMask): its clients ask again
            // without it, and choose by themselves.
            _ => return Err(Refusal::InvalidParameter(name)),
        }
    }
    Ok(found)
}

/// Refuses calls for another service: several may share a socket.
fn check_service(service: Option<String>) -> Result<(), Refusal> {
    match service.as_deref() {
        Some(SERVICE) => Ok(()),
        Some(_) => Err(Refusal::BadService),
        None => Err(Refusal::InvalidParameter("service".into())),
    }
}

/// Which user or group is asked for.
struct Wanted {
    number: Option<u32>,
    name: Option<String>,
}

impl Wanted {
    fn read(parameters: Parameters, number: &str, name: &str) -> Result<Self, Refusal> {
        let (numbers, others): (Vec<_>, Vec<_>) =
            parameters.0.into_iter().partition(|(key, _)| key == number);
        let number = match numbers.into_iter().next() {
            None | Some((_, Parameter::Nothing)) => None,
            // These mean "no user", of 16 and of 32 bits.
            Some((_, Parameter::Number(number))) if !matches!(number, 0xffff | u32::MAX) => {
                Some(number)
            }
            Some((key, _)) => return Err(Refusal::InvalidParameter(key)),
        };
        let [name, service] = texts(Parameters(others), [name, "service"])?;
        check_service(service)?;
        Ok(Self { number, name })
    }

    /// The one; `None` if nobody in particular is asked for.
    fn find(&self, table: &impl Table) -> Result<Option<Record>, Refusal> {
        let of_number = self.number.map(|number| table.by_uid(number)).transpose()?;
        let name = self.name.as_deref();
        let of_name = name.map(|name| by_name(name, table)).transpose()?;
        match (of_number, of_name) {
            (None, None) => Ok(None),
            (Some(found), None) | (None, Some(found)) => {
                found.map(Some).ok_or(Refusal::NoRecordFound)
            }
            (Some(None), Some(None)) => Err(Refusal::NoRecordFound),
            (Some(Some(one)), Some(Some(other))) if one.name == other.name => Ok(Some(one)),
            (Some(_), Some(_)) => Err(Refusal::ConflictingRecordFound),
        }
    }
}

/// A name that none of ours can have is nobody's here, whatever else it is: systemd calls some of them invalid parameters,
/// which its clients of before 257 do not take for "there is none".
fn by_name(name: &str, table: &impl Table) -> Result<Option<Record>, Unavailable> {
    if is_strict_user_name(name.as_bytes()) {
        table.by_name(name)
    } else {
        Ok(None)
    }
}

fn record(
    wanted: Wanted,
    is_group: bool,
    more: bool,
    table: &impl Table,
) -> Result<Answer, Refusal> {
    match wanted.find(table)? {
        Some(record) if is_group => Ok(Answer::Message(listing::group(&record, false))),
        Some(record) => Ok(Answer::Message(listing::user(&record, table, false))),
        None => {
            let what = if is_group { What::Groups } else { What::Users };
            Ok(Answer::Listing(Listing::new(what, more)))
        }
    }
}

/// Who is in which group, as far as it is asked for.
fn memberships_of(
    parameters: Parameters,
    more: bool,
    table: &impl Table,
) -> Result<Listing, Refusal> {
    let [user, group, service] = texts(parameters, ["userName", "groupName", "service"])?;
    check_service(service)?;
    if let Some(user) = user {
        let record = by_name(&user, table)?.ok_or(Refusal::NoRecordFound)?;
        let mut all = memberships(&record, table);
        all.retain(|it| group.as_ref().is_none_or(|group| *group == it.group_name));
        return Ok(Listing::of(all, more));
    }
    let Some(group) = group else {
        return Ok(Listing::new(What::Memberships, more));
    };
    if let Some(record) = by_name(&group, table)? {
        let members = record.members.into_iter().map(|user_name| Membership {
            user_name,
            group_name: record.name.clone(),
        });
        return Ok(Listing::of(members.collect(), more));
    }
    let number = table
        .host_group_number(&group)
        .filter(|_| is_group_name(&group));
    let number = number.ok_or(Refusal::NoRecordFound)?;
    Ok(Listing::new(What::Members(number, group), more))
}

fn describe(parameters: Parameters) -> Result<Answer, Refusal> {
    let [interface] = texts(parameters, ["interface"])?;
    let wanted = interface.ok_or_else(|| Refusal::InvalidParameter("interface".into()))?;
    let known = INTERFACES.iter().find(|(name, _)| *name == wanted);
    let Some((_, description)) = known else {
        return Err(Refusal::InterfaceNotFound(wanted));
    };
    Ok(Answer::Message(reply(Description { description }, false)))
}
