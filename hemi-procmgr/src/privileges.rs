//! Becoming another user, who may do less.
//!
//! To be done before the process has other threads: each has rights of its own, and new ones get those of
//! the thread that starts them. Users and groups are those of `/etc/passwd` and `/etc/group`.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::process::{DumpableBehavior, Gid, Uid, geteuid, set_dumpable_behavior};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// A user, with all groups that he is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    name: String,
    pub(crate) uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl User {
    /// The user of that name or number, in his own group or another.
    pub(crate) fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let read = |path| fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}"));
        Self::among(&read("/etc/passwd")?, &read("/etc/group")?, user, group)
    }

    /// The formats are those of passwd(5) and group(5).
    fn among(users: &str, all: &str, user: &str, group: Option<&str>) -> Result<Self, String> {
        let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let number = user.parse::<u32>().ok();
        let known = users.lines().map(fields).find_map(|line| match line.as_slice() {
            [name, _, uid, gid, ..] => {
                let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
                (name == user || number == Some(uid)).then(|| (name.clone(), uid, gid))
            }
            _ => None,
        });
        let groups: Vec<(String, u32, String)> = all
            .lines()
            .map(fields)
            .filter_map(|line| match line.as_slice() {
                [name, _, gid, members] => Some((name.clone(), gid.parse().ok()?, members.clone())),
                _ => None,
            })
            .collect();
        let group = group.map(|group| {
            let known = groups.iter().find(|(name, ..)| name == group).map(|(_, gid, _)| *gid);
            known.or_else(|| group.parse().ok()).ok_or(format!("there is no group `{group}`"))
        });
        let group = group.transpose()?;
        let (name, uid, gid) = match (known, number, group) {
            (Some((name, uid, own)), _, group) => (name, uid, group.unwrap_or(own)),
            (None, Some(uid), Some(gid)) => (user.to_owned(), uid, gid),
            (None, Some(_), None) => {
                return Err(format!("user {user} has no name: say its group too"));
            }
            (None, None, _) => return Err(format!("there is no user `{user}`")),
        };
        let member = |members: &str| members.split(',').any(|member| member == name);
        let also = groups.iter().filter(|(_, _, members)| member(members)).map(|(_, gid, _)| *gid);
        let mut groups: Vec<u32> = also.chain([gid]).collect();
        groups.sort_unstable();
        groups.dedup();
        Ok(Self { name, uid, gid, groups })
    }

    /// Makes this process one of his, for good: it gets no rights back, not by programs it runs either,
    /// and its memory is not to be looked at by others of his.
    pub(crate) fn assume(&self) -> Result<(), String> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let cannot = |e| format!("cannot become user {}: {e}", self.name);
        let now = geteuid();
        if !now.is_root() && now != uid {
            return Err(format!(
                "cannot become user {}: only root can; start it as root, or as that user",
                self.name
            ));
        }
        if now.is_root() {
            let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
            set_thread_groups(&groups).map_err(cannot)?;
            set_thread_res_gid(gid, gid, gid).map_err(cannot)?;
            set_thread_res_uid(uid, uid, uid).map_err(cannot)?;
        }
        set_no_new_privs(true).map_err(cannot)?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(cannot)
    }

    /// Makes a directory in which he can write, or finds that this one is.
    pub(crate) fn provide(&self, dir: &Path) -> Result<(), String> {
        let cannot = |e| format!("cannot make {} for user {}: {e}", dir.display(), self.name);
        match fs::metadata(dir) {
            Ok(meta) => {
                let class = match (meta.uid() == self.uid, self.groups.contains(&meta.gid())) {
                    (true, _) => 6,
                    (false, true) => 3,
                    (false, false) => 0,
                };
                let may = self.uid == 0 || (meta.mode() >> class) & 0o3 == 0o3;
                may.then_some(()).ok_or_else(|| {
                    let (dir, name) = (dir.display(), &self.name);
                    format!(
                        "user {name} cannot write in {dir}: `chgrp {} {dir} && chmod 1770 {dir}` helps",
                        self.gid
                    )
                })
            }
            Err(_) => {
                if let Some(outer) = dir.parent() {
                    fs::create_dir_all(outer).map_err(cannot)?;
                }
                fs::DirBuilder::new().mode(0o750).create(dir).map_err(cannot)?;
                if !geteuid().is_root() {
                    return Ok(());
                }
                // What root keeps there can't be moved away or replaced by him: hence the sticky bit.
                chown(dir, None, Some(self.gid))
                    .and_then(|()| fs::set_permissions(dir, PermissionsExt::from_mode(0o1770)))
                    .map_err(cannot)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\nbad\n";
    const GROUPS: &str = "root:x:0:\nweb:x:34:\nkeys:x:50:other,web\nadm:x:4:webb\n";

    fn find(user: &str, group: Option<&str>) -> Result<User, String> {
        User::among(USERS, GROUPS, user, group)
    }

    #[test]
    fn users_are_known_by_name_and_by_number() {
        let web = User { name: "web".to_owned(), uid: 33, gid: 34, groups: vec![34, 50] };
        assert_eq!(find("web", None), Ok(web.clone()));
        assert_eq!(find("33", None), Ok(web.clone()));
        let other = User { gid: 0, groups: vec![0, 50], ..web };
        assert_eq!(find("web", Some("root")), Ok(other.clone()));
        assert_eq!(find("web", Some("0")), Ok(other));
        let nameless = User { name: "70".to_owned(), uid: 70, gid: 71, groups: vec![71] };
        assert_eq!(find("70", Some("71")), Ok(nameless));
        for (user, group, message) in [
            ("wbe", None, "there is no user `wbe`"),
            ("web", Some("kyes"), "there is no group `kyes`"),
            ("70", None, "user 70 has no name: say its group too"),
            ("", None, "there is no user ``"),
        ] {
            assert_eq!(find(user, group), Err(message.to_owned()));
        }
    }

    #[test]
    fn directories_must_be_writable() {
        let dir = std::env::temp_dir().join(format!("hemi-privileges-{}", std::process::id()));
        let nobody = User { name: "n".to_owned(), uid: 65_533, gid: 65_533, groups: vec![65_533] };
        let me = User { uid: geteuid().as_raw(), ..nobody.clone() };
        me.provide(&dir.join("a/b")).unwrap();
        me.provide(&dir.join("a/b")).unwrap();
        let refused = nobody.provide(&dir.join("a")).unwrap_err();
        fs::remove_dir_all(&dir).unwrap();
        assert!(refused.contains("user n cannot write in"), "{refused}");
    }
}
