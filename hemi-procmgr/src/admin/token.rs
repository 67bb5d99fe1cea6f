//! The tokens that open the doors of the admin servers, and sessions that begin with them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use hemi_core::status::Timestamp;
use hemi_web::CookieKey;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest, Sha512};

/// A token. Whoever knows it may do all there is to do; whoever knows its viewer's token, look.
pub(crate) struct Token {
    digest: [u8; 64],
    viewer: Option<[u8; 64]>,
    key: CookieKey,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// See how all stands.
    Look,
    /// Give commands, too.
    Act,
}

impl Right {
    /// How a session says it.
    fn sign(self) -> char {
        match self {
            Self::Look => 'l',
            Self::Act => 'a',
        }
    }
}

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3600);

/// Bytes of a new token, before they are written in hexadecimal.
const RANDOM: usize = 32;

/// Characters of a token, at least: what is shorter could be guessed.
const SHORTEST: usize = 16;

impl Token {
    /// This one.
    ///
    /// # Errors
    /// If it is too short.
    pub(crate) fn new(token: &str) -> Result<Self, String> {
        if token.len() < SHORTEST {
            return Err(format!("a token needs {SHORTEST} characters at least"));
        }
        let key = CookieKey::from_bytes(&Sha512::digest(format!("sessions of {token}")));
        Ok(Self { digest: digest(token), viewer: None, key: key.map_err(|e| e.to_string())? })
    }

    /// The same with a token, this one, for those who may only look.
    pub(crate) fn viewer(self, viewer: &Self) -> Self {
        Self { viewer: Some(viewer.digest), ..self }
    }

    /// The one in a file that only its owner may read; a new one is put there if there is none.
    ///
    /// # Errors
    /// When it can't be read or written, or others may read it.
    pub(crate) fn in_file(path: &Path) -> Result<Self, String> {
        let cannot = |e: io::Error| format!("cannot keep a token in `{}`: {e}", path.display());
        match make(path) {
            Ok(token) => Self::new(&token),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let mut options = OpenOptions::new();
                options.read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
                let mut file = options.open(path).map_err(cannot)?;
                let meta = file.metadata().map_err(cannot)?;
                // Who serves may be another user, and able to write in the directory.
                if meta.uid() != geteuid().as_raw() {
                    return Err(format!("`{}` belongs to somebody else", path.display()));
                }
                if meta.mode() & 0o077 != 0 {
                    return Err(format!("others may read `{0}`: chmod 600 {0}", path.display()));
                }
                let mut token = String::new();
                file.read_to_string(&mut token).map_err(cannot)?;
                Self::new(token.trim()).map_err(|e| format!("`{}`: {e}", path.display()))
            }
            Err(e) => Err(cannot(e)),
        }
    }

    /// What somebody may do who has said this. Takes the same time whatever is wrong.
    pub(super) fn right_of(&self, said: &str) -> Option<Right> {
        let said = digest(said);
        let is = |known: &[u8; 64]| {
            known.iter().zip(said).fold(0, |differs, (known, said)| differs | (known ^ said)) == 0
        };
        let viewer = self.viewer.as_ref().is_some_and(is);
        is(&self.digest).then_some(Right::Act).or(viewer.then_some(Right::Look))
    }

    /// The value of a cookie of this name for who has shown a token now.
    pub(super) fn session(&self, cookie: &str, right: Right) -> String {
        let ends = Timestamp::now().after(SESSION).0;
        self.key.sign(cookie, &format!("{}{ends}", right.sign()))
    }

    /// What that gives the right to, if it is one, and not over.
    pub(super) fn right_by(&self, cookie: &str, value: &str) -> Option<Right> {
        let session = self.key.verify(cookie, value)?;
        let (right, ends) = [Right::Look, Right::Act]
            .into_iter()
            .find_map(|right| Some((right, session.strip_prefix(right.sign())?)))?;
        (Timestamp::now() < Timestamp(ends.parse().ok()?)).then_some(right)
    }
}

fn digest(token: &str) -> [u8; 64] {
    Sha512::digest(token).into()
}

/// Makes a token and its file.
fn make(path: &Path) -> io::Result<String> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut bytes = [0; RANDOM];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(format!("{token}\n").as_bytes())?;
    Ok(token)
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hemi_test::TempDir;

    use super::*;

    #[test]
    fn a_file_is_made_once_and_read_by_its_owner_only() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("var/token");
        let made = Token::in_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 2 * RANDOM + 1);
        let again = Token::in_file(&path).unwrap();
        for token in [&made, &again] {
            assert_eq!(token.right_of(text.trim()), Some(Right::Act));
        }
        assert_eq!([made.right_of(""), made.right_of(&text.trim()[1..])], [None; 2]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Token::in_file(&path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short\n").unwrap();
        assert!(Token::in_file(&path).unwrap_err().contains("16 characters"));
    }

    #[test]
    fn sessions_are_of_one_token_and_end() {
        let (one, other) =
            (Token::new(&"a".repeat(16)).unwrap(), Token::new(&"b".repeat(16)).unwrap());
        for right in [Right::Look, Right::Act] {
            let session = one.session("s", right);
            assert_eq!(one.right_by("s", &session), Some(right));
            assert_eq!([other.right_by("s", &session), one.right_by("t", &session)], [None; 2]);
        }
        let over = one.key.sign("s", "a1000");
        assert_eq!([one.right_by("s", &over), one.right_by("s", "a1000")], [None; 2]);
    }

    #[test]
    fn who_knows_the_token_of_viewers_may_look() {
        let (one, other) = ("a".repeat(16), "b".repeat(16));
        let token = Token::new(&one).unwrap().viewer(&Token::new(&other).unwrap());
        assert_eq!(token.right_of(&one), Some(Right::Act));
        assert_eq!(token.right_of(&other), Some(Right::Look));
        assert_eq!(token.right_of(&"c".repeat(16)), None);
    }
}
