//! The pages in a browser, which is told what to do by its debugging protocol over two pipes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hemi_core::clock;
use hemi_test::{TempDir, peer};
use serde_json::{Value, json};

use super::{TOKEN, Under};
use crate::control::{Act, Event, What};

/// A page of a browser without a window.
struct Browser {
    child: Child,
    commands: File,
    messages: BufReader<File>,
    session: Option<String>,
    sent: u64,
    _dir: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Browser {
    fn open(chromium: &Path) -> Self {
        let dir = TempDir::new().unwrap();
        let (commands, messages) = (dir.path().join("commands"), dir.path().join("messages"));
        assert!(Command::new("mkfifo").args([&commands, &messages]).status().unwrap().success());
        let start = "exec \"$0\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
            --user-data-dir=\"$3\" --remote-debugging-pipe 3<\"$1\" 4>\"$2\"";
        let child = Command::new("sh")
            .args(["-c", start])
            .args([chromium, &commands, &messages, &dir.path().join("profile")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = OpenOptions::new().write(true).open(commands).unwrap();
        let messages = BufReader::new(File::open(messages).unwrap());
        let mut browser = Self { child, commands, messages, session: None, sent: 0, _dir: dir };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params).unwrap_or_else(|refused| panic!("{method}: {refused}"))
    }

    /// What comes back, or why nothing did.
    fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.sent += 1;
        let mut command = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.clone().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut message = Vec::new();
            self.messages.read_until(0, &mut message).unwrap();
            message.pop();
            let message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.sent {
                let error = &message["error"];
                return if error.is_null() {
                    Ok(message["result"].clone())
                } else {
                    Err(error.clone())
                };
            }
        }
    }

    fn size(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait(&format!("location.href == '{url}' && document.readyState == 'complete'"));
    }

    /// What the script comes to; null while one page makes room for the next.
    fn eval(&mut self, script: &str) -> Value {
        let script = json!({"expression": script, "returnByValue": true});
        match self.ask("Runtime.evaluate", script) {
            Ok(result) => result["result"]["value"].clone(),
            Err(error) if error["message"].as_str().is_some_and(|m| m.contains("navigated")) => {
                Value::Null
            }
            Err(error) => panic!("Runtime.evaluate: {error}"),
        }
    }

    /// Waits until this is true.
    #[track_caller]
    fn wait(&mut self, condition: &str) {
        let until: Instant = clock::exact() + PATIENCE;
        while self.eval(condition) != true {
            assert!(
                clock::exact() < until,
                "{condition}: {}",
                self.eval("document.body.innerText")
            );
        }
    }

    /// Keeps a picture, for people to look at, where the environment says.
    fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("GOROX_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let file = Path::new(&dir).join(format!("{name}.png.base64"));
        std::fs::write(file, shot["data"].as_str().unwrap()).unwrap();
    }

    /// No page is wider than its window.
    #[track_caller]
    fn expect_fit(&mut self, what: &str) {
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.eval(wide), 0, "{what}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_operator_logs_in_watches_and_reloads() {
    let Some(chromium) = peer("chromium") else { return };
    let under = Under::new();
    let site = format!("http://{}", under.port("webui"));
    let mut browser = Browser::open(&chromium);
    browser.size(1280, 900, "light");
    browser.go(&format!("{site}/login"));
    browser.picture("login");
    browser.eval("token.value = 'wrong'; document.forms[0].submit()");
    browser.wait("document.body.innerText.includes('That is not the token')");
    browser.eval(&format!("token.value = '{TOKEN}'; document.forms[0].submit()"));
    browser.wait("document.title.startsWith('Overview')");

    // What changes is shown without loading the page again.
    browser.eval("window.mark = 1");
    browser.wait("document.getElementById('state').textContent == 'live'");
    under.leader.tell(Event::now(What::Failed, "worker 1001 was lost"));
    browser.wait("document.body.innerText.includes('worker 1001 was lost')");
    assert_eq!(browser.eval("window.mark"), 1);

    for (width, height, scheme) in [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light")]
    {
        browser.size(width, height, scheme);
        browser.expect_fit(&format!("{width} {scheme}"));
        browser.picture(&format!("overview-{width}-{scheme}"));
    }
    browser.go(&format!("{site}/config"));
    browser.expect_fit("config, 390");
    browser.picture("config-390");

    browser.size(1280, 900, "light");
    browser.go(&format!("{site}/"));
    browser.eval("document.querySelector('button[value=reload]').click()");
    browser.wait("document.body.innerText.includes('Reload: done')");
    assert_eq!(under.leader.acts(), [Act::Reload]);
    // Nobody quits by accident.
    browser.eval("document.querySelector('button[value=quit]').click()");
    under.leader.refuse();
    browser.eval("document.querySelector('button[value=reload]').click()");
    browser.wait("document.body.innerText.includes('unknown property')");
    assert_eq!(under.leader.acts(), [Act::Reload]);
    browser.expect_fit("refused, 1280");
    browser.picture("refused");
    browser.go(&format!("{site}/config"));
    browser.picture("config-refused");
    browser.eval("document.querySelector('form[action=\"/logout\"] button').click()");
    browser.wait("location.pathname == '/login'");
    browser.go(&format!("{site}/login"));
    browser.call("Page.navigate", json!({"url": site}));
    browser.wait("location.pathname == '/login' && document.readyState == 'complete'");
}
