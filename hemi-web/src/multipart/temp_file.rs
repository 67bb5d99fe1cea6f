//! A file that vanishes unless it is given a place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hemi_core::io::SharedFile;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tokio::runtime::Handle;

/// A file without a name where the system has such ones, else with a name of no meaning. Only its owner
/// may read it.
#[derive(Debug)]
pub(crate) struct TempFile {
    /// There until drop.
    file: Option<SharedFile>,
    name: Name,
}

#[derive(Debug)]
enum Name {
    None,
    Temporary(PathBuf),
    /// The one it was to have in the end.
    Last,
}

impl TempFile {
    /// A new file in this directory, which is made if it is missing.
    pub(super) fn create_within(dir: &Path) -> io::Result<Self> {
        match Self::create(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
                Self::create(dir)
            }
            created => created,
        }
    }

    fn create(dir: &Path) -> io::Result<Self> {
        // Such a file gets its name by way of /proc.
        if Path::new(DESCRIPTORS).exists() {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
                Ok(fd) => return Ok(Self::of(fd.into(), Name::None)),
                // What file systems and kernels say that don't have it.
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Self::create_named(dir)
    }

    fn create_named(dir: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let (file, path) = unused(dir, |path| options.open(path))?;
        Ok(Self::of(file, Name::Temporary(path)))
    }

    fn of(file: File, name: Name) -> Self {
        Self { file: Some(file.into()), name }
    }

    fn file(&self) -> &SharedFile {
        self.file.as_ref().expect("it is there until drop")
    }

    /// The open file. Its temporary name is lost.
    pub(crate) fn into_file(self) -> SharedFile {
        self.file().clone()
    }

    /// Moves it to its place, over what is there; by a copy if that is in another file system.
    pub(super) fn persist(mut self, path: &Path) -> io::Result<()> {
        match self.place(path) {
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                (&**self.file()).rewind()?;
                write_to(path, |copy| io::copy(&mut &**self.file(), copy).map(drop))
            }
            placed => placed,
        }
    }

    fn place(&mut self, path: &Path) -> io::Result<()> {
        match &self.name {
            Name::Temporary(name) => fs::rename(name, path)?,
            Name::None => match self.link(path) {
                // A link does not take the place of a file, but a name does.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    let ((), name) = unused(dir_of(path), |name| self.link(name))?;
                    fs::rename(&name, path).inspect_err(|_| drop(fs::remove_file(&name)))?;
                }
                linked => linked?,
            },
            Name::Last => {}
        }
        self.name = Name::Last;
        Ok(())
    }

    fn link(&self, path: &Path) -> io::Result<()> {
        let descriptor = format!("{DESCRIPTORS}/{}", self.file().as_raw_fd());
        Ok(rustix::fs::linkat(CWD, descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }
}

const DESCRIPTORS: &str = "/proc/self/fd";

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&**self.file()).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let name = match std::mem::replace(&mut self.name, Name::Last) {
            Name::Last => return,
            Name::Temporary(name) => Some(name),
            Name::None => None,
        };
        let file = self.file.take();
        let end = move || {
            if let Some(name) = name {
                // What can't be removed is left to who cleans the directory.
                let _ = fs::remove_file(name);
            }
            drop(file);
        };
        // A core does not wait until the blocks of a long file are free.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

/// Writes a new file and moves it to its place, over what is there.
pub(super) fn write_to(
    path: &Path,
    write: impl FnOnce(&mut TempFile) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = TempFile::create(dir_of(path))?;
    write(&mut file)?;
    file.place(path)
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes something by a name in this directory that nothing has.
fn unused<T>(dir: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".upload-{}-{number}", std::process::id()));
        match make(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (made, path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hemi_test::TempDir;

    use super::*;

    type Create = fn(&Path) -> io::Result<TempFile>;

    const KINDS: [Create; 2] = [TempFile::create_within, TempFile::create_named];

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        entries
            .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
            .collect()
    }

    fn written(create: Create, dir: &Path) -> TempFile {
        let mut file = create(dir).expect("a file");
        file.write_all(b"content").expect("written");
        file
    }

    #[test]
    fn they_vanish_or_stay() {
        for create in KINDS {
            let dir = TempDir::new().expect("a directory");
            drop(written(create, dir.path()));
            assert_eq!(names(dir.path()), Vec::<String>::new());
            let place = dir.path().join("place");
            for _ in 0..2 {
                written(create, dir.path()).persist(&place).expect("moved");
                assert_eq!(names(dir.path()), ["place"]);
                assert_eq!(fs::read(&place).expect("read"), b"content");
                let mode = fs::metadata(&place).expect("there").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                fs::write(&place, "what was there").expect("written");
            }
        }
    }

    #[test]
    fn they_move_to_other_file_systems() {
        let dir = TempDir::new().expect("a directory");
        let other = Path::new("/dev/shm");
        let device = |path| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
        if device(other).is_none_or(|other| Some(other) == device(dir.path())) {
            return;
        }
        for create in KINDS {
            let place = other.join(format!("hemi-moved-{}", std::process::id()));
            written(create, dir.path()).persist(&place).expect("copied");
            assert_eq!(fs::read(&place).expect("read"), b"content");
            fs::remove_file(&place).expect("removed");
            assert_eq!(names(dir.path()), Vec::<String>::new());
        }
    }

    #[test]
    fn directories_that_are_missing() {
        let dir = TempDir::new().expect("a directory");
        let missing = dir.path().join("a/b");
        for create in KINDS {
            let file = written(TempFile::create_within, &missing);
            assert!(file.persist(&dir.path().join("c/place")).is_err());
            assert!(written(create, dir.path()).persist(dir.path()).is_err());
            assert_eq!(names(&missing), Vec::<String>::new());
        }
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn the_open_file_outlives_its_name() {
        for create in KINDS {
            let dir = TempDir::new().expect("a directory");
            let file: SharedFile = written(create, dir.path()).into_file();
            assert_eq!(names(dir.path()), Vec::<String>::new());
            let mut content = [0; 7];
            std::os::unix::fs::FileExt::read_exact_at(&*file, &mut content, 0).expect("read");
            assert_eq!(&content, b"content");
        }
    }
}
