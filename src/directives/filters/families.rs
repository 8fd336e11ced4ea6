//! `RestrictAddressFamilies=`.

use std::collections::BTreeSet;

use crate::words;

/// A list of address families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Families {
    /// Whether those listed are left, and no others; otherwise the others are.
    pub allow: bool,
    /// `AF_*` numbers.
    pub listed: BTreeSet<u32>,
}

impl Families {
    /// Whether sockets of a family can be made.
    pub fn permits(&self, family: u32) -> bool {
        self.listed.contains(&family) == self.allow
    }
}

/// `AF_UNIX`
pub const AF_UNIX: u32 = 1;
/// `AF_INET`
pub const AF_INET: u32 = 2;
/// `AF_PACKET`
pub const AF_PACKET: u32 = 17;

/// `bits/socket.h`; the numbers are the same on every architecture.
#[rustfmt::skip]
const NAMES: [(&str, u32); 48] = [
    ("AF_UNIX", AF_UNIX), ("AF_LOCAL", 1), ("AF_FILE", 1), ("AF_INET", AF_INET), ("AF_AX25", 3), ("AF_IPX", 4),
    ("AF_APPLETALK", 5), ("AF_NETROM", 6), ("AF_BRIDGE", 7), ("AF_ATMPVC", 8), ("AF_X25", 9), ("AF_INET6", 10),
    ("AF_ROSE", 11), ("AF_DECnet", 12), ("AF_NETBEUI", 13), ("AF_SECURITY", 14), ("AF_KEY", 15),
    ("AF_NETLINK", 16), ("AF_ROUTE", 16), ("AF_PACKET", AF_PACKET), ("AF_ASH", 18), ("AF_ECONET", 19),
    ("AF_ATMSVC", 20), ("AF_RDS", 21), ("AF_SNA", 22), ("AF_IRDA", 23), ("AF_PPPOX", 24), ("AF_WANPIPE", 25),
    ("AF_LLC", 26), ("AF_IB", 27), ("AF_MPLS", 28), ("AF_CAN", 29), ("AF_TIPC", 30), ("AF_BLUETOOTH", 31),
    ("AF_IUCV", 32), ("AF_RXRPC", 33), ("AF_ISDN", 34), ("AF_PHONET", 35), ("AF_IEEE802154", 36),
    ("AF_CAIF", 37), ("AF_ALG", 38), ("AF_NFC", 39), ("AF_VSOCK", 40), ("AF_KCM", 41), ("AF_QIPCRTR", 42),
    ("AF_SMC", 43), ("AF_XDP", 44), ("AF_MCTP", 45),
];

/// One assignment. As in systemd the first one decides which kind of list it is, and `none` is an allow list of
/// nothing; other than in systemd a `~` after `none` does not open all the other families again.
pub(super) fn assign(families: &mut Option<Families>, value: &str) -> Result<(), String> {
    let value = value.trim();
    let (inverted, list) = match value.strip_prefix('~') {
        Some(list) => (true, list),
        None => (false, value),
    };
    if value.is_empty() {
        *families = None;
        return Ok(());
    }
    let nothing = |allow| Families {
        allow,
        listed: BTreeSet::new(),
    };
    if value == "none" {
        *families = Some(nothing(true));
        return Ok(());
    }
    let mut changed = families.clone().unwrap_or_else(|| nothing(!inverted));
    for word in words::split(list)? {
        let known = NAMES.iter().find(|(name, _)| *name == word);
        let (_, number) = known.ok_or_else(|| {
            format!(
                "names {word:?}, which is no address family; they are called AF_UNIX, AF_INET, …"
            )
        })?;
        if inverted == changed.allow {
            changed.listed.remove(number);
        } else {
            changed.listed.insert(*number);
        }
    }
    *families = Some(changed);
    Ok(())
}
