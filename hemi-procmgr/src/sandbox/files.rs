//! Which files can be opened.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hemi_core::Needs;
use hemi_core::config::{Constants, Source};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};

/// The newest version of Landlock that is made use of: of Linux 6.10.
const VERSION: ABI = ABI::V5;

/// What resolving names, checking certificates and telling the time need of a system, and what the program
/// looks at of itself.
const SYSTEM: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/dev/urandom",
    "/proc/self",
    "/proc/sys/net/core/somaxconn",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// Directories that are too much to be opened for the sake of one file in them.
const BROAD: &[&str] = &["/", "/etc", "/root", "/home", "/run", "/tmp", "/usr", "/var"];

/// What a config has need of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    read: BTreeSet<PathBuf>,
    written: BTreeSet<PathBuf>,
}

impl Files {
    pub(crate) fn new(needs: Needs, source: &Source, constants: &Constants) -> Self {
        let mut read: BTreeSet<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        read.extend(needs.read.iter().flat_map(|path| with_successors(path)));
        if let Source::File(config) = source {
            // For the next reload.
            read.extend(with_successors(config));
        }
        let mut written = BTreeSet::from([PathBuf::from("/dev/null")]);
        written.extend(needs.written.iter().flat_map(|path| match path.is_dir() {
            true => Some(path.clone()),
            // It is renamed, and begun anew.
            false => path.parent().map(Path::to_owned),
        }));
        for dir in [&constants.log_dir, &constants.tmp_dir, &constants.var_dir] {
            written.insert(dir.clone());
        }
        Self { read, written }
    }

    /// Of what another config has need of, something that is forbidden here.
    pub(crate) fn lacks<'a>(&self, other: &'a Self) -> Option<&'a Path> {
        let beneath =
            |path: &Path, all: &BTreeSet<PathBuf>| path.ancestors().any(|a| all.contains(a));
        let read = |path: &Path| beneath(path, &self.read) || beneath(path, &self.written);
        let unread = other.read.iter().find(|path| path.exists() && !read(path));
        let unwritten = || other.written.iter().find(|path| !beneath(path, &self.written));
        unread.or_else(unwritten).map(PathBuf::as_path)
    }

    /// Forbids all others.
    pub(super) fn confine(&mut self) -> Result<(), String> {
        for dir in &self.written {
            // That it can't be made will be told by who needs it.
            let _ = fs::create_dir_all(dir);
        }
        // What is not there can't be allowed.
        self.read.retain(|path| path.exists());
        self.written.retain(|path| path.exists());
        match self.enforce() {
            Ok(RulesetStatus::FullyEnforced) => Ok(()),
            Ok(RulesetStatus::PartiallyEnforced) => {
                Err("this kernel can forbid files only in part (Landlock is older than that of Linux 6.10)"
                    .to_owned())
            }
            Ok(RulesetStatus::NotEnforced) => {
                Err("this kernel can't forbid files (it has no Landlock, or it is turned off)".to_owned())
            }
            Err(e) => Err(format!("files can't be forbidden: {e}")),
        }
    }

    fn enforce(&self) -> Result<RulesetStatus, RulesetError> {
        let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        let all = AccessFs::from_all(VERSION);
        let write = all & !AccessFs::Execute;
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .create()?
            .add_rules(path_beneath_rules(&self.read, read))?
            .add_rules(path_beneath_rules(&self.written, write))?;
        Ok(ruleset.restrict_self()?.ruleset)
    }
}

/// A directory as it is. Of a file, the directory: what is put in its place later is to be read too. Of a
/// link, what it leads to as well.
fn with_successors(path: &Path) -> Vec<PathBuf> {
    let around = |path: &Path| match path.parent() {
        Some(outer) if path.is_file() && !BROAD.iter().any(|broad| outer == Path::new(broad)) => {
            outer.to_owned()
        }
        _ => path.to_owned(),
    };
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    vec![around(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned())), around(&real)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_allowed_with_those_that_take_their_place() {
        let dir = std::env::temp_dir().join(format!("hemi-sandbox-{}", std::process::id()));
        fs::create_dir_all(dir.join("live")).unwrap();
        fs::create_dir_all(dir.join("archive")).unwrap();
        fs::write(dir.join("archive/1.pem"), "").unwrap();
        std::os::unix::fs::symlink("../archive/1.pem", dir.join("live/a.pem")).unwrap();
        let link = with_successors(&dir.join("live/a.pem"));
        let whole = with_successors(&dir.join("live"));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(link, [dir.join("live"), dir.join("archive")]);
        assert_eq!(whole, [dir.join("live"), dir.join("live")]);
        assert_eq!(with_successors(Path::new("/etc/passwd"))[0], Path::new("/etc/passwd"));
    }

    #[test]
    fn what_is_lacking_is_found() {
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        let files =
            |read: &[&str], written: &[&str]| Files { read: set(read), written: set(written) };
        let own = files(&["/usr/share"], &["/tmp"]);
        assert_eq!(
            own.lacks(&files(&["/usr/share", "/usr/share/zoneinfo", "/tmp"], &["/tmp/a"])),
            None
        );
        assert_eq!(own.lacks(&files(&["/no/such"], &[])), None);
        assert_eq!(own.lacks(&files(&["/usr"], &[])), Some(Path::new("/usr")));
        assert_eq!(own.lacks(&files(&[], &["/usr/share"])), Some(Path::new("/usr/share")));
    }
}
