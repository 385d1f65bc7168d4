"""Chromium without a window, driven over the DevTools protocol: keys, pointer, touch, and its complaints."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import websocket

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
LOCAL = ("file:", "data:", "blob:", "about:")
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Escape": 27, "Tab": 9}


def program() -> str | None:
    """A browser of this machine, None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One tab. errors: what the console and uncaught exceptions said. requests: addresses that are not local."""

    def __init__(self, folder: Path) -> None:
        flags = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder}",
                 "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
                 "--enable-unsafe-swiftshader", "--hide-scrollbars"]  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([program(), *flags, "about:blank"], **quiet)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.count = 0
        port = self._port(folder / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            page = next(one for one in json.load(answer) if one["type"] == "page")
        self.socket = websocket.create_connection(
            page["webSocketDebuggerUrl"], suppress_origin=True, timeout=30, max_size=None
        )
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def _port(self, path: Path) -> str:
        for _ in range(200):
            if path.is_file() and (lines := path.read_text().splitlines()):
                return lines[0]
            time.sleep(0.05)
        raise TimeoutError("the browser did not start within 10 seconds")

    def close(self) -> None:
        """End the browser."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=20)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events that arrive meanwhile are kept."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.count:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        kind, told = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"].get("exception", {}).get("description", str(told)))
        elif kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(str(told["args"]))
        elif kind == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        elif kind == "Network.requestWillBeSent" and not told["request"]["url"].startswith(LOCAL):
            self.requests.append(told["request"]["url"])

    def js(self, expression: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails'].get('exception', found)}")
        return found["result"].get("value")

    def open(self, path: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Load a page and wait until it is whole."""
        self.resize(width, height, scheme)
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self._note(json.loads(self.socket.recv()))

    def resize(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Another window, and the reader's colour scheme."""
        mobile = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def until(self, expression: str, seconds: float = 10) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < end, f"still not true after {seconds} s: {expression}"
            time.sleep(0.05)

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of an element, scrolled into sight."""
        found = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({ block: 'center', behavior: 'instant' }); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return found[0], found[1]

    def click(self, selector: str) -> None:
        """Press on the middle of an element, as a mouse does."""
        x, y = self.place(selector)
        self.mouse(x, y)

    def mouse(self, x: float, y: float, to: tuple[float, float] | None = None) -> None:
        """Press at a point, and let go there or, having moved, elsewhere."""
        end = to or (x, y)
        steps = [("mouseMoved", (x, y)), ("mousePressed", (x, y)), ("mouseMoved", end), ("mouseReleased", end)]
        for kind, (px, py) in steps if to else [steps[0], steps[1], steps[3]]:
            held = {"button": "none"} if (kind, (px, py)) == steps[0] else {"button": "left", "clickCount": 1}
            buttons = 1 if kind != "mouseReleased" and held["button"] == "left" else 0
            self.send("Input.dispatchMouseEvent", type=kind, x=px, y=py, buttons=buttons, **held)

    def touch(self, x: float, y: float, to: tuple[float, float]) -> None:
        """Put a finger down, move it, and lift it."""
        for kind, points in (("touchStart", [(x, y)]), ("touchMove", [to]), ("touchEnd", [])):
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": a, "y": b} for a, b in points])

    def pinch(self, a: tuple[float, float], b: tuple[float, float], apart: float) -> None:
        """Put two fingers down, move them further apart sideways, and lift them."""
        moved = [(a[0] - apart, a[1]), (b[0] + apart, b[1])]
        for kind, places in (("touchStart", [a]), ("touchStart", [a, b]), ("touchMove", moved), ("touchEnd", [])):
            points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def wheel(self, x: float, y: float, down: float) -> None:
        """Turn the wheel over a point."""
        self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down)

    def key(self, selector: str, *keys: str) -> None:
        """Focus an element and press keys on it."""
        self.js(f"document.querySelector({json.dumps(selector)}).focus()")
        for key in keys:
            named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper()))}
            typed = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", **named, **typed)
            self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def choose(self, selector: str, index: int) -> None:
        """Take an option of a list, as a reader's choice does."""
        self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.selectedIndex = {index};"
            "e.dispatchEvent(new Event('input', { bubbles: true })); e.dispatchEvent(new Event('change')); })()"
        )

    def picture(self, path: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
