"""The address of a page in, a real browser that shows it out: the few words of WebDriver that the tests need."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key that the W3C standard gives to references to elements."""
ENTER, SPACE, ESCAPE = "\ue007", " ", "\ue00c"


def find() -> tuple[str, str] | None:
    """The browser and its driver; None where one of them is missing."""
    folder = os.environ.get("CHROMEWEBDRIVER")
    driver = shutil.which("chromedriver", path=folder) if folder else None
    driver = driver or shutil.which("chromedriver")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    return (browser, driver) if browser and driver else None


class Browser:
    """One window of a running browser."""

    def __init__(self, address: str) -> None:
        self.address = address

    def send(self, path: str, method: str = "POST", **body: Any) -> Any:
        """One command and its answer's value."""
        data = json.dumps(body).encode() if method == "POST" else None
        request = Request(self.address + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except HTTPError as refusal:
            raise AssertionError(json.load(refusal)["value"]["message"]) from None

    def open(self, page: Path) -> None:
        """Load a file and wait for it, with what the browser asked for on its own account forgotten."""
        self.send("/url", url="about:blank")
        self.requests()
        self.send("/url", url=page.as_uri())

    def run(self, script: str) -> Any:
        """What the body of a function returns."""
        return self.send("/execute/sync", script=script, args=[])

    def find(self, selector: str) -> str:
        """The first element of a CSS selector."""
        found: str = self.send("/element", using="css selector", value=selector)[ELEMENT]
        return found

    def click(self, selector: str) -> None:
        """Click an element in its middle, which fails where something else lies over it."""
        self.send(f"/element/{self.find(selector)}/click")

    def press(self, selector: str, key: str) -> None:
        """Press a key on an element that has the focus."""
        self.send(f"/element/{self.find(selector)}/value", text=key)

    def requests(self) -> list[str]:
        """The address of everything that the page asked for since the last call, as the network layer saw it."""
        events = [json.loads(entry["message"])["message"] for entry in self.send("/se/log", type="performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@contextlib.contextmanager
def browser(width: int, height: int, dark: bool = False) -> Iterator[Browser]:
    """A fresh browser with an empty profile and a viewport of exactly this size."""
    found = find()
    assert found is not None
    program, driver = found
    with tempfile.TemporaryDirectory() as profile, _driver(driver) as port:
        scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        options = {
            "binary": program,
            "args": [*ARGUMENTS, *scheme, f"--user-data-dir={profile}"],
            "mobileEmulation": {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1, "touch": False}},
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
        root = Browser(f"http://127.0.0.1:{port}/session")
        session = root.send("", capabilities={"alwaysMatch": wanted})["sessionId"]
        window = Browser(f"{root.address}/{session}")
        try:
            yield window
        finally:
            window.send("", method="DELETE")


@contextlib.contextmanager
def _driver(driver: str) -> Iterator[int]:
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        ports = (re.search(r"started successfully on port (\d+)", line) for line in process.stdout)
        yield next(int(port[1]) for port in ports if port)
    finally:
        process.terminate()
        process.wait(timeout=30)
