//! Who looks at the pages? A real browser, which is told what to do (`tests/clients/pages.py`).
//!
//! It stands before the edge's https listener and trusts its authority. What cannot be reached by the mouse cannot be
//! pressed. A missing Chromium is a failure that says how to install it. With `PAGES_SCREENSHOTS=DIRECTORY`
//! pictures of what is looked at go there.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::eventually::{eventually, patience};
use crate::gateway::Gateway;
use crate::person::{EMAIL, PASSWORD};
use crate::stack::root;

/// A browser. The end of its keeper's input, which comes with the drop, is its end.
pub struct Chromium {
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// The screen that somebody stands before.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// What it is called.
    pub name: &'static str,
    /// Pixels of the style sheet.
    pub width: u32,
    /// Pixels of the style sheet.
    pub height: u32,
    /// It is held in a hand.
    pub phone: bool,
    /// Dark colours are preferred.
    pub dark: bool,
}

/// A phone, upright.
pub const PHONE: Screen = Screen {
    name: "phone",
    width: 390,
    height: 844,
    phone: true,
    dark: false,
};

/// The screen of a desk.
pub const DESK: Screen = Screen {
    name: "desk",
    width: 1280,
    height: 900,
    phone: false,
    dark: false,
};

/// A screen on a wall.
pub const WALL: Screen = Screen {
    name: "wall",
    width: 1920,
    height: 1080,
    phone: false,
    dark: false,
};

impl Screen {
    /// The same in the dark.
    pub const fn dark(self, name: &'static str) -> Screen {
        Screen {
            name,
            dark: true,
            ..self
        }
    }
}

impl Chromium {
    /// Starts one before this edge.
    pub async fn start(gateway: &Gateway) -> Chromium {
        let python = root().join(".venv/bin/python");
        let python = match python.exists() {
            true => python,
            false => "python3".into(),
        };
        let mut command = Command::new(python);
        command.arg(root().join("tests/clients/pages.py"));
        if let Some(directory) = std::env::var_os("PAGES_SCREENSHOTS") {
            command.arg("--screenshots").arg(directory);
        }
        let mut child = command
            .arg(format!("localhost:{}", gateway.port("https")))
            .arg(gateway.file("ca.pem"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python can be started: `make test` installs it");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        Chromium {
            _child: child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        }
    }

    /// Starts one, and signs in with the password of tests.
    pub async fn signed_in(gateway: &Gateway) -> Chromium {
        let mut browser = Chromium::start(gateway).await;
        browser.open("/").await;
        browser.fill("E-mail address", EMAIL).await;
        browser.fill("Password", PASSWORD).await;
        let path = browser.press("Sign in").await;
        assert_eq!(path, "/computers");
        browser
    }

    /// One order and what came of it, or why nothing did.
    async fn tell(&mut self, order: &Value) -> Result<Value, String> {
        let line = format!("{order}\n");
        let lost = "the browser's keeper is gone: see standard error";
        self.stdin.write_all(line.as_bytes()).await.expect(lost);
        // The keeper has a patience of its own, shorter than this.
        let read = tokio::time::timeout(patience() * 8, self.stdout.next_line());
        let line = read.await.expect("an answer").expect(lost).expect(lost);
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    async fn do_it(&mut self, order: Value) -> Value {
        let done = self.tell(&order).await;
        done.unwrap_or_else(|error| panic!("{order}: {error}"))
    }

    /// Goes before another screen.
    pub async fn before(&mut self, screen: Screen) {
        let order = json!({"do": "shape", "width": screen.width, "height": screen.height,
                           "phone": screen.phone, "dark": screen.dark});
        self.do_it(order).await;
    }

    /// Forbids scripts.
    pub async fn without_scripts(&mut self) {
        self.do_it(json!({"do": "scripts", "on": false})).await;
    }

    /// Opens a page, which must come over HTTP/2 with status 200; where that is in the end.
    pub async fn open(&mut self, path: &str) -> String {
        self.open_as(path, 200).await
    }

    /// As [`Chromium::open`], with another status.
    pub async fn open_as(&mut self, path: &str, status: u16) -> String {
        let came = self.do_it(json!({"do": "open", "path": path})).await;
        assert_eq!(
            (&came["status"], &came["protocol"]),
            (&status.into(), &"h2".into()),
            "{path}"
        );
        came["path"].as_str().expect("a path").to_owned()
    }

    /// Types into a field.
    pub async fn fill(&mut self, field: &str, text: &str) {
        self.do_it(json!({"do": "fill", "field": field, "text": text}))
            .await;
    }

    /// Chooses from a list.
    pub async fn choose(&mut self, field: &str, text: &str) {
        self.do_it(json!({"do": "choose", "field": field, "text": text}))
            .await;
    }

    /// Presses what says this; the path of the page that comes.
    pub async fn press(&mut self, words: &str) -> String {
        let path = self.do_it(json!({"do": "press", "text": words})).await;
        path.as_str().expect("a path").to_owned()
    }

    /// Presses what says this in the smallest row or part that holds a text.
    pub async fn press_within(&mut self, row: &str, words: &str) -> String {
        let order = json!({"do": "press", "text": words, "within": row});
        let path = self.do_it(order).await;
        path.as_str().expect("a path").to_owned()
    }

    /// Unfolds what is folded under this head.
    pub async fn unfold(&mut self, words: &str) {
        self.do_it(json!({"do": "unfold", "text": words})).await;
    }

    /// What can be read on the page.
    pub async fn text(&mut self) -> String {
        let text = self.do_it(json!({"do": "text"})).await;
        text.as_str().expect("text").to_owned()
    }

    /// The value of an expression in the page.
    pub async fn ask(&mut self, source: &str) -> Value {
        self.do_it(json!({"do": "ask", "source": source})).await
    }

    /// Waits until the page shows this, without touching it.
    pub async fn until_it_shows(&mut self, text: &str) {
        let browser = tokio::sync::Mutex::new(self);
        eventually(&format!("the open page shows {text}"), || async {
            let shown = browser.lock().await.text().await;
            shown.contains(text).then_some(())
        })
        .await;
    }

    /// Must show all of these.
    pub async fn shows(&mut self, texts: &[&str]) {
        let shown = self.text().await;
        for text in texts {
            assert!(shown.contains(text), "`{text}` is not in\n{shown}");
        }
    }

    /// Looks at the page, whose look must have nothing wrong with it; the size of its smallest letters, pixels.
    pub async fn look(&mut self, name: &str) -> f64 {
        let seen = self.do_it(json!({"do": "look", "name": name})).await;
        assert_eq!(seen["problems"], json!([]), "{name}");
        seen["smallest"].as_f64().expect("there are letters")
    }

    /// The browser must not have complained of anything.
    pub async fn complains_of_nothing(&mut self) {
        let told = self.do_it(json!({"do": "told"})).await;
        assert_eq!(told, json!([]));
    }
}
