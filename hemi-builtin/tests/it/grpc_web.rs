//! gRPC-Web from a page of another origin, in a browser.

use std::net::SocketAddr;

use hemi_test::{Browser, peer};
use serde_json::{Value, json};

use crate::server::{Running, load_with, site};

/// Has services beside rules for pages of this origin.
fn api(origin: &str) -> Running {
    let config = format!(
        r#"stage {{
            echoService "Echo" {{}}
            webapp "api" {{
                .hostnames = ("*")
                rule {{
                    cors {{ .origins = ("{origin}")  .headers = ("*")  .exposedHeaders = ("*") }}
                    grpcServices {{ .services = ("Echo") }}
                }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("api") }}
        }}"#
    );
    load_with(1, &config, hemi_rpc::register).unwrap_or_else(|e| panic!("{e}"))
}

/// Calls a method, and leaves in `answer` what has come: frames, each with its flags, or the status of an answer that has
/// none.
const SCRIPT: &str = r"
    const call = async (url, media, text, said) => {
        const message = new TextEncoder().encode(said);
        const frame = new Uint8Array(5 + message.length);
        new DataView(frame.buffer).setUint32(1, message.length);
        frame.set(message, 5);
        const letters = () => btoa(Array.from(frame, byte => String.fromCharCode(byte)).join(''));
        const headers = {'content-type': media, 'x-grpc-web': '1', 'x-user-agent': 'a page'};
        const asked = {method: 'POST', headers, body: text ? letters() : frame};
        const got = await fetch(url, asked);
        let bytes = new Uint8Array(await got.arrayBuffer());
        if (text) {
            const pieces = new TextDecoder().decode(bytes).match(/[^=]+=*/g) || [];
            bytes = Uint8Array.from(pieces.map(atob).join(''), letter => letter.charCodeAt(0));
        }
        const frames = [];
        for (let at = 0; at < bytes.length;) {
            const length = new DataView(bytes.buffer).getUint32(at + 1);
            const inside = bytes.subarray(at + 5, at + 5 + length);
            frames.push([bytes[at], new TextDecoder().decode(inside)]);
            at += 5 + length;
        }
        return frames.length ? frames : got.headers.get('grpc-status');
    };
";

/// What a page gets that calls this method by this media type.
fn call(browser: &mut Browser, api: SocketAddr, method: &str, media: &str, said: &str) -> Value {
    let text = media.starts_with("application/grpc-web-text");
    let (url, said) = (json!(format!("http://{api}/Echo/{method}")), json!(said));
    browser.eval(&format!(
        "window.answer = undefined; {{ {SCRIPT} call({url}, '{media}', {text}, {said})
            .then(got => window.answer = [got], e => window.answer = [e.name]); }}"
    ));
    browser.wait("window.answer !== undefined");
    browser.eval("window.answer[0]")
}

#[test]
fn a_page_of_another_origin_calls_services() {
    let Some(chromium) = peer("chromium") else { return };
    let page = site("", "rule { .returnCode = 200  .returnText = \"a page\" }");
    let origin = format!("http://{}", page.addr());
    let (api, closed) = (api(&origin), api("https://other.test"));
    let mut browser = Browser::open(&chromium, &[]);
    browser.go(&format!("{origin}/"));
    let long = "ä☺".repeat(5000);
    for media in ["application/grpc-web+proto", "application/grpc-web", "application/grpc-web-text"]
    {
        for said in ["hello ☺", "", &*long] {
            let got = call(&mut browser, api.addr(), "Echo", media, said);
            assert_eq!(got, json!([[0, said], [128, "grpc-status: 0\r\n"]]), "{media}");
        }
        // Which has it in its head: the page may see it.
        assert_eq!(call(&mut browser, api.addr(), "None", media, ""), "12", "{media}");
    }
    let media = "application/grpc-web+proto";
    assert_eq!(call(&mut browser, closed.addr(), "Echo", media, "hello"), "TypeError");
}
