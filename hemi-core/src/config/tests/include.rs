//! Configs of several files.
use std::{fs, path::Path};

use super::constants;
use crate::config::{Error, Source, Tree, load};

/// A directory of its own with files in it, removed at the end.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("hemi-config-{}-{name}", std::process::id()));
        let directory = Self(path);
        for (file, text) in files {
            let file = directory.0.join(file);
            let parent = file.parent().expect("it is in the directory");
            fs::create_dir_all(parent).expect("the directory can be written to");
            fs::write(file, text).expect("the directory can be written to");
        }
        directory
    }

    fn load(&self) -> Result<Tree, Error> {
        load(&Source::File(self.0.join("main.conf")), &constants())
    }

    /// The error, with the directory's name left out.
    fn error(&self) -> String {
        match self.load() {
            Ok(_) => panic!("no error"),
            Err(error) => error.to_string().replace(&format!("{}/", self.0.display()), ""),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What remains is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn signs(tree: &Tree) -> Vec<&str> {
    tree.root().children().map(|child| child.sign()).collect()
}

#[test]
fn includes_files_and_globs() {
    let directory = Directory::new(
        "globs",
        &[
            (
                "main.conf",
                "stage { .a = \"x\" first {} <conf.d/*.conf> <sub/one.conf> last {} <none/*> }",
            ),
            ("conf.d/20.conf", "second {} .b = .a"),
            ("conf.d/10.conf", "# nothing\nzeroth { .c = 1 }\nzeroth {}"),
            ("conf.d/.hidden.conf", "hidden {}"),
            ("conf.d/30.conf~", "backup {}"),
            // Relative to the directory of the root config.
            ("sub/one.conf", "<sub/two.conf>"),
            ("sub/two.conf", "two {}"),
        ],
    );
    let tree = directory.load().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(signs(&tree), ["first", "zeroth", "zeroth", "second", "two", "last"]);
}

#[test]
fn shows_the_way_to_a_mistake() {
    let directory = Directory::new(
        "chain",
        &[
            ("main.conf", "stage {\n\t<a.conf>\n}"),
            ("a.conf", "webapp {\n<b.conf>\n}"),
            ("b.conf", "\n\n.x = 10sec\n"),
        ],
    );
    assert_eq!(
        directory.error(),
        "b.conf:3:6: error: unknown unit `sec` in `10sec`
  |
3 | .x = 10sec
  |      ^^^^^
  = note: included from a.conf:2:1
  = note: included from main.conf:2:2
  = help: did you mean `10s`?
"
    );
}

#[test]
fn refuses_circles_and_what_is_not_there() {
    type Case<'t> = (&'t str, &'t [(&'t str, &'t str)], &'t str);
    let cases: &[Case<'_>] = &[
        (
            "itself",
            &[("main.conf", "stage { <main.conf> }")],
            "main.conf:1:9: error: `main.conf` includes itself",
        ),
        (
            "circle",
            &[
                ("main.conf", "stage { <a.conf> }"),
                ("a.conf", "<b.conf>"),
                ("b.conf", "<./a.conf>"),
            ],
            "help: break the circle a.conf → b.conf → ./a.conf",
        ),
        (
            "missing",
            &[("main.conf", "stage { <a.conf> }")],
            "main.conf:1:9: error: cannot read `a.conf`: No such file",
        ),
        (
            "wildcard",
            &[("main.conf", "stage { <*/a.conf> }")],
            "main.conf:1:9: error: a wildcard stands in a directory",
        ),
        (
            "directory",
            &[("main.conf", "stage { <a> }"), ("a/x", "")],
            "main.conf:1:9: error: cannot read `a`: Is a directory",
        ),
        ("root", &[("other.conf", "")], "error: cannot read `main.conf`: No such file"),
        (
            "duplicate",
            &[("main.conf", "stage { .a = 1 <a.conf> }"), ("a.conf", ".a = 2")],
            "main.conf:1:9: note: first set here",
        ),
        (
            "brace",
            &[("main.conf", "stage { <a.conf> }"), ("a.conf", "webapp { } }")],
            "a.conf:1:12: error: this `}` closes nothing",
        ),
        (
            "second",
            &[("main.conf", "<a.conf>"), ("a.conf", "stage { } stage { }")],
            "a.conf:1:11: error: nothing may follow the outermost component",
        ),
    ];
    for (name, files, expected) in cases {
        let error = Directory::new(name, files).error();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn refuses_endless_depth() {
    let files: Vec<_> =
        (0..20).map(|n| (format!("{n}.conf"), format!("<{}.conf>", n + 1))).collect();
    let mut files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    files.push(("main.conf", "stage { <0.conf> }"));
    let error = Directory::new("depth", &files).error();
    assert!(error.contains("includes nested more than 16 deep"), "{error}");
}

#[test]
fn refuses_text_that_is_not_utf8() {
    let directory = Directory::new("utf8", &[("main.conf", "stage { <a.conf> }"), ("a.conf", "")]);
    fs::write(directory.0.join("a.conf"), b"# comment\n.a = \"\xff\"")
        .expect("the directory can be written to");
    let error = directory.error();
    assert!(error.contains("main.conf:1:9: error: cannot read `a.conf`: "), "{error}");
    assert!(error.contains("line 2 is not UTF-8"), "{error}");
}

#[test]
fn text_includes_from_its_base_only() {
    let directory = Directory::new("text", &[("a.conf", "a {}")]);
    let load = |base: Option<&Path>| {
        let text = "stage { <a.conf> }".to_owned();
        let base = base.map(Path::to_owned);
        load(&Source::Text { name: "text".into(), text, base }, &constants())
    };
    assert_eq!(load(Some(&directory.0)).map(|tree| signs(&tree).len()).ok(), Some(1));
    let error = load(None).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("text:1:9: error: includes are refused here"), "{error}");
}
