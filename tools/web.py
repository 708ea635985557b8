#!/usr/bin/env python3
"""A browser as a client, end to end: `pq demo --web` and headless Chromium, in which a digit is
drawn and read.

    python3 tools/web.py                    PQ is the binary, target/release/pq without it
    python3 tools/web.py --pictures FOLDER  writes the page as PNG, also dark and on a phone

What has to hold: the answer is the digit that was drawn, its logits are those of `pq eval` of the
same pixels, integer for integer, and so they are of a second digit in the same session. It prints
the seconds of a session and of an answer. It takes the client that bindings/web/build.sh builds,
Chromium and ChromeDriver (Debian's chromium and chromium-driver). Without them it says so, and ends
with code 0."""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PQ = Path(os.environ.get("PQ", ROOT / "target/release/pq")).resolve()
CLIENT = ROOT / "target/pq-web"
NEEDED = ["chromium", "chromedriver"]
# Only a hang exceeds it.
PATIENCE = 60
# Seconds that an answer may take on a quiet machine.
GOAL = 2.0
CHROMIUM = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
]
# Strokes, as points of a board of 8 by 8.
THREE = [(2, 1.2), (4.5, 1), (5.6, 2.2), (4, 3.8), (5.8, 5.2), (4.8, 6.9), (2, 6.8)]
ONE = [(3.2, 2), (4.4, 1), (4.4, 7)]
# The element of a W3C reference.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def skipped():
    """Why nothing can be run here, if so."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install chromium chromium-driver"
    if not (CLIENT / "pq_web_bg.wasm").exists():
        return "the client is not built: bindings/web/build.sh"
    return None


class Process:
    """A program whose first lines say where it listens."""

    def __init__(self, *command, env=None):
        self.running = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, text=True, env=env
        )

    def said(self, pattern):
        """The first group of the first line that matches."""
        for line in self.running.stdout:
            if found := re.search(pattern, line):
                return found[1]
        sys.exit(f"{self.running.args[0]} ended with {self.running.wait()}, without {pattern}")

    def end(self, how=signal.SIGINT):
        if self.running.poll() is None:
            self.running.send_signal(how)
        self.running.wait(PATIENCE)


class Browser:
    """A window of Chromium, through the WebDriver protocol."""

    def __init__(self, driver, profile):
        options = {"args": [*CHROMIUM, f"--user-data-dir={profile}", "--window-size=900,1180"]}
        if os.geteuid() == 0:
            # Chromium's sandbox takes rights away that root would get back.
            options["args"].append("--no-sandbox")
        self.base = f"http://127.0.0.1:{driver}/session"
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        self.base += "/" + self.post("", {"capabilities": wanted})["sessionId"]

    def post(self, path, body=None, method="POST"):
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.read().decode()[:600]}")

    def open(self, address):
        self.post("/url", {"url": address})

    def find(self, selector):
        return self.post("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.post(f"/element/{self.find(selector)}/click")

    def ask(self, script):
        return self.post("/execute/sync", {"script": f"return {script}", "args": []})

    def until(self, what, script):
        """Waits until a script's value is true, and returns it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.ask(script)):
            bad = self.ask("document.querySelector('#status').classList.contains('bad')")
            if bad or time.monotonic() > deadline:
                status = self.ask("document.querySelector('#status').textContent")
                sys.exit(f"no {what}; the page says: {status}")
            time.sleep(0.02)
        return found

    def draw(self, selector, points):
        """Draws a line with the mouse, through points of an element of 8 by 8."""
        size = self.ask(f"document.querySelector('{selector}').getBoundingClientRect().width")
        origin = {ELEMENT: self.find(selector)}
        moves = [
            {
                "type": "pointerMove",
                "duration": 5,
                "origin": origin,
                "x": round((x / 8 - 0.5) * size),
                "y": round((y / 8 - 0.5) * size),
            }
            for x, y in points
        ]
        moves.insert(1, {"type": "pointerDown", "button": 0})
        moves.append({"type": "pointerUp", "button": 0})
        mouse = {"type": "pointer", "id": "mouse", "actions": moves}
        self.post("/actions", {"actions": [mouse]})

    def command(self, name, **options):
        return self.post("/goog/cdp/execute", {"cmd": name, "params": options})

    def picture(self, path, width, dark=False):
        """Writes the whole page as PNG, at a width and in a scheme of colors."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", height=900, **size)
        height = self.ask("document.documentElement.scrollHeight")
        self.command("Emulation.setDeviceMetricsOverride", height=height, **size)
        shot = self.command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.post("", method="DELETE")


def plaintext(folder, pixels):
    """The logits of the network of a folder, in the clear."""
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "drawn-images-idx3-ubyte"
        images.write_bytes(struct.pack(">4I", 0x803, 1, 8, 8) + bytes(pixels))
        command = [PQ, "eval", folder, "--data", images, "--logits", "--json"]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE
        )
    if done.returncode:
        sys.exit(f"pq eval: code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)["logits_int"][0]


def numbers(browser, selector):
    return list(map(int, browser.ask(f"document.querySelector('{selector}').textContent").split()))


def read(browser, folder, digit, points):
    """Has a drawn digit read, and compares: seconds from the click to the answer."""
    browser.click("#clear")
    browser.draw("#board", points)
    browser.click("#ask")
    answer = "document.querySelector('#answer')"
    label = browser.until("answer", f"{answer}.textContent")
    pixels, logits = numbers(browser, "#pixels"), numbers(browser, "#logits")
    if int(label) != digit:
        sys.exit(f"a {digit} was read as {label}: {pixels}")
    if logits != (plain := plaintext(folder, pixels)):
        sys.exit(f"private {logits}, plaintext {plain}, of {pixels}")
    return float(browser.ask(f"{answer}.dataset.seconds"))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--pictures", type=Path, metavar="FOLDER")
    options = options.parse_args()
    if why := skipped():
        print(f"skipped: {why}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        demo = Process(PQ, "demo", "--web", env={**os.environ, "TMPDIR": scratch})
        driver = Process("chromedriver", "--port=0")
        try:
            address = demo.said(r"(http://\S+)")
            browser = Browser(driver.said(r"successfully on port (\d+)"), f"{scratch}/profile")
            run(browser, address, next(Path(scratch).glob("pq-demo-*")) / "net", options.pictures)
            browser.close()
        finally:
            demo.end()
            driver.end(signal.SIGTERM)


def run(browser, address, folder, pictures):
    started = time.monotonic()
    browser.open(address)
    browser.until("session", "!document.querySelector('#ask').disabled")
    session = time.monotonic() - started
    if "#" in browser.ask("location.href"):
        sys.exit("the token stays in the address")
    first = read(browser, folder, 1, ONE)
    second = read(browser, folder, 3, THREE)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        for name, width, dark in [("light", 820, False), ("dark", 820, True), ("phone", 390, True)]:
            browser.picture(pictures / f"web-{name}.png", width, dark)
    print(f"a page opened and a session set up in {session:.2f} s")
    print(f"a digit drawn and read in {first:.2f} s, another one in {second:.2f} s")
    print("both as pq eval has them, integer for integer")
    if max(first, second) > GOAL:
        print(f"WARNING: more than {GOAL} s; is the machine quiet?")


if __name__ == "__main__":
    main()
