//! `gorox check`.

use std::process::Command;

use hemi_test::TempDir;

use crate::cli::{Ended, GOROX, gorox, run};

/// Checks `test.conf`, of this text, from its directory.
fn check(text: &str) -> Ended {
    let dir = TempDir::new().unwrap();
    dir.write("test.conf", text).unwrap();
    let mut command = Command::new(GOROX);
    command.args(["check", "test.conf"]).current_dir(dir.path());
    run(command)
}

/// What stands inside `stage { }` from line 2 on: the place and message of a mistake, and its hint.
const BROKEN: &[(&str, &str, &str)] = &[
    // Components.
    (
        "htpxServer \"s\" {}",
        "2:1: error: unknown component `htpxServer`",
        "did you mean `httpxServer`?",
    ),
    ("static { .webRoot = \"/\" }", "2:1: error: handlet `static` cannot stand in `stage`", ""),
    (
        "echoServer { .address = \":1\" }",
        "2:1: error: `echoServer` needs a name",
        "echoServer \"name\" {",
    ),
    ("fcache \"x\" {}", "2:8: error: there is one fcache in a stage", "remove the name"),
    (
        "fcache {}\nfcache {}",
        "3:1: error: two fcaches are named \"fcache\"",
        "2:1: note: the first is here",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\") }\nwebapp \"a\" { .hostnames = (\"b\") }",
        "3:8: error: two webapps are named \"a\"",
        "2:8: note: the first is here",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\") }",
        "2:8: error: nothing uses the webapp \"a\"",
        "or remove it",
    ),
    (
        "simpleLogger \"a\" { .target = \"a\" }",
        "2:14: error: nothing uses the logger \"a\"",
        "refer to it by its name",
    ),
    // References.
    (
        "httpxServer \"s\" { .address = \":1\"  .webapps = (\"shop\") }",
        "2:48: error: no webapp is named \"shop\"",
        "there is none in this stage",
    ),
    (
        "webapp \"shop\" { .hostnames = (\"*\") }\nhttpxServer \"s\" { .address = \":1\"  .webapps = (\"sohp\") }",
        "3:48: error: no webapp is named \"sohp\"",
        "did you mean \"shop\"?",
    ),
    // Properties.
    (
        "echoServer \"e\" {}",
        "2:1: error: `echoServer` needs the property `.address`",
        "add `.address",
    ),
    (
        "echoServer \"e\" { .address = \":1\"  .idleTimeot = 1s }",
        "2:35: error: unknown property `.idleTimeot`",
        "did you mean `.idleTimeout`?",
    ),
    (
        "echoServer \"e\" { .address = \":1\"  .idleTimeout = 5 }",
        "2:50: error: expected a duration",
        "did you mean 5s?",
    ),
    (
        "echoServer \"e\" { .address = \":1\"  .maxConns = \"many\" }",
        "2:47: error: expected an integer",
        "",
    ),
    (
        "echoServer \"e\" { .address = \"here\" }",
        "2:29: error: \"here\" is not an address",
        "127.0.0.1:80",
    ),
    (
        "echoServer \"a\" { .address = \":1\" }\nechoServer \"b\" { .address = \"*:1\" }",
        "3:29: error: two servers listen on ",
        "2:29: note: the first is here",
    ),
    // A relative path starts at the top directory.
    (
        "echoServer \"a\" { .address = \"./s\" }\nechoServer \"b\" { .address = %topDir + \"/s\" }",
        "3:29: error: two servers listen on ",
        "2:29: note: the first is here",
    ),
    ("fcache { .maxBytes = 1X }", "2:22: error: unknown unit `X`", ""),
    (
        "fcache { .maxBytes = %topDri }",
        "2:22: error: unknown constant `%topDri`",
        "did you mean `%topDir`?",
    ),
    (
        "fcache { .maxBytes = 1K  .maxBytes = 2K }",
        "2:26: error: `.maxBytes` is set twice",
        "remove one",
    ),
    (
        "http1Backend \"b\" { node { .address = \"here\" } }",
        "2:38: error: \"here\" is not where a node can be",
        "",
    ),
    // Limits under which nothing could be served.
    (
        "webapp \"a\" { .hostnames = (\"a\") }\nhttpxServer \"s\" { .address = \":1\"  .webapps = (\"a\")  .maxHeadSize = 1 }",
        "3:69: error: 1 is too little to work with: 1K is the least",
        "",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\") }\nhttpxServer \"s\" { .address = \":1\"  .webapps = (\"a\")  .maxFields = 0 }",
        "3:67: error: 0 is too little to work with: 10 is the least",
        "",
    ),
    // Variables in quotes.
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule { redirect { .to = \"https://$hostname$uri\" } } }",
        "2:67: error: `$hostname` in quotes is text, and no variable",
        "write `\"https://\" + $hostname + $uri`",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule { .returnCode = 200  .returnText = \"$path\" } }",
        "2:75: error: `$path` in quotes is text, and no variable",
        "write `$path`, or backquotes",
    ),
    (
        "simpleLogger \"l\" { .target = \"l\"  .format = \"$remoteAddr $status\" }",
        "2:46: error: `$remoteAddr` in quotes is text, and no variable",
        "write `$remoteAddr + \" \" + $status`",
    ),
    // Rules.
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule $path ~= \"(\" {} }",
        "2:48: error: bad regular expression",
        "no backslash needs to be doubled",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule $pth == \"/\" {} }",
        "2:39: error: unknown variable `$pth`",
        "did you mean `$path`?",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule $path = \"/\" {} }",
        "2:45: error: a single `=` does not compare",
        "did you mean `==`?",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule { .returnCode = 99 } }",
        "2:55: error: 99 is not a status that ends a request",
        "from 200 to 599",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule { static {} } }",
        "2:41: error: `static` needs the property `.webRoot`",
        "add `.webRoot",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule { static { .webRoot = \"/\"  .mimeTypes = [\"a\": \"b\"] } } }",
        "2:85: error: \"b\" is not a media type",
        "text/plain",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\")  rule !($path -f) { .returnCode = 404 } }",
        "2:1: error: a rule of this webapp tests files, but there is no `.webRoot`",
        "add `.webRoot",
    ),
    (
        "webapp \"a\" { .hostnames = (\"a\", \"b:80\") }",
        "2:33: error: \"b:80\" is not a hostname",
        "without scheme or port",
    ),
    // Text and includes.
    ("webapp \"a\" {", "1:7: error: this `{` is never closed", "close it with `}`"),
    ("fcache { .maxBytes = 1K }\n.", "3:1: error: unexpected `.`", ""),
    ("<none.conf>", "2:1: error: cannot read `none.conf`", "relative to the directory"),
    ("<test.conf>", "2:1: error: `test.conf` includes itself", "test.conf → test.conf"),
];

#[test]
fn a_broken_config_is_refused_with_the_place_and_a_way_out() {
    let mut failures = String::new();
    for (inside, mistake, hint) in BROKEN {
        let ended = check(&format!("stage {{\n{inside}\n}}\n"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{inside}");
        let place = format!("test.conf:{mistake}");
        let line = ended.stderr.lines().any(|line| line.starts_with(&place));
        let alone = ended.stderr.matches(": error: ").count() == 1;
        if !line || !alone || !ended.stderr.contains(hint) {
            failures += &format!("not {mistake} ({hint}) alone in\n{}\n", ended.stderr);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn one_mistake_makes_no_others() {
    for (text, mistake) in [
        // On one line, where a default fixture has the place of the webapp's sign.
        (
            "stage { webapp \"w\" { .hostnames = \"*\"  rule {} }
                httpxServer \"s\" { .address = \":1\"  .webapps = (\"w\") } }",
            "test.conf:1:35: error: expected a list",
        ),
        (
            "stage {
    webapp \"w\" { .hostnames = (\"*\")  .useLogger = \"l\" }
    simpleLogger \"l\" { .target = 5 }
    httpxServer \"s\" { .address = \":1\"  .webapps = (\"w\") }
}",
            "test.conf:3:34: error: expected a string",
        ),
        (
            "stage {
    fcache { .cacheTimeout = 5 }
    webapp \"w\" { .hostnames = (\"*\") }
    httpxServer \"s\" { .address = \":1\"  .webapps = (\"w\") }
}",
            "test.conf:2:30: error: expected a duration",
        ),
        (
            "stage {
    webapp \"w\" { .hostnames = (\"*\")  .webRoot = 5  rule { static {} } }
    httpxServer \"s\" { .address = \":1\"  .webapps = (\"w\") }
}",
            "test.conf:2:49: error: expected a string",
        ),
    ] {
        let ended = check(text);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with(mistake), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches(": error: ").count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn what_is_no_stage_is_refused() {
    for (text, mistake) in [
        ("", "test.conf:1:1: error: the config is empty"),
        ("server {}", "test.conf:1:1: error: the outermost component must be `stage`"),
        ("stage {}\nstage {}", "test.conf:2:1: error: nothing may follow the outermost component"),
    ] {
        let ended = check(text);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with(mistake), "{}", ended.stderr);
    }
    let missing = gorox(&["check", "/no/such.conf"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.starts_with("error: cannot read `/no/such.conf`"), "{}", missing.stderr);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let ended = check(
        "stage {
	fcache { .maxBites = 1K }
	webapp \"shop\" {
		.hostnames = (\"*\")
		rule $pth == \"/\" {}
		rule { .returnCode = 1000 }
		rule { static {} }
	}
	echoServer \"echo\" {}
	httpServer \"main\" { .address = \":1\"  .webapps = (\"shop\") }
	webapp \"blog\" {
		.hostnames = 5
		rule { .returnCode = 1000  static { .webRoot = 5  sttic {} } }
	}
	httpxServer \"main\" { .address = \":1\"  .webapps = (\"shpo\", \"shop\", \"blgo\") }
}
",
    );
    let places = [
        "2:11", "5:8", "6:24", "7:10", "9:2", "10:2", "12:16", "13:24", "13:50", "13:53", "15:52",
        "15:68",
    ];
    let found = |place: &&&str| ended.stderr.contains(&format!("test.conf:{place}: error: "));
    let missing: Vec<_> = places.iter().filter(|place| !found(place)).collect();
    assert!(missing.is_empty(), "{missing:?} not in\n{}", ended.stderr);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_mistake_in_an_included_file_is_shown_there() {
    let dir = TempDir::new().unwrap();
    dir.write("test.conf", "stage {\n\t<part.conf>\n}\n").unwrap();
    dir.write("part.conf", "echoServer \"e\" { .adress = \":1\" }\n").unwrap();
    let mut command = Command::new(GOROX);
    command.args(["check", "test.conf"]).current_dir(dir.path());
    let stderr = run(command).stderr;
    for text in ["part.conf:1:18: error: unknown property `.adress`", "included from test.conf:2:2"]
    {
        assert!(stderr.contains(text), "{text} not in\n{stderr}");
    }
}

#[test]
fn our_own_configs_have_no_mistakes() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let conf = format!("{root}/conf/gorox.conf");
    for args in [&["check", &conf][..], &["check", "--config", &conf], &["-config", &conf, "check"]]
    {
        let ended = gorox(args);
        let expected = format!("{conf}: no mistakes found\n");
        assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(0), expected, String::new()));
    }
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(GOROX);
    command.arg("check").current_dir(dir.path());
    assert_eq!(run(command).stdout, "the default config: no mistakes found\n");
    let mut command = Command::new(GOROX);
    command.arg("check").current_dir(root);
    assert_eq!(run(command).stdout, "conf/gorox.conf: no mistakes found\n");
}

#[test]
fn nothing_of_the_surroundings_is_touched() {
    let dir = TempDir::new().unwrap();
    let (log, socket) = (dir.path().join("log/access.log"), dir.path().join("socket"));
    let ended = check(&format!(
        r#"stage {{
            simpleLogger "a" {{ .target = "{}" }}
            webapp "w" {{ .hostnames = ("*")  .useLogger = "a" }}
            httpxServer "s" {{ .address = "{}"  .webapps = ("w") }}
        }}"#,
        log.display(),
        socket.display()
    ));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn mistakes_are_told_to_programs() {
    let dir = TempDir::new().unwrap();
    let bad = dir.write("bad.conf", "stage {\n\thtpxServer \"s\" {}\n}").unwrap();
    let good = dir.write("good.conf", "stage {}").unwrap();
    let checked = |file: &std::path::Path, status: i32| -> serde_json::Value {
        let ended = gorox(&["check", "--json", file.to_str().unwrap()]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(status), ""));
        serde_json::from_str(&ended.stdout).unwrap()
    };
    assert!(checked(&good, 0)["error"].is_null());
    let told = checked(&bad, 1);
    let mistake = &told["mistakes"][0];
    assert_eq!((&mistake["line"], &mistake["column"]), (&2.into(), &2.into()));
    assert_eq!(mistake["message"], "unknown component `htpxServer`");
    assert_eq!(mistake["help"], "did you mean `httpxServer`?");
}
