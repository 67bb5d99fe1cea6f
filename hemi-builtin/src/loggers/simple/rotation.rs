//! When a log is put aside, and what becomes of those that were.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hemi_core::config::Size;
use hemi_core::{Explain, Shut, clock};
use hemi_proto::date::format_iso8601;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Deserialize;

use crate::revisers::{Encoder, GzipEncoder, Then};

/// Properties of logs that are rotated.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct RotationConfig {
    /// Rotate the file before it has more bytes than this; 0 for no such limit. A single line may be
    /// longer.
    pub rotate_size: Size,
    /// Rotate the file with the first line of another day, or hour, in UTC.
    pub rotate_every: Option<Every>,
    /// Old files that are kept, at most.
    pub keep: u32,
    /// Old files that were rotated longer ago than this are removed; 0s for no such limit.
    pub max_age: Duration,
    /// Whether old files are compressed, as `.gz`; the newest is when there is another.
    pub compress: bool,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            rotate_size: Size(0),
            rotate_every: None,
            keep: 10,
            max_age: Duration::ZERO,
            compress: false,
        }
    }
}

/// How often a log is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum Every {
    /// With every day.
    Day,
    /// With every hour.
    Hour,
}

impl RotationConfig {
    /// Whether files are never rotated.
    pub(super) fn is_off(&self) -> bool {
        self.rotate_size == Size(0) && self.rotate_every.is_none()
    }
}

/// A file that is being compressed, and was not written to for so long, was given up.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// When a file is rotated.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    size: u64,
    /// Seconds.
    every: Option<u64>,
}

impl When {
    pub(super) fn new(config: &RotationConfig) -> Self {
        let every = config.rotate_every.map(|every| match every {
            Every::Day => 24 * 3600,
            Every::Hour => 3600,
        });
        Self { size: config.rotate_size.0, every }
    }

    /// The hour or day of a moment; always the same if that does not matter.
    pub(super) fn period(self, at: SystemTime) -> u64 {
        let second = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.every.map_or(0, |every| second / every)
    }

    /// How many bytes of these lines fit into a file that has `size`, in whole lines; into an empty one,
    /// at least the first line.
    pub(super) fn fitting(self, lines: &[u8], size: u64) -> usize {
        let room = usize::try_from(self.size.saturating_sub(size)).unwrap_or(usize::MAX);
        if self.size == 0 || lines.len() <= room {
            return lines.len();
        }
        let (fits, more) = lines.split_at(room);
        match memchr::memrchr(b'\n', fits) {
            Some(end) => end + 1,
            None if size > 0 => 0,
            None => memchr::memchr(b'\n', more).map_or(lines.len(), |end| room + end + 1),
        }
    }
}

/// Renames a log that is put aside, to a name that tells the time and that no other file has.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    let mut at = clock::calendar();
    loop {
        let old = old_name(path, at);
        match renameat_with(CWD, path, CWD, &old, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => at += Duration::from_millis(1),
            // Some file systems don't know how to rename without replacing.
            Err(Errno::INVAL | Errno::NOSYS) if !old.try_exists()? => {
                return fs::rename(path, old);
            }
            Err(Errno::INVAL | Errno::NOSYS) => at += Duration::from_millis(1),
            Err(e) => return Err(e.into()),
        }
    }
}

/// `access.log.20261121T130509.123Z`
fn old_name(path: &Path, at: SystemTime) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(stamp(at));
    name.into()
}

/// `20261121T130509.123Z`: the order of such texts is that of the times.
fn stamp(at: SystemTime) -> String {
    let text = format_iso8601(at);
    text.iter().filter(|b| !b"-:".contains(b)).map(|b| char::from(*b)).collect()
}

/// An old file; older ones are less.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    stamp: String,
    form: Form,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Plain,
    Compressed,
    /// Being compressed, or given up.
    Part,
}

/// What becomes of old files.
#[derive(Clone, Debug)]
pub(super) struct Tidy {
    keep: usize,
    max_age: Duration,
    compress: bool,
}

impl Tidy {
    pub(super) fn new(config: &RotationConfig) -> Self {
        let keep = usize::try_from(config.keep).unwrap_or(usize::MAX);
        Self { keep, max_age: config.max_age, compress: config.compress }
    }

    /// Removes old files of the log at `path`, and compresses those that stay, until `shut`.
    pub(super) fn tidy(&self, path: &Path, shut: &Shut) -> io::Result<()> {
        let (parts, mut olds): (Vec<Old>, _) =
            find(&path.canonicalize()?)?.into_iter().partition(|old| old.form == Form::Part);
        for part in parts {
            if part.path.metadata()?.modified()?.elapsed().is_ok_and(|age| age > GIVEN_UP) {
                fs::remove_file(part.path)?;
            }
        }
        olds.sort();
        let too_many = olds.len().saturating_sub(self.keep);
        let too_old = match self.max_age {
            Duration::ZERO => 0,
            age => {
                let oldest = stamp(clock::calendar().checked_sub(age).unwrap_or(UNIX_EPOCH));
                olds.partition_point(|old| old.stamp < oldest)
            }
        };
        for old in olds.drain(..too_many.max(too_old)) {
            fs::remove_file(old.path)?;
        }
        // Of the newest somebody may not have noticed yet that it was put aside.
        olds.pop();
        for old in olds.iter().filter(|old| self.compress && old.form == Form::Plain) {
            if !compress(&old.path, shut)? {
                break;
            }
        }
        Ok(())
    }
}

/// The old files of a log.
fn find(path: &Path) -> io::Result<Vec<Old>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let mut olds = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let rest = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        let rest = rest.strip_prefix(name.as_encoded_bytes());
        if let Some((stamp, form)) = rest.and_then(old_name_of) {
            olds.push(Old { stamp, form, path });
        }
    }
    Ok(olds)
}

/// What stands after the name of a log: `.20261121T130509.123Z`, and `.gz` if it is compressed.
fn old_name_of(rest: &[u8]) -> Option<(String, Form)> {
    const SHAPE: &str = ".00000000T000000.000Z";
    let (stamp, rest) = std::str::from_utf8(rest).ok()?.split_at_checked(SHAPE.len())?;
    let is_stamp = stamp.bytes().zip(SHAPE.bytes()).all(|(b, shape)| match shape {
        b'0' => b.is_ascii_digit(),
        shape => b == shape,
    });
    let form = match rest {
        "" => Form::Plain,
        ".gz" => Form::Compressed,
        _ if rest.starts_with(".gz.") && rest.ends_with(".part") => Form::Part,
        _ => return None,
    };
    is_stamp.then(|| (stamp[1..].to_owned(), form))
}

/// Puts a compressed file in the place of a plain one; false if there is no time for that any more.
fn compress(path: &Path, shut: &Shut) -> io::Result<bool> {
    let mut plain = File::open(path)?;
    let meta = plain.metadata()?;
    let with = |end: String| PathBuf::from([path.as_os_str(), end.as_ref()].join(OsStr::new("")));
    let part = with(format!(".gz.{}.part", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(meta.mode() & 0o7777);
    let mut packed = options.open(&part)?;
    let mut encoder = GzipEncoder::thorough();
    let (mut piece, mut out) = (vec![0; 64 << 10], Vec::new());
    loop {
        let len = plain.read(&mut piece)?;
        let then = if len == 0 { Then::End } else { Then::More };
        encoder.encode(&piece[..len], then, &mut out).map_err(io::Error::other)?;
        packed.write_all(&out)?;
        out.clear();
        if len == 0 {
            break;
        }
        if shut.is_cancelled() {
            fs::remove_file(part)?;
            return Ok(false);
        }
    }
    packed.sync_all()?;
    fs::rename(part, with(".gz".into()))?;
    fs::remove_file(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_fit() {
        let when = |size| When { size, every: None };
        for (size, lines, has, fits) in [
            (0, "a\nb\n", 1000, 4),
            (4, "a\nb\n", 0, 4),
            (3, "a\nb\n", 0, 2),
            (4, "a\nb\n", 1, 2),
            (4, "a\nb\n", 3, 0),
            (4, "a\nb\n", 4, 0),
            (4, "a\nb\n", 5, 0),
            (1, "abc\nb\n", 0, 4),
            (1, "abc\nb\n", 1, 0),
        ] {
            assert_eq!(when(size).fitting(lines.as_bytes(), has), fits, "{size} {lines:?} {has}");
        }
    }

    #[test]
    fn names_tell_the_time_and_are_known_again() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_266_309_123);
        let name = old_name(Path::new("/log/a.log"), at);
        assert_eq!(name, Path::new("/log/a.log.20261121T130509.123Z"));
        let stamp = ".20261121T130509.123Z";
        for (rest, form) in [
            ("", Some(Form::Plain)),
            (".gz", Some(Form::Compressed)),
            (".gz.17.part", Some(Form::Part)),
            (".zip", None),
            ("0", None),
        ] {
            let found = old_name_of(format!("{stamp}{rest}").as_bytes());
            assert_eq!(found, form.map(|form| (stamp[1..].to_owned(), form)), "{rest}");
        }
        for other in ["", ".1", ".old", ".2026-11-21", "\u{e9}20261121T130509.123Z"] {
            assert_eq!(old_name_of(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn periods_begin_at_midnight_and_at_full_hours() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let day = When { size: 0, every: Some(86_400) };
        assert_eq!(day.period(at(86_399)), 0);
        assert_eq!(day.period(at(86_400)), 1);
        let never = When { size: 1, every: None };
        assert_eq!(never.period(at(0)), never.period(at(86_400)));
    }
}
