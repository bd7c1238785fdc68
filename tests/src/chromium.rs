//! A real browser without a window, driven by its DevTools protocol over a pair of pipes.
//!
//! It can resolve no name, and every request that a page makes is told, so that a page that asks for anything is found out.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    to: File,
    from: Receiver<Value>,
    session: String,
    next: u64,
    events: Vec<Value>,
    _dir: TempDir,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// By dark.
    pub dark: bool,
}

impl Chromium {
    /// Starts it with an empty page.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let dir = TempDir::with_prefix("chromium.").expect("a folder can be made");
        let [to, from] = ["to", "from"].map(|name| dir.path().join(name));
        let made = Command::new("mkfifo").args([&to, &from]).status().expect("mkfifo runs");
        assert!(made.success(), "mkfifo: {made}");
        // The browser reads its descriptor 3 and writes its 4. Both ends are opened for both ways, so that none waits.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --remote-debugging-pipe \
             --disable-background-networking --disable-component-update --no-first-run --disable-sync \
             --disable-default-apps --host-resolver-rules='MAP * ~NOTFOUND' --hide-scrollbars \
             --user-data-dir=\"$0/profile\" about:blank 3<>\"$0/to\" 4<>\"$0/from\"";
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).expect("a file"))
            .spawn()
            .expect("sh runs");
        let both = |path: &Path| File::options().read(true).write(true).open(path).expect("a pipe");
        let (told, from) = (both(&from), channel());
        let (sender, receiver) = from;
        std::thread::spawn(move || {
            let messages = BufReader::new(told).split(0);
            for message in messages.map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let to = both(&to);
        let mut chromium = Self {
            child,
            to,
            from: receiver,
            session: String::new(),
            next: 0,
            events: Vec::new(),
            _dir: dir,
        };
        let target = chromium.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = chromium.call("Target.attachToTarget", &attach)["sessionId"].clone();
        chromium.session = session.as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium.call(&format!("{domain}.enable"), &json!({}));
        }
        chromium
    }

    /// Asks the browser for something and waits for its answer; events that come meanwhile are kept.
    ///
    /// # Panics
    /// If it says that this cannot be done, or nothing in time.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.message(until, method);
            if answer["id"] == json!(self.next) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn message(&mut self, until: Instant, wanted: &str) -> Value {
        let left = until.saturating_duration_since(Instant::now());
        self.from.recv_timeout(left).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(self._dir.path().join("log")).unwrap_or_default();
            panic!(
                "the browser said nothing of {wanted} in {PATIENCE:?}; its log ends: {}",
                crate::run::tail(&log, 2000)
            )
        })
    }

    /// Opens a file as a page and waits until it is loaded.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub fn open(&mut self, path: &Path, show: Show) {
        self.show(show);
        self.events.clear();
        let opened = self.call("Page.navigate", &json!({ "url": format!("file://{}", path.display()) }));
        assert!(opened["errorText"].is_null(), "{opened}");
        let until = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == json!("Page.loadEventFired")) {
            let event = self.message(until, "the page's load");
            self.events.push(event);
        }
    }

    /// Shows the page in another size, or by the other light.
    pub fn show(&mut self, show: Show) {
        let size = json!({ "width": show.width, "height": show.height, "deviceScaleFactor": 1, "mobile": show.width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if show.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// The value of an expression in the page.
    ///
    /// # Panics
    /// If it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// What the page has complained of since it was opened: errors and warnings of the console, of its scripts and of the browser.
    pub fn complaints(&self) -> Vec<String> {
        let of = |event: &&Value| {
            let method = event["method"].as_str().unwrap_or_default();
            matches!(method, "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded")
        };
        self.events.iter().filter(of).map(|event| event["params"].to_string()).collect()
    }

    /// The addresses that the page has asked for since it was opened, itself among them.
    pub fn requests(&self) -> Vec<String> {
        let sent = |event: &&Value| event["method"] == json!("Network.requestWillBeSent");
        let url = |event: &Value| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned();
        self.events.iter().filter(sent).map(url).collect()
    }

    /// The whole page as a picture (PNG).
    ///
    /// # Panics
    /// If it gives none.
    pub fn picture(&mut self) -> Vec<u8> {
        let picture =
            self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// The page on paper (PDF, A4).
    ///
    /// # Panics
    /// If it gives none.
    pub fn paper(&mut self) -> Vec<u8> {
        let wanted = json!({ "preferCSSPageSize": true, "printBackground": true });
        let paper = self.call("Page.printToPDF", &wanted);
        BASE64_STANDARD.decode(paper["data"].as_str().expect("a document")).expect("base64")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
