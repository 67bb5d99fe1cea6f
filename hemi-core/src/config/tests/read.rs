//! Configs read into typed structs.
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{loaded, try_load};
use crate::config::{
    Condition, ConfigType, DefaultValue, Diagnostics, Explain, KindName, Lookup, PathCheck,
    Property, Ref, Scope, Size, Spanned, Template, Tree, Variable,
};

struct Webapp;

impl KindName for Webapp {
    const NAME: &'static str = "webapp";
}

/// Variables as a server would have them.
#[derive(Clone, Debug, PartialEq)]
enum Var {
    Path,
    Method,
    Header(String),
}

impl Variable for Var {
    fn named(name: &str) -> Option<Self> {
        match name {
            "path" => Some(Self::Path),
            "method" => Some(Self::Method),
            name => name.strip_prefix("header_").map(|name| Self::Header(name.replace('_', "-"))),
        }
    }

    fn known() -> &'static [&'static str] {
        &["path", "method", "header_*"]
    }
}

struct Request {
    path: &'static str,
    method: &'static str,
    is: &'static [PathCheck],
}

impl Lookup<Var> for Request {
    fn lookup<'a>(&'a self, variable: &'a Var) -> Cow<'a, [u8]> {
        match variable {
            Var::Path => self.path.as_bytes().into(),
            Var::Method => self.method.as_bytes().into(),
            Var::Header(name) => format!("<{name}>").into_bytes().into(),
        }
    }

    fn path_is(&self, check: PathCheck) -> bool {
        self.is.contains(&check)
    }
}

#[derive(Debug, Deserialize, Explain, PartialEq, Clone, Copy, Default)]
#[serde(rename_all = "camelCase")]
enum Balancer {
    #[default]
    RoundRobin,
    LeastUsed,
}

/// Every type that a property may have.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
struct Everything {
    /// A boolean.
    flag: bool,
    /// A small integer.
    #[serde(default)]
    small: u8,
    /// An integer with a sign.
    #[serde(default = "minus_one")]
    signed: i32,
    /// Not zero.
    weight: NonZeroU16,
    /// Bytes.
    max_size: Size,
    /// Bytes, too.
    min_size: Size,
    /// Time.
    read_timeout: Duration,
    /// Text.
    text: String,
    /// A file.
    path: PathBuf,
    /// A number.
    ratio: f64,
    /// Perhaps an address.
    address: Option<SocketAddr>,
    /// Names.
    #[serde(default)]
    hostnames: Vec<String>,
    /// Two numbers.
    #[serde(skip)]
    _internal: u8,
    /// Words.
    balancer: Balancer,
    /// Others.
    webapps: Vec<Ref<Webapp>>,
    /// With a place.
    named: Spanned<String>,
    /// Ordered.
    pairs: Vec<(String, i64)>,
    /// By name.
    sorted: BTreeMap<String, Vec<Duration>>,
    /// Also by name.
    #[serde(default)]
    hashed: HashMap<String, bool>,
    /// With variables.
    header: Template<Var>,
    /// A group in a dict.
    #[serde(default)]
    #[serde(rename = "log")]
    log_config: Option<LogConfig>,
}

fn minus_one() -> i32 {
    -1
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct LogConfig {
    target: PathBuf,
    buf_size: Option<Size>,
}

impl ConfigType for LogConfig {
    fn kind() -> Cow<'static, str> {
        "dict".into()
    }

    fn show(&self) -> String {
        "[]".into()
    }
}

const EVERYTHING: &str = r#"stage {
    .flag = true  .signed = -7  .weight = 3  .maxSize = 2M  .minSize = 100
    .readTimeout = 1500ms  .text = "a\tb\x21\u{e9}" + `\n` + %env.HOME  .path = %topDir + "/www"
    .ratio = 3  .address = "127.0.0.1:80"  .hostnames = ("a", "b",)
    .balancer = "leastUsed"  .webapps = ("shop", "blog")  .named = "me"
    .pairs = ["b": 1, "a": -2]  .sorted = ["x": (1s, 2m), "w": ()]  .hashed = ["k": true]
    .header = "x-" + $header_user_agent + "-y" + "z"
    .log = ["target": "/l", "bufSize": 4K]
}"#;

#[test]
fn reads_every_type() {
    let tree = loaded(EVERYTHING);
    let read: Everything = tree.root().read().unwrap_or_else(|e| panic!("{}", tree.error(e)));
    assert!(read.flag);
    assert_eq!((read.small, read.signed, read.weight.get()), (0, -7, 3));
    assert_eq!((read.max_size, read.min_size), (Size(2 << 20), Size(100)));
    assert_eq!(read.read_timeout, Duration::from_millis(1500));
    assert_eq!(read.text, "a\tb!é\\n/home/me");
    assert_eq!(read.path, PathBuf::from("/srv/www"));
    assert_eq!(read.ratio, 3.0);
    assert_eq!(read.address, Some(SocketAddr::from(([127, 0, 0, 1], 80))));
    assert_eq!(read.hostnames, ["a", "b"]);
    assert_eq!(read.balancer, Balancer::LeastUsed);
    let webapps: Vec<_> = read.webapps.iter().map(Ref::name).collect();
    assert_eq!(webapps, ["shop", "blog"]);
    assert_eq!(*read.named, "me");
    assert_eq!(tree.sources().locate(read.named.span).to_string(), "t.conf:5:68");
    assert_eq!(read.pairs, [("b".to_owned(), 1), ("a".to_owned(), -2)]);
    assert_eq!(read.sorted["x"], [Duration::from_secs(1), Duration::from_secs(120)]);
    assert!(read.sorted["w"].is_empty());
    assert!(read.hashed["k"]);
    assert_eq!(read.header.to_string(), r#""x-" + $header_user_agent + "-yz""#);
    assert_eq!(read.header.literal(), None);
    let request = Request { path: "/", method: "GET", is: &[] };
    assert_eq!(*read.header.render(&request), *b"x-<user-agent>-yz");
    let log = LogConfig { target: "/l".into(), buf_size: Some(Size(4096)) };
    assert_eq!(read.log_config, Some(log));
    assert!(tree.unread(|_| Vec::new()).is_empty());
    let places = read.webapps.iter().map(|webapp| tree.sources().locate(webapp.span()).column);
    assert_eq!(places.collect::<Vec<_>>(), [42, 50]);
}

#[test]
fn explains_every_type() {
    let properties = Everything::properties();
    let shown: Vec<String> = properties
        .iter()
        .map(|Property { name, doc, kind, default }| format!("{name}|{kind}|{default:?}|{doc}"))
        .collect();
    let expected = [
        "flag|boolean|Required|A boolean.",
        "small|integer|Value(\"0\")|A small integer.",
        "signed|integer|Value(\"-1\")|An integer with a sign.",
        "weight|positive integer|Required|Not zero.",
        "maxSize|size|Required|Bytes.",
        "minSize|size|Required|Bytes, too.",
        "readTimeout|duration|Required|Time.",
        "text|string|Required|Text.",
        "path|path|Required|A file.",
        "ratio|integer|Required|A number.",
        "address|IP address with port|None|Perhaps an address.",
        "hostnames|list of string|Value(\"()\")|Names.",
        "balancer|one of \"roundRobin\", \"leastUsed\"|Required|Words.",
        "webapps|list of name of a webapp|Required|Others.",
        "named|string|Required|With a place.",
        "pairs|dict of integer|Required|Ordered.",
        "sorted|dict of list of duration|Required|By name.",
        "hashed|dict of boolean|Value(\"[]\")|Also by name.",
        "header|string with variables|Required|With variables.",
        "log|dict|None|A group in a dict.",
    ];
    assert_eq!(shown, expected);
}

/// Timeouts, as many components have them.
#[derive(Debug, Deserialize, Explain, PartialEq)]
#[serde(rename_all = "camelCase", default)]
struct Timeouts {
    /// How long a read may take.
    read_timeout: Duration,
    /// How long a write may take.
    ///
    /// In all.
    write_timeout: Option<Duration>,
    /// How to choose.
    balancer: Balancer,
    /// Where to listen.
    r#type: String,
}

impl Default for Timeouts {
    fn default() -> Self {
        let second = Duration::from_secs(60);
        Self {
            read_timeout: second,
            write_timeout: None,
            balancer: Balancer::LeastUsed,
            r#type: "a\"b".into(),
        }
    }
}

#[test]
fn explains_defaults_of_the_whole_struct() {
    let defaults: Vec<_> =
        <(Timeouts, ())>::properties().into_iter().map(|p| (p.name, p.default)).collect();
    let value = |text: &str| DefaultValue::Value(text.into());
    let expected = [
        ("readTimeout", value("1m")),
        ("writeTimeout", DefaultValue::None),
        ("balancer", value("\"leastUsed\"")),
        ("type", value("\"a\\\"b\"")),
    ];
    assert_eq!(defaults, expected);
    assert_eq!(Timeouts::properties()[1].doc, "How long a write may take.\n\nIn all.");
}

#[derive(Debug, Deserialize, PartialEq)]
struct Root {
    root: String,
}

fn child<'a>(scope: Scope<'a>, sign: &str) -> Scope<'a> {
    scope.children().find(|child| child.sign() == sign).expect("a child of this sign")
}

#[test]
fn inherits_from_enclosing_components() {
    let tree = loaded(
        r#"stage {
            .readTimeout = 1s  .root = "/a"  .unused = .root
            webapp "w" { .root = .root + "/b"  .writeTimeout = 2s  rule { .readTimeout = 3s } }
            server { .readTimeout = 4s }
        }"#
        .replace(".root = .root +", ".root = \"/x\" +")
        .as_str(),
    );
    let webapp = child(tree.root(), "webapp");
    let rule = child(webapp, "rule");
    let (timeouts, root, ()): (Timeouts, Root, ()) = rule.read().expect("good properties");
    assert_eq!(timeouts.read_timeout, Duration::from_secs(3));
    assert_eq!(timeouts.write_timeout, Some(Duration::from_secs(2)));
    assert_eq!(root.root, "/x/b");
    let root: Root = child(tree.root(), "server").read().expect("good properties");
    assert_eq!(root.root, "/a");
    assert_eq!(
        (webapp.name(), rule.outer().map(|outer| outer.sign())),
        (Some("w"), Some("webapp"))
    );
    let unread: Vec<_> =
        tree.unread(|_| Vec::new()).into_iter().map(|error| error.message).collect();
    // The other `.readTimeout`s are overridden, not unknown.
    assert_eq!(unread, ["unknown property `.unused`", "unknown property `.readTimeout`"]);
}

#[test]
fn ignores_what_is_reported_already() {
    let tree = loaded("stage { a $path -f { .x = 1  b { .y = 1 } }  .z = 1 }");
    child(tree.root(), "a").ignore();
    let unread: Vec<_> =
        tree.unread(|_| Vec::new()).into_iter().map(|error| error.message).collect();
    assert_eq!(unread, ["unknown property `.z`"]);
}

#[test]
fn finds_what_nobody_reads() {
    let tree = loaded(
        "stage { .spare = 1  .raedTimeout = 1s  .typ = \"\" a $path -f { .x = 1 } b { .x = 1 } }",
    );
    tree.root().read::<Timeouts>().expect("nothing wrong");
    let shown = tree.error(tree.unread(|scope| match scope.sign() {
        "b" => vec!["readTimeout"],
        "stage" => vec!["type", "spare"],
        _ => Vec::new(),
    }));
    let shown: Vec<_> = shown
        .diagnostics()
        .iter()
        .map(|d| format!("{} ({})", d.message, d.help.as_deref().unwrap_or_default()))
        .collect();
    let expected = [
        "unknown property `.raedTimeout` (did you mean `.readTimeout`?)",
        "unknown property `.typ` (did you mean `.type`?)",
        "`a` takes no condition (remove the condition)",
        "unknown property `.x` (`a` has no properties: remove it)",
        "unknown property `.x` (`b` has .readTimeout)",
    ];
    assert_eq!(shown, expected);
}

fn errors_of<T: DeserializeOwned>(properties: &str) -> Vec<String> {
    let tree = loaded(&format!("stage {{ {properties} }}"));
    let errors = tree.root().read::<T>().err().unwrap_or_default();
    shown(&tree, errors)
}

fn shown(tree: &Tree, errors: Diagnostics) -> Vec<String> {
    let error = tree.error(errors);
    let column = |span| tree.sources().locate(span).column;
    error
        .diagnostics()
        .iter()
        .map(|d| {
            let help = d.help.as_deref().unwrap_or_default();
            format!("{}: {} ({help})", d.span.map_or(0, column), d.message)
        })
        .collect()
}

#[test]
fn says_what_was_expected_and_found() {
    macro_rules! property {
        ($type:ty) => {{
            #[derive(Deserialize)]
            struct Config {
                #[serde(rename = "a")]
                _a: $type,
            }
            errors_of::<Config>
        }};
    }
    type Read = fn(&str) -> Vec<String>;
    let cases: &[(Read, &str, &str)] = &[
        (
            property!(bool),
            "\"true\"",
            "14: expected true or false, found the string \"true\" (write true without quotes)",
        ),
        (
            property!(bool),
            "1",
            "14: expected true or false, found the integer 1 (write true or false)",
        ),
        (
            property!(u8),
            "300",
            "14: expected an integer from 0 to 255, found the integer 300 (choose a value in that range)",
        ),
        (
            property!(i8),
            "-129",
            "14: expected an integer from -128 to 127, found the integer -129 (choose a value in that range)",
        ),
        (
            property!(u64),
            "-1",
            "14: expected an integer that is not negative, found the integer -1 (choose a value in that range)",
        ),
        (
            property!(u32),
            "\"80\"",
            "14: expected an integer that is not negative, found the string \"80\" (write 80 without quotes)",
        ),
        (
            property!(u16),
            "1K",
            "14: expected an integer from 0 to 65535, found the size 1K (this property has no unit; 1K is 1024)",
        ),
        (
            property!(i64),
            "5s",
            "14: expected an integer, found the duration 5s (this property has no unit)",
        ),
        (property!(NonZeroU16), "0", "14: expected a nonzero u16, found the integer 0 ()"),
        (
            property!(Size),
            "-1",
            "14: expected a size like 16K, found the integer -1 (a size cannot be negative)",
        ),
        (
            property!(Size),
            "\"4K\"",
            "14: expected a size like 16K, found the string \"4K\" (write 4K without quotes)",
        ),
        (
            property!(Size),
            "4s",
            "14: expected a size like 16K, found the duration 4s (units are K M G T)",
        ),
        (
            property!(Duration),
            "\"30s\"",
            "14: expected a duration like 30s, found the string \"30s\" (write 30s without quotes)",
        ),
        (
            property!(Duration),
            "30",
            "14: expected a duration like 30s, found the integer 30 (add a unit (ms s m h d): did you mean 30s?)",
        ),
        (
            property!(Duration),
            "30M",
            "14: expected a duration like 30s, found the size 30M (units are ms s m h d)",
        ),
        (property!(String), "30", "14: expected a string, found the integer 30 (put it in quotes)"),
        (
            property!(String),
            "(\"a\")",
            "14: expected a string, found a list (write it without parentheses)",
        ),
        (
            property!(String),
            "\"a\" + $path",
            "20: the variable `$path` is not allowed here (write a string without variables)",
        ),
        (
            property!(Vec<String>),
            "\"a\"",
            "14: expected a list, found the string \"a\" (write (\"a\"))",
        ),
        (
            property!(Vec<String>),
            "(\"a\", 5)",
            "20: expected a string, found the integer 5 (put it in quotes)",
        ),
        (
            property!(Vec<String>),
            "[\"a\": 5]",
            "14: expected a list, found a dict (lists are written ( , ))",
        ),
        (property!((u8, u8)), "(1)", "14: expected a tuple of size 2, found 1 ()"),
        (
            property!(BTreeMap<String, u8>),
            "(1)",
            "14: expected a dict, found a list (dicts are written [ \"key\": value ])",
        ),
        (
            property!(BTreeMap<String, u8>),
            "[\"k\": 1, \"l\": 256]",
            "28: expected an integer from 0 to 255, found the integer 256 (choose a value in that range)",
        ),
        (
            property!(Vec<(String, u8)>),
            "[\"k\": true]",
            "20: expected an integer from 0 to 255, found true (write a number like 10)",
        ),
        (
            property!(Balancer),
            "\"leastused\"",
            "14: \"leastused\" is not known here (did you mean \"leastUsed\"? It may be \"roundRobin\", \"leastUsed\")",
        ),
        (
            property!(Balancer),
            "\"x\"",
            "14: \"x\" is not known here (it may be \"roundRobin\", \"leastUsed\")",
        ),
        (
            property!(Balancer),
            "5",
            "14: expected one of \"roundRobin\", \"leastUsed\", found the integer 5 (put it in quotes)",
        ),
        (property!(SocketAddr), "\"x\"", "14: invalid socket address syntax ()"),
        (
            property!(Option<u8>),
            "true",
            "14: expected an integer from 0 to 255, found true (write a number like 10)",
        ),
        (
            property!(Ref<Webapp>),
            "5",
            "14: expected the name of a webapp, found the integer 5 (put it in quotes)",
        ),
        (
            property!(LogConfig),
            "[\"target\": \"/l\", \"bufsize\": 1K]",
            "31: \"bufsize\" is not known here (did you mean \"bufSize\"? It may be \"target\", \"bufSize\")",
        ),
        (
            property!(LogConfig),
            "[\"bufSize\": 1K]",
            "14: a dict lacks the key \"target\" (add \"target\": value)",
        ),
        (
            property!(Template<Var>),
            "\"x\" + $pth",
            "20: unknown variable `$pth` (did you mean `$path`?)",
        ),
        (
            property!(Template<Var>),
            "$path + $heder_x + \"\"",
            "22: unknown variable `$heder_x` (did you mean `$header_x`?)",
        ),
        (
            property!(Template<Var>),
            "\"http://$path?\" + $path",
            "22: `$path` in quotes is text, and no variable (write `\"http://\" + $path + \"?\"`, or backquotes instead of quotes if it is to be text)",
        ),
        (
            property!(Template<Var>),
            "\"a$\" + \"${header_x}\"",
            "22: `$header_x` in quotes is text, and no variable (write `$header_x`, or backquotes instead of quotes if it is to be text)",
        ),
        (
            property!(Template<Var>),
            "5",
            "14: expected a string, found the integer 5 (put it in quotes)",
        ),
        (
            property!(Spanned<u8>),
            "true",
            "14: expected an integer from 0 to 255, found true (write a number like 10)",
        ),
    ];
    for (read, value, expected) in cases {
        assert_eq!(read(&format!(".a = {value}")), [*expected], "{value}");
    }
}

#[test]
fn reports_all_bad_properties_of_a_component() {
    let errors = errors_of::<(Timeouts, LogConfig)>(".bufSize = 1s .readTimeout = 5 .type = 7");
    let columns: Vec<_> = errors.iter().filter_map(|error| error.split(':').next()).collect();
    assert_eq!(columns, ["1", "20", "38", "48"], "{errors:?}");
    assert!(errors[0].starts_with("1: `stage` needs the property `.target`"), "{errors:?}");
    // A bad property is not a missing one.
    let errors = errors_of::<LogConfig>(".target = 5");
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn conditions_hold_or_not() {
    let request = Request {
        path: "/v1/users.json",
        method: "GET",
        is: &[PathCheck::File, PathCheck::Exists],
    };
    let cases = [
        ("$path == \"/v1/users.json\"", true),
        ("$path == \"/v1\"", false),
        ("$path == (\"/\", \"/v1/users.json\")", true),
        ("$path != \"/v1\"", true),
        ("$path != (\"/\", \"/v1/users.json\")", false),
        ("$path ^= \"/v1/\"", true),
        ("$path ^= (\"/v2/\", \"/v3/\")", false),
        ("$path !^ (\"/v2/\", \"/v3/\")", true),
        ("$path !^ \"/v1/\"", false),
        ("$path $= \".json\"", true),
        ("$path $= \".xml\"", false),
        ("$path !$ \".xml\"", true),
        ("$path *= (\"x\", \"users\")", true),
        ("$path *= \"user_\"", false),
        ("$path !* \"users\"", false),
        ("$path ~= `^/v\\d+/`", true),
        ("$path ~= (`^/x`, `json$`)", true),
        ("$path !~ `^/v\\d+/`", false),
        ("$path -f", true),
        ("$path -d", false),
        ("$path -e", true),
        ("$path -D", false),
        ("$path -E", false),
        ("$path !f", false),
        ("$path !d", true),
        ("$path !e", false),
        ("$method == \"GET\" && $path -f", true),
        ("$method == \"PUT\" && $path -f", false),
        ("$method == \"PUT\" || $path -f", true),
        ("$method == \"PUT\" || $path -d", false),
        ("$path -f || $path -d && $path -d", true),
        ("($path -f || $path -d) && $path -d", false),
        ("!$path -f || $path -f", true),
        ("!($path -f || $path -f)", false),
        ("!!$path -f", true),
        ("$header_x_y == \"<x-y>\"", true),
        ("$path ^= \"/v\" + \"1\" + .tail", true),
    ];
    for (text, expected) in cases {
        let tree = loaded(&format!("stage {{ .tail = \"/\" rule {text} {{ }} }}"));
        let rule = child(tree.root(), "rule");
        let condition: Condition<Var> = rule
            .condition()
            .unwrap_or_else(|errors| panic!("{}", tree.error(errors)))
            .expect("there is one");
        assert_eq!(condition.matches(&request), expected, "{text}");
        // What it shows means the same.
        let tree = loaded(&format!("stage {{ rule {condition} {{ }} }}"));
        let again: Condition<Var> =
            child(tree.root(), "rule").condition().ok().flatten().expect("there is one");
        assert_eq!(again.to_string(), condition.to_string());
        assert_eq!(again.matches(&request), expected, "{condition}");
    }
}

#[test]
fn conditions_know_their_variables() {
    let cases = [
        ("$pth == \"\"", "14: unknown variable `$pth` (did you mean `$path`?)"),
        ("$heder_a == \"\"", "14: unknown variable `$heder_a` (did you mean `$header_a`?)"),
        ("$zzzzzz == \"\"", "14: unknown variable `$zzzzzz` (known here: $path $method $header_*)"),
        (
            "$path ~= (\"a\", \"(\")",
            "29: bad regular expression: unclosed group (in `…` no backslash needs to be doubled; look-around does not exist)",
        ),
        (
            "$path ~= `(\\w{1000}){1000}`",
            "23: this regular expression takes more than 1048576 bytes (use smaller repetitions, or several shorter expressions in a list)",
        ),
    ];
    for (text, expected) in cases {
        let tree = loaded(&format!("stage {{ rule {text} {{ }} }}"));
        let errors = child(tree.root(), "rule").condition::<Var>().err().unwrap_or_default();
        assert_eq!(shown(&tree, errors), [expected], "{text}");
    }
    let tree = loaded("stage { rule $a == \"\" && ($b ~= \"(\" || !$c == \"\") { } }");
    let errors = child(tree.root(), "rule").condition::<Var>().err().unwrap_or_default();
    assert_eq!(shown(&tree, errors).len(), 4, "all mistakes");
}

#[test]
fn digests_meaning_and_not_spelling() {
    let digest = |text: &str| {
        let tree = loaded(text);
        let webapp = child(tree.root(), "webapp");
        webapp.read::<Timeouts>().expect("good properties");
        webapp.digest()
    };
    let base =
        digest("stage { .readTimeout = 60s webapp \"a\" $path == \"x\" { .type = \"b\" r { } } }");
    let same = "stage { /* */ .other = 1 .readTimeout = 1m
        webapp \"a\" $path == (`x`) { .type = \"\" + \"b\" r {} } }";
    assert_eq!(digest(same), base);
    let others = [
        "stage { .readTimeout = 61s webapp \"a\" $path == \"x\" { .type = \"b\" r { } } }",
        "stage { .readTimeout = 60s webapp \"c\" $path == \"x\" { .type = \"b\" r { } } }",
        "stage { .readTimeout = 60s webapp \"a\" $path == \"y\" { .type = \"b\" r { } } }",
        "stage { .readTimeout = 60s webapp \"a\" $path == \"x\" { .type = \"c\" r { } } }",
        "stage { .readTimeout = 60s webapp \"a\" $path == \"x\" { .type = \"b\" s { } } }",
        "stage { .readTimeout = 60s webapp \"a\" $path == \"x\" { .type = \"b\" r { .x = 1 } } }",
        "stage { webapp \"a\" $path == \"x\" { .type = \"b\" r { } } }",
    ];
    for other in others {
        assert_ne!(digest(other), base, "{other}");
    }
}

#[test]
fn references_cannot_fill_the_memory() {
    let mut text = String::from("stage { .a0 = \"xxxxxxxxxx\"");
    for n in 1..64 {
        text += &format!(" .a{n} = .a{0} + .a{0}", n - 1);
    }
    text += " }";
    let Err(error) = try_load(&text) else { panic!("2^64 times ten bytes") };
    assert_eq!(error.diagnostics().len(), 1);
    assert!(error.to_string().contains("copy too much"), "{error}");
}
