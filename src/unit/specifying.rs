//! Which directives have specifiers, and how an expansion gets into a value that is taken apart later.

use crate::specifiers::{self, Context};

/// The longest value that comes out, in bytes: no path and no argument is longer (`MAX_ARG_STRLEN`).
const LONGEST: usize = 128 * 1024;

/// What a value is taken apart into after specifiers were expanded. systemd takes it apart first: a blank, a
/// quote or a backslash that comes out of a specifier (`%i` of `a@b\x20c`) divides and escapes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nothing: all of it is one text.
    Whole,
    /// Words.
    Words,
    /// Words, with colons in them that divide.
    Parts,
    /// A name, a colon, and a text without specifiers.
    Head,
    /// Nothing is expanded.
    Never,
}

/// Directives of `[Service]` with specifiers (systemd 257, `load-fragment.c`, calls of `unit_*_printf`).
const SPECIFYING: &[(&str, Shape)] = &[
    ("AppArmorProfile", Shape::Whole),
    ("BPFProgram", Shape::Whole),
    ("BindPaths", Shape::Parts),
    ("BindReadOnlyPaths", Shape::Parts),
    ("BlockIODeviceWeight", Shape::Words),
    ("BlockIOReadBandwidth", Shape::Words),
    ("BlockIOWriteBandwidth", Shape::Words),
    ("BusName", Shape::Whole),
    ("CacheDirectory", Shape::Parts),
    ("ConfigurationDirectory", Shape::Parts),
    ("DeviceAllow", Shape::Words),
    ("Environment", Shape::Words),
    ("EnvironmentFile", Shape::Whole),
    ("ExecPaths", Shape::Words),
    ("ExecSearchPath", Shape::Words),
    ("ExtensionDirectories", Shape::Words),
    ("ExtensionImages", Shape::Parts),
    ("Group", Shape::Whole),
    ("IODeviceLatencyTargetSec", Shape::Words),
    ("IODeviceWeight", Shape::Words),
    ("IOReadBandwidthMax", Shape::Words),
    ("IOReadIOPSMax", Shape::Words),
    ("IOWriteBandwidthMax", Shape::Words),
    ("IOWriteIOPSMax", Shape::Words),
    ("IPCNamespacePath", Shape::Whole),
    ("IPEgressFilterPath", Shape::Whole),
    ("IPIngressFilterPath", Shape::Whole),
    ("ImportCredential", Shape::Whole),
    ("InaccessibleDirectories", Shape::Words),
    ("InaccessiblePaths", Shape::Words),
    ("LoadCredential", Shape::Whole),
    ("LoadCredentialEncrypted", Shape::Whole),
    ("LogExtraFields", Shape::Words),
    ("LogNamespace", Shape::Whole),
    ("LogsDirectory", Shape::Parts),
    ("MountImages", Shape::Parts),
    ("NetworkNamespacePath", Shape::Whole),
    ("NoExecPaths", Shape::Words),
    ("OpenFile", Shape::Parts),
    ("PAMName", Shape::Whole),
    ("PIDFile", Shape::Whole),
    ("PassEnvironment", Shape::Words),
    ("ProtectHostname", Shape::Whole),
    ("ReadOnlyDirectories", Shape::Words),
    ("ReadOnlyPaths", Shape::Words),
    ("ReadWriteDirectories", Shape::Words),
    ("ReadWritePaths", Shape::Words),
    ("RebootArgument", Shape::Whole),
    ("RootDirectory", Shape::Whole),
    ("RootHash", Shape::Whole),
    ("RootHashSignature", Shape::Whole),
    ("RootImage", Shape::Whole),
    ("RootImageOptions", Shape::Whole),
    ("RootVerity", Shape::Whole),
    ("RuntimeDirectory", Shape::Parts),
    ("SELinuxContext", Shape::Whole),
    ("SetCredential", Shape::Head),
    ("SetCredentialEncrypted", Shape::Head),
    ("Slice", Shape::Whole),
    ("SmackProcessLabel", Shape::Whole),
    ("Sockets", Shape::Words),
    ("StandardError", Shape::Whole),
    ("StandardInput", Shape::Whole),
    ("StandardInputText", Shape::Words),
    ("StandardOutput", Shape::Whole),
    ("StateDirectory", Shape::Parts),
    ("SupplementaryGroups", Shape::Words),
    ("SyslogIdentifier", Shape::Whole),
    ("TTYPath", Shape::Whole),
    ("TemporaryFileSystem", Shape::Parts),
    ("USBFunctionDescriptors", Shape::Whole),
    ("USBFunctionStrings", Shape::Whole),
    ("UnsetEnvironment", Shape::Words),
    ("User", Shape::Whole),
    ("UtmpIdentifier", Shape::Whole),
    ("WorkingDirectory", Shape::Whole),
];

/// Those of `[Socket]` that do something to the sockets themselves. `TCPCongestion=` and `BindToDevice=` have none.
const OF_SOCKETS: &[(&str, Shape)] = &[
    ("FileDescriptorName", Shape::Whole),
    ("ListenDatagram", Shape::Whole),
    ("ListenFIFO", Shape::Whole),
    ("ListenMessageQueue", Shape::Whole),
    ("ListenNetlink", Shape::Whole),
    ("ListenSequentialPacket", Shape::Whole),
    ("ListenSpecial", Shape::Whole),
    ("ListenStream", Shape::Whole),
    ("ListenUSBFunction", Shape::Whole),
    ("Service", Shape::Whole),
    ("SmackLabel", Shape::Whole),
    ("SmackLabelIPIn", Shape::Whole),
    ("SmackLabelIPOut", Shape::Whole),
    ("SocketGroup", Shape::Whole),
    ("SocketUser", Shape::Whole),
    ("Symlinks", Shape::Words),
];

fn shape(section: &str, name: &str) -> Shape {
    let listed = |list: &[(&str, Shape)]| {
        let found = list.iter().find(|(directive, _)| *directive == name);
        found.map_or(Shape::Never, |(_, shape)| *shape)
    };
    match section {
        "Service" => listed(SPECIFYING),
        "Socket" => listed(OF_SOCKETS),
        "Unit" if name.starts_with("Condition") || name.starts_with("Assert") => Shape::Whole,
        // Names of other units, texts for people: they mean nothing here, so a specifier that cannot be
        // expanded must not stop the service.
        _ => Shape::Never,
    }
}

/// The value of an assignment, with specifiers expanded if its directive has them.
///
/// # Errors
/// A sentence, for what is no specifier or stands for something that is not known.
pub fn expand(section: &str, name: &str, value: &str, context: &Context) -> Result<String, String> {
    let shape = shape(section, name);
    let (head, rest) = match shape {
        Shape::Never => return Ok(value.into()),
        Shape::Head => value
            .find(':')
            .and_then(|colon| value.split_at_checked(colon))
            .unwrap_or((value, "")),
        _ => (value, ""),
    };
    let mut expanded = String::with_capacity(value.len());
    let mut chars = head.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        let pair: String = [c].into_iter().chain(chars.next()).collect();
        // What is no specifier was written here, and keeps the meaning that it has.
        let one = specifiers::expand(&pair, context)?;
        if one == pair || one == "%" {
            expanded.push_str(&one);
        } else {
            protect(&one, shape, &mut expanded);
        }
        if expanded.len() > LONGEST {
            return Err(format!(
                "is longer than {LONGEST} bytes with its specifiers expanded"
            ));
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Writes `text` so that it comes out again when the value is taken apart.
fn protect(text: &str, shape: Shape, into: &mut String) {
    if !matches!(shape, Shape::Words | Shape::Parts) {
        into.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            ' ' => into.push_str("\\x20"),
            '\t' => into.push_str("\\t"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '"' => into.push_str("\\\""),
            '\'' => into.push_str("\\'"),
            ':' if shape == Shape::Parts => into.push_str("\\:"),
            c => into.push(c),
        }
    }
}
