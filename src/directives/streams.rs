//! Standard input, output and error.

use super::boolean;
use super::mounts::clean;
use super::row::{Directive, elsewhere, function, missing};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Reading, or for output writing from its beginning.
    Plain,
    /// Writing at its end.
    Append,
    /// Writing, emptied before.
    Truncate,
}

/// Where a stream comes from or goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Where dynuser's own goes; for output, where standard input comes from if that is a file or a socket.
    Inherit,
    /// `/dev/null`.
    Null,
    /// A journal, or the kernel's log: dynuser's own, whoever reads that.
    Log,
    /// The one socket that was passed (sd_listen_fds(3)), or the connection that dynuser was started with as standard input.
    Socket,
    /// A file.
    File {
        /// An absolute path.
        path: String,
        /// How it is opened.
        opening: Opening,
    },
}

/// The three streams, where somebody said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// `StandardInput=`.
    pub input: Option<Stream>,
    /// `StandardOutput=`.
    pub output: Option<Stream>,
    /// `StandardError=`.
    pub error: Option<Stream>,
    /// `NonBlocking=`.
    pub non_blocking: bool,
}

impl Streams {
    /// Whether one of them is the service's socket.
    pub fn any_socket(&self) -> bool {
        let all = [&self.input, &self.output, &self.error];
        all.into_iter().flatten().any(|it| *it == Stream::Socket)
    }
}

const TERMINAL: &str = "settings of a terminal that only StandardInput=tty would use";

pub(super) const TABLE: &[Directive] = &[
    function("StandardInput", "dup2(2)", |s, v| {
        s.streams.input = stream(v, true)?;
        Ok(())
    }),
    function(
        "StandardOutput",
        "dup2(2); the journal is where dynuser's own goes",
        |s, v| {
            s.streams.output = stream(v, false)?;
            Ok(())
        },
    ),
    function(
        "StandardError",
        "dup2(2); the journal is where dynuser's own goes",
        |s, v| {
            s.streams.error = stream(v, false)?;
            Ok(())
        },
    ),
    function(
        "NonBlocking",
        "fcntl(2), O_NONBLOCK of the sockets that are passed",
        |s, v| {
            s.streams.non_blocking = boolean(v)?;
            Ok(())
        },
    ),
    missing(
        "StandardInputText",
        "data of the unit file as standard input",
    ),
    missing(
        "StandardInputData",
        "data of the unit file as standard input",
    ),
    elsewhere("TTYPath", TERMINAL),
    elsewhere("TTYReset", TERMINAL),
    elsewhere("TTYVHangup", TERMINAL),
    elsewhere("TTYVTDisallocate", TERMINAL),
    elsewhere("TTYColumns", TERMINAL),
    elsewhere("TTYRows", TERMINAL),
];

fn stream(value: &str, input: bool) -> Result<Option<Stream>, String> {
    let file = |path: &str, opening| {
        let path = clean(path)?;
        Ok(Some(Stream::File { path, opening }))
    };
    Ok(Some(match value {
        "" => return Ok(None),
        "null" => Stream::Null,
        "socket" => Stream::Socket,
        "inherit" if !input => Stream::Inherit,
        "journal" | "kmsg" | "journal+console" | "kmsg+console" | "syslog" | "syslog+console"
            if !input =>
        {
            Stream::Log
        }
        other => match (other.split_once(':'), input) {
            (Some(("file", path)), _) => return file(path, Opening::Plain),
            (Some(("append", path)), false) => return file(path, Opening::Append),
            (Some(("truncate", path)), false) => return file(path, Opening::Truncate),
            _ => {
                return Err(
                    "is not supported; there are null, socket, file:PATH, and for output inherit, journal, append:PATH, truncate:PATH"
                        .into(),
                );
            }
        },
    }))
}
