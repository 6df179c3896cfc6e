#!/usr/bin/env python3
"""Somebody in front of a real browser, who is told what to do: headless Chromium behind the edge.

    pages.py [--screenshots DIRECTORY] ADDRESS CA

ADDRESS is HOST:PORT of the edge's https listener, CA the authority's certificate (PEM), which the browser trusts by a
certificate database of its own. One order is read from each line of standard input, as JSON with the word `do`,
and answered by one line: {"ok": ...}, or {"error": TEXT} where it could not be done. The orders are the functions
below whose names begin with `do_`. Buttons are pressed and words typed as by hand: what cannot be reached by the
mouse cannot be pressed. Chromium is spoken to over a pipe (its DevTools protocol); the end of the input is its end.
"""

import argparse
import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from browser import NAMES, PATIENCE_SECONDS, command, environment, trust

# What is wrong with a page as it stands: told by the page itself, in its own pixels.
LOOK = r"""
(width => {
  const problems = [], name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") +
    (typeof e.className === "string" && e.className ? "." + e.className : "") + " `" + (e.textContent || "").trim().slice(0, 30) + "`";
  const root = document.documentElement;
  if (innerWidth !== width) problems.push(`the page is laid out ${innerWidth} wide, not ${width}`);
  if (root.scrollWidth > width) problems.push(`the page is ${root.scrollWidth} wide, the screen ${width}`);
  const shown = e => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getClientRects().length > 0;
  const clipped = e => e.closest("thead") && getComputedStyle(e.closest("thead")).position === "absolute";
  const parse = text => { const p = text.match(/[\d.]+/g).map(Number); return p.length < 4 ? [...p, 1] : p; };
  const over = (a, b) => a.slice(0, 3).map((v, i) => v * a[3] + b[i] * (1 - a[3])).concat(1);
  const ground = e => {
    const layers = [];
    for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
    return layers.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 1]);
  };
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const faint = new Set();
  let smallest = Infinity;
  for (const e of document.body.querySelectorAll("*")) {
    if (!shown(e) || clipped(e) || e.closest("svg")) continue;
    const box = e.getBoundingClientRect();
    if (box.right > width + 0.5 || box.left < -0.5) problems.push(`${name(e)} reaches from ${box.left} to ${box.right}`);
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX))
      problems.push(`${name(e)} must be scrolled sideways`);
    const words = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (words || e.matches("input, select, textarea")) {
      const style = getComputedStyle(e), under = ground(e), [a, b] = [light(over(parse(style.color), under)), light(under)].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      if (contrast < 4.5) faint.add(`${name(e)} has a contrast of ${contrast.toFixed(2)}`);
      smallest = Math.min(smallest, parseFloat(style.fontSize));
    }
    if (e.matches("button, .button, select, textarea, summary, nav a, input:not([type=hidden])") && !e.matches(".skip") && Math.min(box.width, box.height) < 24)
      problems.push(`${name(e)} is too small to hit`);
  }
  // For those who hear the page.
  if (!root.lang) problems.push("the page does not say its language");
  if (!document.title.trim()) problems.push("the page has no title");
  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(e => Number(e.tagName[1]));
  if (levels[0] !== 1 || levels.filter(level => level === 1).length !== 1) problems.push(`headings of the levels ${levels}`);
  if (levels.some((level, at) => at > 0 && level > levels[at - 1] + 1)) problems.push(`the levels of headings leap: ${levels}`);
  const called = e => (e.getAttribute("aria-label") || "") + [...(e.labels || [])].map(l => l.innerText).join("") +
    (e.matches("input, select, textarea, nav, svg") ? "" : e.textContent);
  for (const e of document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary, th, nav, svg"))
    if (!called(e).trim()) problems.push(`${name(e)} has no name`);
  for (const e of document.querySelectorAll("th:not([scope])")) problems.push(`${name(e)} does not say whose head it is`);
  for (const e of document.querySelectorAll("img:not([alt])")) problems.push(`${name(e)} has no text in its place`);
  return { problems: [...problems, ...faint], smallest, height: root.scrollHeight };
})
"""

# The middle of something that can be pressed, brought into sight; a text where there is none.
FIND = r"""
((words, within) => {
  const says = e => (e.innerText || e.value || "").replace(/\s+/g, " ").trim();
  let at = document.body;
  if (within) {
    const places = [...document.querySelectorAll("tr, figure, section, form, nav")].filter(e => e.innerText.includes(within));
    at = places.sort((a, b) => a.innerText.length - b.innerText.length)[0];
    if (!at) return `there is no row with ${within}`;
  }
  const found = [...at.querySelectorAll("a, button, summary")].filter(e => says(e) === words && e.checkVisibility());
  if (found.length === 0) return `there is no ${words} to press: ` + [...at.querySelectorAll("a, button")].map(says).join(", ");
  found[0].scrollIntoView({ block: "center", behavior: "instant" });
  const box = found[0].getClientRects()[0];
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const top = document.elementFromPoint(x, y);
  return found[0].contains(top) ? [x, y] : `${words} lies under ${top && top.tagName}`;
})
"""

# The middle of a field by its label, name for readers or placeholder.
FIELD = r"""
(label => {
  const named = e => [e.getAttribute("aria-label"), e.placeholder, ...[...(e.labels || [])].map(l => l.innerText.trim())];
  const field = [...document.querySelectorAll("input, select, textarea")].find(e => named(e).some(n => n === label) && e.checkVisibility());
  if (!field) return `there is no field ${label}`;
  field.scrollIntoView({ block: "center", behavior: "instant" });
  const box = field.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})
"""

CHOOSE = r"""
((label, text) => {
  const field = [...document.querySelectorAll("select")].find(e => e.getAttribute("aria-label") === label);
  const option = field && [...field.options].find(o => o.text === text);
  if (!option) return `there is no ${text} to choose in ${label}`;
  field.value = option.value;
  return [];
})
"""


def away(end):
    """The same under a number of two digits."""
    other = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(end)
    return other


# What Chromium says where a page went while it was asked.
GONE = ("context was destroyed", "Cannot find default execution context", "navigated or closed")


class Trouble(Exception):
    """An order that cannot be carried out."""


class Chromium:
    def __init__(self, home):
        browser = next(filter(None, map(shutil.which, NAMES)), None)
        if browser is None:
            sys.exit("pages: no Chromium here: run scripts/setup.sh test")
        out_read, self.out = os.pipe()
        self.into, in_write = os.pipe()
        # Away from 3 and 4, which are meant for the browser.
        out_read, in_write = (away(end) for end in (out_read, in_write))
        what = ["--remote-debugging-pipe", "about:blank"]
        # It reads orders from its descriptor 3 and answers on 4.
        shell = f'exec "$@" 3<&{out_read} 4>&{in_write} {out_read}<&- {in_write}>&-'
        self.log = open(os.path.join(home, "log"), "w+")
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command(browser, home, what)],
            env=environment(home), start_new_session=True, pass_fds=(out_read, in_write),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log,
        )
        os.close(out_read)
        os.close(in_write)
        self.read, self.number, self.loads, self.problems, self.answers = b"", 0, 0, [], []
        self.session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def call(self, method, **parameters):
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        os.write(self.out, json.dumps(order).encode() + b"\0")
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            message = self.next(end)
            if message.get("id") == self.number:
                if "error" in message:
                    raise Trouble(f"{method}: {message['error']['message']}")
                return message["result"]

    def next(self, end):
        """The next message; what it tells of itself is noted."""
        while b"\0" not in self.read:
            ready, _, _ = select.select([self.into], [], [], max(0, end - time.monotonic()))
            data = os.read(self.into, 1 << 20) if ready else b""
            if not data:
                self.log.seek(0)
                raise Trouble(f"Chromium says nothing (any more): {self.log.read()[-2000:]}")
            self.read += data
        one, self.read = self.read.split(b"\0", 1)
        message = json.loads(one)
        if "method" in message:
            self.note(message["method"], message["params"])
        return message

    def note(self, event, told):
        if event == "Page.loadEventFired":
            self.loads += 1
        elif event == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            words = [str(one.get("value", one.get("description"))) for one in told["args"]]
            self.problems.append(f"console: {' '.join(words)}")
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            entry = told["entry"]
            self.problems.append(f"{entry['source']}: {entry['text']} ({entry.get('url', '')})")
        elif event == "Network.responseReceived":
            response = told["response"]
            self.answers.append((told["type"], response["url"], response["status"], response.get("protocol")))
        elif event == "Network.loadingFailed" and not told.get("canceled"):
            self.problems.append(f"not loaded: {told['type']}: {told.get('blockedReason', told['errorText'])}")

    def until_loaded(self, before):
        end = time.monotonic() + PATIENCE_SECONDS
        while self.loads == before:
            self.next(end)

    def ask(self, source):
        """The value of an expression in the page; where one goes that loads itself anew, in the next."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                result = self.call("Runtime.evaluate", expression=source, returnByValue=True)
                break
            except Trouble as trouble:
                if time.monotonic() > end or not any(words in str(trouble) for words in GONE):
                    raise
        if "exceptionDetails" in result:
            raise Trouble(f"asked wrongly: {result['exceptionDetails']}")
        return result["result"].get("value")

    def place(self, source, *words):
        found = self.ask(f"{source}({', '.join(json.dumps(word) for word in words)})")
        if isinstance(found, str):
            raise Trouble(f"{found} (at {self.ask('location.href')})")
        return found

    def click(self, x, y):
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            more = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


class Somebody:
    def __init__(self, browser, address, screenshots):
        self.browser, self.root, self.screenshots = browser, f"https://{address}", screenshots
        self.width, self.height = 1200, 900

    def do_shape(self, width, height, scale=1, phone=False, dark=False):
        """The screen that it stands before."""
        self.width, self.height = width, height
        self.browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.call("Emulation.setEmulatedMedia", features=[scheme])

    def do_scripts(self, on):
        """Whether pages may run scripts."""
        self.browser.call("Emulation.setScriptExecutionDisabled", value=not on)

    def do_open(self, path):
        """Opens a page of the edge. How it came: (status, protocol) of the document."""
        before = self.browser.loads
        self.browser.answers.clear()
        result = self.browser.call("Page.navigate", url=self.root + path)
        if "errorText" in result:
            raise Trouble(f"{path}: {result['errorText']}")
        self.browser.until_loaded(before)
        documents = [answer for answer in self.browser.answers if answer[0] == "Document"]
        return {"status": documents[-1][2], "protocol": documents[-1][3], "path": self.do_path()}

    def do_fill(self, field, text):
        """Types into a field, in place of what is there."""
        self.browser.click(*self.browser.place(FIELD, field))
        self.browser.ask("document.activeElement.select && document.activeElement.select()")
        self.browser.call("Input.insertText", text=text)

    def do_choose(self, field, text):
        """Chooses from a list."""
        self.browser.place(CHOOSE, field, text)

    def do_press(self, text, within=None):
        """Presses a link or button that says this, and waits for the page that comes. Where that is."""
        before = self.browser.loads
        self.browser.click(*self.browser.place(FIND, text, within))
        self.browser.until_loaded(before)
        return self.do_path()

    def do_unfold(self, text):
        """Presses the head of something folded, after which no page comes."""
        self.browser.click(*self.browser.place(FIND, text, None))

    def do_path(self):
        """Where it is."""
        return self.browser.ask("location.pathname + location.search")

    def do_text(self):
        """What can be read."""
        return self.browser.ask("document.body ? document.body.innerText : ''")

    def do_ask(self, source):
        """The value of an expression."""
        return self.browser.ask(source)

    def do_told(self):
        """What the browser complained of since it was asked last."""
        self.browser.call("Runtime.evaluate", expression="0")
        told, self.browser.problems = self.browser.problems, []
        return told

    def do_look(self, name):
        """What is wrong with the page as it looks; and a picture of it, where pictures are wanted."""
        seen = self.browser.ask(f"{LOOK}({self.width})")
        if self.screenshots:
            height = min(max(seen["height"], self.height), 4000)
            clip = {"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1}
            shot = self.browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
            with open(os.path.join(self.screenshots, f"{name}.png"), "wb") as file:
                file.write(base64.b64decode(shot["data"]))
        return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address", help="HOST:PORT of the https listener")
    parser.add_argument("ca", help="certificate of the authority, PEM")
    parser.add_argument("--screenshots", metavar="DIRECTORY", help="where pictures of the pages go")
    line = parser.parse_args()
    if line.screenshots:
        os.makedirs(line.screenshots, exist_ok=True)
    home = tempfile.mkdtemp(prefix="portcullis-browser-")
    try:
        trust(home, line.ca)
        serve(home, line)
    finally:
        # What the browser's children still write may stay.
        shutil.rmtree(home, ignore_errors=True)


def serve(home, line):
    browser = Chromium(home)
    try:
        somebody = Somebody(browser, line.address, line.screenshots)
        for text in sys.stdin:
            order = json.loads(text)
            try:
                answer = {"ok": getattr(somebody, f"do_{order.pop('do')}")(**order)}
            except Trouble as trouble:
                answer = {"error": str(trouble)}
            print(json.dumps(answer), flush=True)
    finally:
        browser.end()


if __name__ == "__main__":
    main()
