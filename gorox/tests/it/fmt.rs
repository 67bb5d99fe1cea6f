//! `gorox fmt`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use hemi_test::TempDir;

use crate::cli::gorox;

const UNTIDY: &str =
    "stage { // all\n webapp \"w\" {\n.hostnames=(\"*\")\n  rule{ .returnCode=404 }}\n}";
const TIDY: &str = "stage { // all
	webapp \"w\" {
		.hostnames = (\"*\")
		rule { .returnCode = 404 }
	}
}
";

#[test]
fn the_canonical_form_is_printed_and_stays_as_it_is() {
    let dir = TempDir::new().unwrap();
    for text in [UNTIDY, TIDY] {
        let file = dir.write("test.conf", text).unwrap();
        let ended = gorox(&["fmt", file.to_str().unwrap()]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), TIDY), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "only printed");
    }
}

#[test]
fn files_are_written_where_that_changes_them() {
    let dir = TempDir::new().unwrap();
    let untidy = dir.write("untidy.conf", UNTIDY).unwrap();
    let tidy = dir.write("tidy.conf", TIDY).unwrap();
    // A config may hold secrets.
    fs::set_permissions(&untidy, Permissions::from_mode(0o600)).unwrap();
    symlink("untidy.conf", dir.path().join("link.conf")).unwrap();
    let link = dir.path().join("link.conf");
    let args = ["fmt", "--write", link.to_str().unwrap(), tidy.to_str().unwrap()];
    let ended = gorox(&args);
    let expected = format!("{}\n", link.display());
    assert_eq!((ended.code, ended.stdout), (Some(0), expected), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&untidy).unwrap(), TIDY);
    assert_eq!(fs::metadata(&untidy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(link.is_symlink());
    assert_eq!(gorox(&args).stdout, "");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left behind");
}

#[test]
fn a_broken_file_is_left_alone_and_the_others_are_done() {
    let dir = TempDir::new().unwrap();
    let broken = dir.write("broken.conf", "stage { .a = }").unwrap();
    let untidy = dir.write("untidy.conf", UNTIDY).unwrap();
    let missing = dir.path().join("missing.conf");
    let files = [&broken, &missing, &untidy].map(|file| file.to_str().unwrap());
    let ended = gorox(&["fmt", "--write", files[0], files[1], files[2]]);
    assert_eq!(ended.code, Some(1));
    for message in [format!("{}:1:12: error: ", files[0]), format!("cannot read {}", files[1])] {
        assert!(ended.stderr.contains(&message), "{}", ended.stderr);
    }
    assert_eq!(fs::read_to_string(broken).unwrap(), "stage { .a = }");
    assert_eq!(fs::read_to_string(untidy).unwrap(), TIDY);
}

#[test]
fn what_is_not_canonical_is_told_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let tidy = dir.write("tidy.conf", "stage {\n\t.a = 1\n}\n").unwrap().display().to_string();
    let other = dir.write("other.conf", "stage { .a=1 }").unwrap().display().to_string();
    assert_eq!(gorox(&["fmt", "--check", &tidy]).code, Some(0));
    let ended = gorox(&["fmt", "--check", &tidy, &other]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr, format!("{other} is not in canonical form\n"));
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "stage { .a=1 }");
}

#[test]
fn a_config_is_dumped_with_what_it_includes() {
    let dir = TempDir::new().unwrap();
    let root = dir.write("root.conf", "stage { <sites/*.conf> .a = 1 }").unwrap();
    dir.write("sites/1.conf", "webapp \"w\" { .hostnames = (\"*\") }  # the first").unwrap();
    let ended = gorox(&["dump", &root.display().to_string()]);
    let expected = "stage {\n\twebapp \"w\" { .hostnames = (\"*\") } # the first\n\t.a = 1\n}\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), expected, ""));
    assert_eq!(gorox(&["dump", "no-such.conf"]).code, Some(1));
}
