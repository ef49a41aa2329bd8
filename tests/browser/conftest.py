"""Tests in a real browser: headless Chromium, driven by Selenium. None of them may be skipped.

They need ``chromium`` and ``chromedriver`` on the path (Debian's packages chromium and chromium-driver) and the package
``selenium``; plain ``pytest`` doesn't collect them, ``pytest tests/browser`` does. The browser starts with a fresh
profile, without any network: names aren't resolved, and the connection is switched off. What a page asks for all the
same is in the browser's own log (``Browser.requests``).
"""

from __future__ import annotations

import json
import shutil

import pytest
from nothing_skipped import pytest_sessionfinish as pytest_sessionfinish
from selenium import webdriver

WIDE = 1280, 900
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
)
CONTRASTS = """
    const parse = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => {
      const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
      const [r, g, b] = parse(color).map((c) => linear(c / 255));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const found = getComputedStyle(at).backgroundColor, parts = parse(found);
        if (parts.length < 4 || parts[3] > 0) return found;
      }
      return "rgb(255, 255, 255)";
    };
    return (ELEMENTS).map((element) => {
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), `${element.tagName}.${element.className}`, element.textContent.slice(0, 40)];
    });
"""
NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND"


class Browser:
    """A page at a time."""

    def __init__(self, folder: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _found("chromium")
        for flag in (*FLAGS, NO_NAMES, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(_found("chromedriver")))
        self.driver.set_script_timeout(60)
        self._command("Network.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self._command("Network.emulateNetworkConditions", **offline)

    def open(self, path, *, size=WIDE, dark=False) -> None:
        """A file, in a window of that size."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self._command("Emulation.setDeviceMetricsOverride", **metrics)
        self.paint(dark)
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(path.as_uri())

    def paint(self, dark: bool) -> None:
        """What the reader's system prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str, *arguments):
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments):
        """The same for a script that calls ``done`` when it's through."""
        return self.driver.execute_async_script(f"const done = arguments[arguments.length - 1]; {script}", *arguments)

    def one(self, selector: str):
        """The element there is."""
        found = self.driver.find_elements("css selector", selector)
        assert len(found) == 1, f"{len(found)} elements are {selector}"
        return found[0]

    def all(self, selector: str):
        """All of them."""
        return self.driver.find_elements("css selector", selector)

    def contrasts(self, elements: str) -> list[tuple[float, str, str]]:
        """How text stands out from what is behind it (WCAG's ratio, 1 to 21), with its element's kind and beginning.

        ``elements``: a script's expression for the elements.
        """
        return self.run(CONTRASTS.replace("ELEMENTS", elements))

    def cut_off(self) -> list[str]:
        """The elements whose content is wider than they are."""
        return self.run("""
            return [...document.querySelectorAll("html, body *:not(.unseen)")]
              .filter((element) => element.clientWidth && element.scrollWidth > element.clientWidth)
              .map((element) => `${element.outerHTML.slice(0, 80)}: ${element.scrollWidth} in ${element.clientWidth}`);
        """)

    def requests(self) -> list[str]:
        """What has been asked for since the page was opened, the page itself included."""
        entries = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [entry["params"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def complaints(self) -> list[str]:
        """What the page wrote to the console, errors above all."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def _command(self, name: str, **parameters) -> None:
        self.driver.execute_cdp_cmd(name, parameters)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path, f"there is no {program}; on Debian: apt-get install chromium chromium-driver"
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    browser = Browser(str(tmp_path_factory.mktemp("profile")))
    yield browser
    browser.driver.quit()
