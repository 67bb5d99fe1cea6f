//! The handlet `referer`.

use crate::server::site;

#[test]
fn requests_come_from_the_sites_named_or_from_nowhere() {
    const NAMES: &str = r#".serverNames = ("site.test", "*.site.test", "shop.*")"#;
    for (properties, lines, passes) in [
        (NAMES, &["Referer: https://site.test/a"][..], true),
        (NAMES, &["Referer: HTTP://SITE.test:8080?a"], true),
        (NAMES, &["Referer: https://site.test."], true),
        (NAMES, &["Referer: https://www.site.test#a"], true),
        (NAMES, &["Referer: https://shop.example/a"], true),
        (NAMES, &["Referer: https://evilsite.test/"], false),
        (NAMES, &["Referer: https://evil.test/site.test"], false),
        (NAMES, &["Referer: https://site.test@evil.test/"], false),
        (NAMES, &["Referer: https://site.test\\@evil.test/"], false),
        (NAMES, &["Referer: https://"], false),
        (NAMES, &["Referer: site.test"], false),
        (NAMES, &["Referer: "], false),
        (NAMES, &[], false),
        (NAMES, &["Referer: https://site.test/", "Referer: https://site.test/"], false),
        (".none = true", &[], true),
        (".none = true", &["Referer: hidden"], false),
        (".blocked = true", &["Referer: hidden"], true),
        (".blocked = true", &["Referer: "], true),
        (".blocked = true", &[], false),
        (".blocked = true", &["Referer: https://evil.test/"], false),
        ("", &["Referer: https://site.test/"], false),
    ] {
        let rules = format!("rule {{ referer {{ {properties} }} }} rule {{ .returnCode = 204 }}");
        let server = site("", &rules);
        let expected = if passes { 204 } else { 403 };
        assert_eq!(server.ask("GET", "/", lines).status, expected, "{properties} {lines:?}");
    }
}
