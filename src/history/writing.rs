//! What the thread does that writes.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{FILE, OLD, begun, is_told, now};
use crate::failure::{Failure, Stage};
use crate::history_text::{Event, HEADER, Line, alive, first_moment};
use crate::kept_lines::{FOLDER, make_folder, open_folder};
use crate::lease;
use crate::life::State;
use crate::registry_text::END_OF_TORN_LINE;
use crate::sys::SysError;
use crate::sys::file::{append_lines, rename_file, replace_whole};

/// How long a file that could not be written is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// The files, and what has become of them.
pub(super) struct Writer {
    folder: String,
    boot: String,
    /// What those who were alive took when the file was begun: it may be as large again, or it would be
    /// begun anew with each line.
    least: u64,
    /// Why it cannot be written at the moment, and since when.
    failing: Option<(String, Instant)>,
    /// Since when lines were lost, by the host's clock.
    lost: Option<u64>,
    /// How long a file that could not be written is left alone.
    pub(super) pause: Duration,
}

impl Writer {
    pub(super) fn new(boot: &str) -> Self {
        Self::in_folder(FOLDER, boot)
    }

    pub(super) fn in_folder(folder: &str, boot: &str) -> Self {
        Self {
            folder: folder.into(),
            boot: boot.into(),
            least: 0,
            failing: None,
            lost: None,
            pause: PAUSE,
        }
    }

    /// Writes lines, and before them who is alive if that is to be told, and that lines were `lost`, if some were, since
    /// when. `most` bytes for both files.
    pub(super) fn write(&mut self, lines: &str, census: bool, lost: Option<u64>, most: u64) {
        if most == 0 {
            return;
        }
        self.lost = self.lost.or(lost);
        let fresh = |(_, when): &(String, Instant)| when.elapsed() < self.pause;
        if self.failing.as_ref().is_some_and(fresh) {
            self.lost = self.lost.or_else(|| first_moment(lines));
            return;
        }
        // What was lost meanwhile is made good by telling who is there now.
        let census = census || self.failing.is_some();
        let written = self.try_write(lines, census, most);
        self.lost = match &written {
            Ok(()) => None,
            Err(_) => self.lost.or_else(|| first_moment(lines)),
        };
        self.note(written);
    }

    fn try_write(&mut self, lines: &str, census: bool, most: u64) -> Result<(), Failure> {
        let path = self.folder.clone();
        let fail = |error: SysError| Failure::new(Stage::Daemon, &path, error);
        // Nothing is made before there is something to tell.
        let folder = match lines.is_empty() {
            false => make_folder(&self.folder),
            true => open_folder(&self.folder),
        };
        let folder = match folder {
            Err(error) if error.errno == Errno::NOENT && lines.is_empty() => return Ok(()),
            folder => folder.map_err(fail)?,
        };
        let told = match census {
            true => self.census()?,
            false => String::new(),
        };
        let text = format!("{told}{lines}");
        let half = most.div_euclid(2).max(self.least.saturating_mul(2));
        match append_lines(&folder, FILE, &text, END_OF_TORN_LINE, half) {
            Ok(true) => return Ok(()),
            Ok(false) if lines.is_empty() => return Ok(()),
            Ok(false) => {}
            // It is full. Whoever is killed between this and the next finds no file, and begins one.
            Err(error) if error.errno == Errno::FBIG => {
                rename_file(&folder, FILE, OLD).map_err(fail)?;
            }
            Err(error) => return Err(fail(error)),
        }
        let told = match census {
            true => told,
            false => self.census()?,
        };
        self.least = u64::try_from(told.len()).unwrap_or(u64::MAX);
        let whole = format!("{HEADER}{told}{lines}");
        replace_whole(&folder, FILE, whole.as_bytes()).map_err(fail)
    }

    /// Who is alive, and before that what is not known. The leases on disk say it: each is there before its beginning is told, and its end is told when it
    /// is there no more.
    fn census(&self) -> Result<String, Failure> {
        let when = now(&self.boot);
        let found = lease::load_all()?;
        let leases = found.into_iter().filter_map(|found| found.lease.ok());
        let there: Vec<(Line, bool)> = leases
            .filter(|lease| is_told(lease, &self.boot))
            .map(|lease| (begun(&lease), lease.state == State::Quarantined))
            .collect();
        let alive = alive(&when, &there);
        let Some(since) = self.lost else {
            return Ok(alive);
        };
        let event = Event::Lost { since };
        Ok(format!("{}{alive}", Line { when, event }))
    }

    /// Tells once that writing fails, and once that it goes on.
    fn note(&mut self, written: Result<(), Failure>) {
        let path = format_args!("{}/{FILE}", self.folder);
        let failing = written.err().map(|failure| {
            format!(
                "{path} cannot be written, so nobody will know later who had which number: {}",
                failure.source
            )
        });
        match (&self.failing, &failing) {
            (None, Some(why)) => tracing::warn!("{why}"),
            (Some(_), None) => tracing::info!("{path} is written again"),
            _ => {}
        }
        self.failing = failing.map(|why| (why, Instant::now()));
    }
}
