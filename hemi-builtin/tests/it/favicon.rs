//! The handlet `favicon`.

use crate::server::site;

#[test]
fn the_icon_is_served_and_kept_by_clients() {
    let server = site("", r#"rule $path == "/favicon.ico" { favicon {} }"#);
    let icon = server.get("/favicon.ico");
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/vnd.microsoft.icon")));
    // The signature of the format: reserved, and one for icons.
    assert!(icon.body.starts_with(&[0, 0, 1, 0]), "{:?}", icon.body.get(..8));
    assert!(icon.header("cache-control").is_some_and(|value| value.contains("max-age=")));
    let head = server.ask("HEAD", "/favicon.ico", &[]);
    assert_eq!(head.header("content-length"), Some(&*icon.body.len().to_string()));
    let tag = icon.header("etag").unwrap();
    for (lines, status) in [
        ([format!("If-None-Match: {tag}")], 304),
        ([format!("If-None-Match: \"x\", W/{tag}")], 304),
        (["If-None-Match: \"x\"".to_owned()], 200),
        ([format!("If-Match: {tag}")], 200),
        (["If-Match: \"x\"".to_owned()], 412),
    ] {
        let lines = [lines[0].as_str()];
        assert_eq!(server.ask("GET", "/favicon.ico", &lines).status, status, "{lines:?}");
    }
    let post = server.ask("POST", "/favicon.ico", &[]);
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(server.get("/other").status, 404);
}
