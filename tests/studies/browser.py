"""A headless Chromium spoken to over the DevTools protocol by pipe: commands in, events kept."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from select import select
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-pipe"
)


class Browser:
    """One tab: commands in, events kept."""

    def __init__(self, profile: Path):
        inbound, self.write = os.pipe()
        self.read, outbound = os.pipe()
        command = f'exec "$0" "$@" 3<&{inbound} 4>&{outbound}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}"],
            pass_fds=(inbound, outbound),
            stderr=subprocess.DEVNULL,
        )
        os.close(inbound)
        os.close(outbound)
        self.buffer, self.number, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        """The next message, within a minute."""
        while b"\0" not in self.buffer:
            assert select([self.read], [], [], 60)[0], "Chromium does not answer"
            piece = os.read(self.read, 1 << 16)
            assert piece, "Chromium has ended"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path: Path, width: int = 1280, scheme: str = "light") -> None:
        """Loads a page and waits until its charts are drawn."""
        self.start(path, width, scheme)
        self.wait("document.documentElement?.dataset.charts")

    def start(self, path: Path, width: int = 1280, scheme: str = "light") -> None:
        """Begins to load a page."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self.theme(scheme)
        self.call("Page.navigate", url=path.as_uri())

    def theme(self, scheme: str) -> None:
        """Light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def wait(self, expression: str) -> None:
        """Until the expression is true, at most a minute."""
        end = time.monotonic() + 60
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def troubles(self) -> list[dict[str, Any]]:
        """Console messages, exceptions, policy violations."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Every address asked for that is not the page or made by it."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]

    def close(self) -> None:
        """Ends the browser."""
        self.process.terminate()
        self.process.wait(10)
        os.close(self.write)
        os.close(self.read)

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key down and up, as from a keyboard."""
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", **event, **({"text": text} if text else {}))

    def click(self, x: float, y: float) -> None:
        """The pointer moves there, is pressed and let go."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            mouse = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", **mouse)

    def picture(self, path: Path, top: int = 0, height: int | None = None) -> None:
        """A screenshot of the page, from `top`, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "scale": 1}
        clip["height"] = size["height"] - top if height is None else height
        shot = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        path.write_bytes(base64.b64decode(shot["data"]))
