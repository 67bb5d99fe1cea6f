//! Tomcat, by AJP and by HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use hemi_test::{Program, TempDir, free_port, peer};

use super::{hex_md5, mebibytes, post, post_chunked, read};
use crate::server::{Running, ask, site_on};

const HOME: &str = "/usr/share/tomcat10";

const WEB_XML: &str = r#"<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0">
  <servlet><servlet-name>jsp</servlet-name>
    <servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class></servlet>
  <servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
</web-app>"#;

/// Tomcat in a directory of its own, and a webapp for each of its protocols.
struct Tomcat {
    server: Running,
    _tomcat: Program,
    _dir: TempDir,
}

impl Tomcat {
    fn start(properties: &str) -> Option<Self> {
        let java = peer("java")?;
        let bootstrap = Path::new(HOME).join("bin/bootstrap.jar");
        if !bootstrap.exists() {
            assert!(!hemi_test::peer::required(), "Tomcat is not installed");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let (http, ajp) = (free_port().unwrap(), free_port().unwrap());
        let server = format!(
            r#"<Server port="-1"><Service name="s">
            <Connector port="{http}" address="127.0.0.1" protocol="HTTP/1.1" maxPostSize="-1"/>
            <Connector port="{ajp}" address="127.0.0.1" protocol="AJP/1.3" secret="open sesame"
                maxPostSize="-1" allowedRequestAttributesPattern="REALM"/>
            <Engine name="e" defaultHost="h"><Host name="h" appBase="webapps" autoDeploy="false"/></Engine>
            </Service></Server>"#
        );
        dir.write("conf/server.xml", server).unwrap();
        dir.write("conf/web.xml", WEB_XML).unwrap();
        for name in ["show.jsp", "echo.jsp"] {
            dir.write(Path::new("webapps/ROOT").join(name), read(name)).unwrap();
        }
        for name in ["logs", "temp", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let base = dir.path().display();
        let mut command = Command::new(java);
        command.arg("-XX:TieredStopAtLevel=1").arg("-cp");
        command.arg(format!("{HOME}/bin/bootstrap.jar:{HOME}/bin/tomcat-juli.jar"));
        command.arg(format!("-Dcatalina.home={HOME}")).arg(format!("-Dcatalina.base={base}"));
        command.arg(format!("-Djava.io.tmpdir={base}/temp"));
        command.args(["org.apache.catalina.startup.Bootstrap", "start"]);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ajp));
        let tomcat = Program::start(command, addr).unwrap_or_else(|e| panic!("{e}"));
        let backends = format!(
            "ajpBackend \"ajp\" {{ node {{ .address = \"127.0.0.1:{ajp}\" }} {properties} }}
             http1Backend \"http\" {{ node {{ .address = \"127.0.0.1:{http}\" }} }}"
        );
        let rules = r#".maxBodySize = 128M
            rule $hostname == "http.test" { httpProxy { .toBackend = "http" } }
            rule { ajpProxy { .toBackend = "ajp"  .params = ["REALM": "of " + $method] } }"#;
        Some(Self { server: site_on(1, &backends, rules), _tomcat: tomcat, _dir: dir })
    }
}

#[test]
fn tomcat_is_told_of_the_request_and_keeps_sessions() {
    let Some(tomcat) = Tomcat::start(r#".secret = "open sesame"  .ping = true"#) else { return };
    let mut client = tomcat.server.connect();
    let reply = ask(&mut client, "GET", "/show.jsp?p=1%202", &["X-A: 1", "X-A: 2"]).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/plain;charset=UTF-8"));
    let text = reply.text();
    for line in [
        "method=GET",
        "uri=/show.jsp",
        "query=p=1%202",
        "host=site.test",
        "server=site.test:80",
        "remote=127.0.0.1",
        "secure=false",
        "x-a=[1, 2]",
        "realm=of GET",
        "user=null",
        "p=1 2",
        "count=1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} is not in {text:?}");
    }
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for count in 2..5 {
        // On the connection that was kept, after a ping.
        let cookie = format!("Cookie: {cookie}");
        let text = ask(&mut client, "GET", "/show.jsp", &[&cookie]).unwrap().text();
        assert!(text.contains(&format!("count={count}")), "{text}");
    }
    client
        .send("POST /show.jsp HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\np=abc")
        .unwrap();
    assert!(client.read_response().unwrap().text().contains("p=abc"));
    assert_eq!(tomcat.server.get("/none.jsp").status, 404);
    assert_eq!(tomcat.server.ask("HEAD", "/show.jsp", &[]).body, b"");
    // What a container would drop from a path, so that it sees another one.
    assert_eq!(tomcat.server.get("/a/..;/show.jsp").status, 400);
}

#[test]
fn contents_flow_as_tomcat_asks_for_them() {
    let Some(tomcat) = Tomcat::start(r#".secret = "open sesame""#) else { return };
    let reply = post(&tomcat.server, "/echo.jsp", 100);
    assert_eq!(reply.text().trim(), format!("{} {}", 100 << 20, hex_md5(mebibytes(100))));
    let mut client = tomcat.server.connect();
    for pieces in [&["abc", "defg"][..], &[], &["x"]] {
        let content = pieces.concat();
        let reply = post_chunked(&mut client, "/echo.jsp", pieces);
        let digest = hex_md5([content.clone().into_bytes()].into_iter());
        assert_eq!(reply.text().trim(), format!("{} {digest}", content.len()));
    }
    let lines = ["Host: http.test"];
    let head = format!("GET /show.jsp HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
    client.send(head).unwrap();
    assert!(client.read_response().unwrap().text().contains("method=GET"));
}

#[test]
fn tomcat_does_not_take_requests_without_its_secret() {
    let Some(tomcat) = Tomcat::start(r#".secret = "another""#) else { return };
    assert_eq!(tomcat.server.get("/show.jsp").status, 403);
}
