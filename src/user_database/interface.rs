//! What the service says of itself (varlink.org, `org.varlink.service`).

use serde::Serialize;

/// Its interfaces, with their descriptions.
pub(super) const INTERFACES: [(&str, &str); 2] = [
    ("io.systemd.UserDatabase", USER_DATABASE),
    ("org.varlink.service", SERVICE_INTERFACE),
];

const USER_DATABASE: &str = "\
# Users who exist as long as their services run, and their groups
interface io.systemd.UserDatabase

# A user by number or name; all users, with 'more' and neither
method GetUserRecord(
  uid: ?int,
  userName: ?string,
  service: string
) -> (
  record: object,
  incomplete: ?bool
)

# A group by number or name; all groups, with 'more' and neither
method GetGroupRecord(
  gid: ?int,
  groupName: ?string,
  service: string
) -> (
  record: object,
  incomplete: ?bool
)

# Who is in which group besides his own: of a user, of a group, or all
method GetMemberships(
  userName: ?string,
  groupName: ?string,
  service: string
) -> (
  userName: string,
  groupName: string
)

# There is none
error NoRecordFound()

# The service that was asked for is another one
error BadService()

# The users cannot be looked up at the moment
error ServiceNotAvailable()

# Number and name are not of the same user or group
error ConflictingRecordFound()

# Users and groups cannot be listed
error EnumerationNotSupported()
";

const SERVICE_INTERFACE: &str = "\
# What every service answers
interface org.varlink.service

# Who is answering
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# The description of an interface
method GetInterfaceDescription(
  interface: string
) -> (
  description: string
)

# There is no such interface
error InterfaceNotFound(
  interface: string
)

# The interface has no such method
error MethodNotFound(
  method: string
)

# The method cannot be called this way
error MethodNotImplemented(
  method: string
)

# A parameter is missing, unknown or wrong
error InvalidParameter(
  parameter: string
)

# There is more than one reply, and the call has no 'more'
error ExpectedMore()
";

/// The parameters of the reply to `GetInfo`.
#[derive(Serialize)]
pub(super) struct Info {
    vendor: &'static str,
    product: &'static str,
    version: &'static str,
    url: &'static str,
    interfaces: [&'static str; 2],
}

impl Info {
    pub(super) fn new() -> Self {
        Self {
            vendor: env!("CARGO_PKG_NAME"),
            product: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            url: "man:dynuser(1)",
            interfaces: INTERFACES.map(|(name, _)| name),
        }
    }
}

/// The parameters of the reply to `GetInterfaceDescription`.
#[derive(Serialize)]
pub(super) struct Description {
    pub(super) description: &'static str,
}
