//! Many configs that are slightly wrong: nothing may panic, and `fmt` may change only space.
use super::try_load;
use crate::config::fmt;

const SAMPLES: [&str; 3] = [
    r#"// comment
stage {
	.readTimeout = 45s                    # inherited
	http1Backend "api" { .balancer = "roundRobin"  node { .address = "127.0.0.1:7001"  .weight = 2 } }
	webapp "shop" {
		.hostnames = ("shop.test", "*.shop.test")
		.webRoot   = %topDir + "/apps/shop"
		.file404   = .webRoot + "/lost.html"
		rule "api" $path ^= ("/v1/", "/v2/") { httpProxy { .toBackend = "api"  .addRequestHeaders = ["x-from": $remoteAddr] } }
		rule $path -f { static {} }
		rule { .returnCode = 404  .returnText = "no such page" }
	}
	httpxServer "main" { .address = ":3080"  .webapps = ("shop") }
}
"#,
    r#"stage { /* a */ .a = "x\n\u{e9}" + `raw
` /* b */ .b = (1, -2, (), (3K, 4M,),) # c

	.c = [ // d
		"k": true,
		"l": [ "m": 10ms, "n": 1s ] ]
	rule $path ~= `^/v\d+/` &&
		!($method != "GET" || $path !f) { .d = "x" + $uri + .a } }
"#,
    "stage\n# a\n{ // b\n} # c",
];

#[test]
fn samples_are_stable() {
    for sample in SAMPLES {
        let formatted = fmt("t", sample).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(fmt("t", &formatted).unwrap_or_default(), formatted);
    }
    let expected = r#"// comment
stage {
	.readTimeout = 45s # inherited
	http1Backend "api" {
		.balancer = "roundRobin"
		node { .address = "127.0.0.1:7001"  .weight = 2 }
	}
	webapp "shop" {
		.hostnames = ("shop.test", "*.shop.test")
		.webRoot = %topDir + "/apps/shop"
		.file404 = .webRoot + "/lost.html"
		rule "api" $path ^= ("/v1/", "/v2/") {
			httpProxy { .toBackend = "api"  .addRequestHeaders = ["x-from": $remoteAddr] }
		}
		rule $path -f { static {} }
		rule { .returnCode = 404  .returnText = "no such page" }
	}
	httpxServer "main" { .address = ":3080"  .webapps = ("shop") }
}
"#;
    assert_eq!(fmt("t", SAMPLES[0]).unwrap_or_default(), expected);
}

#[test]
fn mutations_do_no_harm() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..3000 {
        let mut text: Vec<char> = SAMPLES[round % SAMPLES.len()].chars().collect();
        for _ in 0..=random.below(4) {
            mutate(&mut text, &mut random);
        }
        let text: String = text.into_iter().collect();
        let original = try_load(&text);
        if let Err(error) = &original {
            assert!(!error.to_string().is_empty(), "{text}");
        }
        let Ok(formatted) = fmt("t", &text) else {
            assert!(original.is_err(), "loads, but cannot be formatted:\n{text}");
            continue;
        };
        assert_eq!(fmt("t", &formatted).unwrap_or_default(), formatted, "not stable:\n{text}");
        let digests =
            [original, try_load(&formatted)].map(|tree| tree.ok().map(|t| t.root().digest()));
        assert_eq!(digests[0], digests[1], "{text}");
    }
}

fn mutate(text: &mut Vec<char>, random: &mut Random) {
    const PIECES: &[char] = &[
        '{', '}', '(', ')', '[', ']', '"', '`', '.', ',', '=', '$', '%', '!', '<', '>', '\n', '#',
        '/', '*', '\\', '-', '1', 'a', 'é',
    ];
    let from = random.below(text.len() + 1);
    let to = (from + random.below(20)).min(text.len());
    match random.below(4) {
        0 => drop(text.drain(from..to)),
        1 => {
            let copy = text[from..to].to_vec();
            let at = random.below(text.len() + 1);
            text.splice(at..at, copy);
        }
        2 => text.insert(from, PIECES[random.below(PIECES.len())]),
        _ => text.retain(|c| *c != '\n' || random.below(4) != 0),
    }
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or_default()
    }
}
