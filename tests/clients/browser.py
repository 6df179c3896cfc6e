#!/usr/bin/env python3
"""Does a real browser get along with the edge? Loads the app server's page in headless Chromium.

    browser.py [--screenshot FILE] [--expect-protocol h2] ADDRESS CA

ADDRESS is HOST:PORT of the edge's https listener, CA the authority's certificate (PEM). The browser
trusts that authority by a certificate database of its own in a throw-away home, so certificate
errors are real errors. It passes when the page came over the expected protocol, its WebSocket said
back what it sent, and its requests to the pools were answered. It prints one line of JSON.

The browser must reach nothing but this machine: every other name is mapped to nowhere.
"""

import argparse
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_SECONDS = 60


def main():
    args = arguments()
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        sys.exit("browser: no Chromium here: run scripts/setup.sh test")
    with tempfile.TemporaryDirectory(prefix="portcullis-browser-") as home:
        trust(home, args.ca)
        # The page holds its load event back for so many milliseconds of real time: a WebSocket does not
        # live in the browser's virtual time.
        url = f"https://{args.address}/?settle=2500"
        dom = run(browser, home, ["--dump-dom", url])
        facts = read(dom)
        if args.screenshot:
            shot = os.path.abspath(args.screenshot)
            run(browser, home, [f"--screenshot={shot}", "--hide-scrollbars", url])
            facts["screenshot"] = shot
    problems = list(judge(facts, args.expect_protocol))
    print(json.dumps({"client": "browser", "url": url, "ok": not problems, "problems": problems, **facts}))
    return 1 if problems else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address", help="HOST:PORT of the https listener")
    parser.add_argument("ca", help="certificate of the authority, PEM")
    parser.add_argument("--screenshot", metavar="FILE", help="also write a PNG of the page")
    parser.add_argument("--expect-protocol", default="h2", help="as ALPN names it (default: h2)")
    return parser.parse_args()


def trust(home, ca):
    """Makes a certificate database in `home` where the browser looks for it."""
    store = os.path.join(home, ".pki", "nssdb")
    os.makedirs(store)
    for command in (
        ["certutil", "-d", f"sql:{store}", "-N", "--empty-password"],
        ["certutil", "-d", f"sql:{store}", "-A", "-t", "C,,", "-n", "portcullis-ca", "-i", ca],
    ):
        subprocess.run(command, check=True, capture_output=True)


def command(browser, home, what):
    """How the browser is started, with nothing of its own that talks to others."""
    return [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-sync",
        "--metrics-recording-only",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
        f"--user-data-dir={home}/profile",
        "--force-device-scale-factor=1",
        "--window-size=1200,1130",
        *what,
    ]


def environment(home):
    """The browser's home is the throw-away one."""
    return dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, XDG_CACHE_HOME=home)


def run(browser, home, what):
    """Runs the browser once and returns what it printed."""
    # A session of its own, so that the whole family of processes can be ended at once.
    process = subprocess.Popen(
        command(browser, home, what), env=environment(home), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        sys.exit(f"browser: no answer in {PATIENCE_SECONDS} s\n{err[-2000:]}")
    if process.returncode != 0:
        sys.exit(f"browser: exit {process.returncode}\n{err[-2000:]}")
    return out


def read(dom):
    """The facts that the page's script wrote on its root element."""
    root = re.search(r"<html\b[^>]*>", dom)
    data = dict(re.findall(r'data-([a-z]+)="([^"]*)"', root.group(0))) if root else {}
    title = re.search(r"<title>(.*?)</title>", dom, re.S)
    return {
        "title": html.unescape(title.group(1)) if title else None,
        "protocol": data.get("protocol"),
        "websocket": data.get("socket"),
        "echo": data.get("echo"),
        "pools": data.get("pools"),
        "workers": sorted(set(re.findall(r'class="chip"><b>(\d+)</b>', dom)), key=int),
    }


def judge(facts, protocol):
    for name, wanted in (("protocol", protocol), ("websocket", "open"), ("echo", "ok"), ("pools", "ok")):
        if facts[name] != wanted:
            yield f"{name} is {facts[name]}, not {wanted}"
    if not facts["workers"]:
        yield "no worker answered the page"


if __name__ == "__main__":
    sys.exit(main())
