//! Standard input, output and error of a command.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ftruncate, openat};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::command_text::Privilege;
use crate::directives::{Opening, Stream, Streams};
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::fs::{self as files, open_trusted, pin_trusted};

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Input,
    Output,
    Error,
}

/// A file that is opened as the service.
#[derive(Debug)]
pub(super) struct Later {
    which: Which,
    path: String,
    opening: Opening,
}

const NO_SOCKET: &str =
    "is no socket; whoever starts the service has to accept the connection, or to bind the socket";

/// What dynuser has as standard input, which has to be a socket.
pub(super) fn own_socket() -> Result<OwnedFd, Failure> {
    let (stage, subject) = (Which::Input.stage(), "standard input");
    let own = files::status(std::io::stdin()).or_fail(stage, subject)?;
    if own.kind != FileType::Socket {
        return Err(Failure::new(stage, subject, NO_SOCKET));
    }
    // Above 2: standard streams are put in its place before it is.
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3);
    copy.or_fail(stage, subject)
}

/// Connects what can be connected as root, and gives what is to be opened as the service: a file in a directory in which
/// somebody else than root has a say may be a link to anywhere.
pub(super) fn connect_as_root(
    streams: &Streams,
    socket: Option<&OwnedFd>,
    from_unit: bool,
) -> Result<Vec<Later>, Failure> {
    let input = match &streams.input {
        // A daemon reads nothing from whoever started it.
        None if from_unit => Stream::Null,
        None => Stream::Inherit,
        Some(stream) => stream.clone(),
    };
    let mut later = Vec::new();
    later.extend(stream(Which::Input, &input, &input, socket)?);
    // What talks to a connection answers there.
    let answers = input == Stream::Socket && streams.output.is_none();
    let output = match &streams.output {
        None if answers => Stream::Socket,
        None => Stream::Log,
        Some(output) => output.clone(),
    };
    later.extend(stream(Which::Output, &output, &input, socket)?);
    match &streams.error {
        None | Some(Stream::Inherit) if streams.output.is_some() || answers => {
            if later.iter().any(|it| it.which == Which::Output) {
                later.push(Later::of(Which::Error, &output));
            } else {
                dup2_stderr(std::io::stdout()).or_fail(Stage::StandardError, "dup2")?;
            }
        }
        None => {}
        Some(error) => later.extend(stream(Which::Error, error, &input, socket)?),
    }
    Ok(later)
}

impl Later {
    fn of(which: Which, stream: &Stream) -> Self {
        match stream {
            Stream::File { path, opening } => Self {
                which,
                path: path.clone(),
                opening: match opening {
                    // Emptied once, by the first of the two.
                    Opening::Truncate => Opening::Append,
                    other => *other,
                },
            },
            _ => Self {
                which,
                path: "/dev/null".into(),
                opening: Opening::Plain,
            },
        }
    }
}

fn stream(
    which: Which,
    wanted: &Stream,
    input: &Stream,
    socket: Option<&OwnedFd>,
) -> Result<Option<Later>, Failure> {
    match wanted {
        Stream::Log => {}
        Stream::Inherit => {
            let from_input = matches!(input, Stream::Socket | Stream::File { .. });
            if which != Which::Input && from_input {
                let own = rustix::io::dup(std::io::stdin()).or_fail(which.stage(), "dup")?;
                which.put(&own)?;
            }
        }
        Stream::Null => which.put(&open_plainly("/dev/null", Opening::Plain, which)?)?,
        Stream::Socket => {
            let socket = socket.ok_or(NO_SOCKET);
            which.put(socket.or_fail(which.stage(), "socket")?)?;
        }
        Stream::File { path, opening } => match open_as_root(path, *opening, which)? {
            Some(file) => which.put(&file)?,
            None => {
                return Ok(Some(Later {
                    which,
                    path: path.clone(),
                    opening: *opening,
                }));
            }
        },
    }
    Ok(None)
}

/// Connects what was left, as what the command runs as.
pub(super) fn connect(later: Vec<Later>, privilege: Privilege) -> Result<(), Failure> {
    later.into_iter().try_for_each(|later| {
        let (path, which) = (later.path.as_str(), later.which);
        which.put(&match privilege {
            Privilege::Service | Privilege::Ambient => open_plainly(path, later.opening, which)?,
            Privilege::KeepsRoot | Privilege::Full => {
                open_among_others(path, later.opening, which)?
            }
        })
    })
}

/// Opens a file as root in a directory in which the service has a say. It may have put a link to a file of root's
/// there, which would be written to or emptied, or a FIFO that nobody reads.
fn open_among_others(path: &str, opening: Opening, which: Which) -> Result<OwnedFd, Failure> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = if above.is_empty() { "/" } else { above };
    let folder = open_trusted(above).or_fail(which.stage(), path)?;
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = which.flags(opening).difference(OFlags::TRUNC) | careful;
    let opened = openat(&folder, name, flags, Mode::from_raw_mode(0o644));
    let opened = opened.or_fail(which.stage(), path)?;
    let found = files::status(&opened).or_fail(which.stage(), path)?;
    if found.kind != FileType::RegularFile {
        let why = "is no file, in a directory that not only root can change";
        return Err(Failure::new(which.stage(), path, why));
    }
    if which != Which::Input && opening == Opening::Truncate {
        ftruncate(&opened, 0).or_fail(which.stage(), path)?;
    }
    Ok(opened)
}

/// Opens a file in a directory that is root's alone, however one comes there: by links of root's too.
fn open_as_root(path: &str, opening: Opening, which: Which) -> Result<Option<OwnedFd>, Failure> {
    let found = pin_trusted(path).and_then(files::path_of).ok();
    let path = found.as_deref().and_then(Path::to_str).unwrap_or(path);
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = if above.is_empty() { "/" } else { above };
    let Ok(folder) = open_trusted(above) else {
        return Ok(None);
    };
    let found = files::status(&folder).or_fail(which.stage(), above)?;
    // A sticky one too: anybody could have a link there.
    if found.uid != 0 || found.mode & 0o022 != 0 {
        return Ok(None);
    }
    let flags = which.flags(opening) | OFlags::NOFOLLOW;
    let opened = openat(&folder, name, flags, Mode::from_raw_mode(0o644));
    opened.or_fail(which.stage(), path).map(Some)
}

fn open_plainly(path: &str, opening: Opening, which: Which) -> Result<OwnedFd, Failure> {
    let opened = rustix::fs::open(path, which.flags(opening), Mode::from_raw_mode(0o644));
    opened.or_fail(which.stage(), path)
}

impl Which {
    fn stage(self) -> Stage {
        match self {
            Self::Input => Stage::Terminal,
            Self::Output => Stage::StandardOutput,
            Self::Error => Stage::StandardError,
        }
    }

    fn flags(self, opening: Opening) -> OFlags {
        let common = OFlags::NOCTTY | OFlags::CLOEXEC;
        match (self, opening) {
            (Self::Input, _) => common | OFlags::RDONLY,
            (_, Opening::Plain) => common | OFlags::WRONLY | OFlags::CREATE,
            (_, Opening::Append) => common | OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
            (_, Opening::Truncate) => common | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
        }
    }

    fn put(self, file: &OwnedFd) -> Result<(), Failure> {
        let put = match self {
            Self::Input => dup2_stdin(file),
            Self::Output => dup2_stdout(file),
            Self::Error => dup2_stderr(file),
        };
        put.or_fail(self.stage(), "dup2")
    }
}
