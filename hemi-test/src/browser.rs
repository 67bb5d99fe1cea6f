//! A browser, which is told what to do by its debugging protocol over two pipes.
#![expect(clippy::unwrap_used, reason = "what a browser does not do fails a test")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{TempDir, eventually};

/// A page of Chromium without a window. What it does not do panics.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: File,
    messages: BufReader<File>,
    session: Option<String>,
    sent: u64,
    _dir: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Browser {
    /// Opens an empty page; `arguments` are the browser's own.
    ///
    /// # Panics
    /// When there is no such program, or it does not speak.
    #[must_use]
    pub fn open(chromium: &Path, arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let (commands, messages) = (dir.path().join("commands"), dir.path().join("messages"));
        assert!(Command::new("mkfifo").args([&commands, &messages]).status().unwrap().success());
        let start = "browser=$0; commands=$1; messages=$2; profile=$3; shift 3; exec \"$browser\" \"$@\" \
            --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
            --user-data-dir=\"$profile\" --remote-debugging-pipe 3<\"$commands\" 4>\"$messages\"";
        let child = Command::new("sh")
            .args(["-c", start])
            .args([chromium, &commands, &messages, &dir.path().join("profile")])
            .args(arguments)
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

    /// Has it do something by its protocol, and gives what comes back.
    ///
    /// # Panics
    /// When it refuses.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
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

    /// Makes the window so large, for people who prefer this scheme of colours.
    pub fn size(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    /// Goes to a page, and waits until all of it is there.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait(&format!("location.href == '{url}' && document.readyState == 'complete'"));
    }

    /// What the script comes to; null while one page makes room for the next.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn eval(&mut self, script: &str) -> Value {
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
    ///
    /// # Panics
    /// When it takes too long: with the text of the page.
    #[track_caller]
    pub fn wait(&mut self, condition: &str) {
        if !eventually(PATIENCE, || self.eval(condition) == true) {
            panic!("{condition}: {}", self.eval("document.body.innerText"));
        }
    }

    /// Keeps a picture, for people to look at, where the environment says.
    ///
    /// # Panics
    /// When it can't be written there.
    pub fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("GOROX_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let file = Path::new(&dir).join(format!("{name}.png.base64"));
        std::fs::write(file, shot["data"].as_str().unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
