"""A headless Chromium that tests drive by its DevTools protocol."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
_FLAGS = ("headless", "no-sandbox", "disable-gpu", "remote-debugging-port=0")
_MOST_BYTES = 1 << 28  # of an answer


@contextlib.contextmanager
def open_page(url, profile, size=(1000, 800)):
    """Opens a page in a browser with a new profile; needs tornado."""
    flags = [*_FLAGS, f"user-data-dir={profile}", "window-size={},{}".format(*size)]
    words = [CHROMIUM, *(f"--{flag}" for flag in flags), "about:blank"]
    with (
        subprocess.Popen(words, stderr=subprocess.DEVNULL) as process,
        asyncio.Runner() as runner,
    ):
        try:
            page = Page(runner, profile)
            page.call("Network.enable")
            page.call("Page.navigate", url=str(url))
            yield page
        finally:
            process.terminate()


class Page:
    """A tab.

    Attributes:
      requests: every URL that it has asked for.
    """

    def __init__(self, runner, profile):
        from tornado.websocket import websocket_connect

        self._run, self._number, self.requests = runner.run, 0, []
        port_file = profile / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and "\n" in port_file.read_text())
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            (tab,) = (t for t in json.load(answer) if t["type"] == "page")

        async def connect():
            address = tab["webSocketDebuggerUrl"]
            return await websocket_connect(address, max_message_size=_MOST_BYTES)

        self._socket = self._run(connect())

    def call(self, method, **parameters):
        """Calls a method of the protocol, and returns its result."""
        return self._run(self._call(method, parameters))

    async def _call(self, method, parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._socket.write_message(json.dumps(message))
        while True:
            message = json.loads(await self._socket.read_message())
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def value(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression, seconds=240):
        """Waits until a JavaScript expression is true."""
        wait_until(lambda: self.value(f"!!({expression})"), seconds)

    def upload(self, selector, path):
        """Chooses a file in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        found = self.call("DOM.querySelector", nodeId=root, selector=selector)
        files = [str(path)]
        self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=files)

    def press(self, selector):
        """Presses a button, wherever it moves while the page is laid out."""
        self.wait_for(f"document.querySelector({json.dumps(selector)})")
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def click(self, selector):
        """Clicks with the mouse in the middle of an element that keeps its place."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait_for(found)
        x, y, width, height = self.value(
            f"(r => [r.x, r.y, r.width, r.height])({found}.getBoundingClientRect())"
        )
        place = {"x": x + width / 2, "y": y + height / 2}
        for kind in ("mousePressed", "mouseReleased"):
            options = {"type": kind, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", **options, **place)

    def screenshot(self):
        """PNG of what is visible."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


def wait_until(condition, seconds=240):
    """Waits until a condition is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")
