//! Temporary directories, and web roots built in them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new directory below the system's temporary one, removed with all it holds on drop.
///
/// Others may read it, so that a server that gives up root can still serve from it.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a directory whose name no one else uses.
    ///
    /// # Errors
    /// What the system says when it cannot be made.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("hemi-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {
                    let dir = Self(path);
                    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
                    return Ok(dir);
                }
                // Left behind by a process that was killed and had the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is: an absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file below it, with the directories that lead there, and returns its path.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.place(name.as_ref())?;
        fs::write(&path, contents)?;
        Ok(path)
    }

    /// The path of `name` below it, once the directories that lead there exist.
    fn place(&self, name: &Path) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here, and a panic would hide the test's own.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A web root in a temporary directory, built file by file.
#[derive(Debug)]
pub struct Site(TempDir);

impl Site {
    /// An empty site.
    ///
    /// # Errors
    /// What the system says when its directory cannot be made.
    pub fn new() -> io::Result<Self> {
        TempDir::new().map(Self)
    }

    /// Adds a file with these contents.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn file(self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<Self> {
        self.0.write(name, contents)?;
        Ok(self)
    }

    /// Adds a file of `size` zero bytes that takes no room on the disk.
    ///
    /// # Errors
    /// What the system says when it cannot be written.
    pub fn sparse_file(self, name: impl AsRef<Path>, size: u64) -> io::Result<Self> {
        File::create(self.0.place(name.as_ref())?)?.set_len(size)?;
        Ok(self)
    }

    /// Adds a symbolic link at `name` that points to `target`, which need not exist.
    ///
    /// # Errors
    /// What the system says when it cannot be made.
    pub fn link(self, name: impl AsRef<Path>, target: impl AsRef<Path>) -> io::Result<Self> {
        symlink(target, self.0.place(name.as_ref())?)?;
        Ok(self)
    }

    /// The directory to serve.
    pub fn root(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_holds_what_was_added_and_leaves_nothing_behind() -> io::Result<()> {
        let site = Site::new()?
            .file("a/b.txt", "text")?
            .sparse_file("big.bin", 3 << 30)?
            .link("link.txt", "a/b.txt")?;
        let root = site.root().to_owned();
        assert_eq!(fs::read(root.join("link.txt"))?, b"text");
        assert_eq!(fs::metadata(root.join("big.bin"))?.len(), 3 << 30);
        drop(site);
        assert!(!root.exists());
        Ok(())
    }

    #[test]
    fn two_directories_are_never_the_same() -> io::Result<()> {
        assert_ne!(TempDir::new()?.path(), TempDir::new()?.path());
        let (one, other) = (TempDir::new()?, TempDir::new()?);
        assert_ne!(one.path(), other.path());
        Ok(())
    }
}
