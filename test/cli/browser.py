"""A page in headless Chromium, through its DevTools protocol over a pipe: what it logs and loads, and what a script finds in it."""
import base64
import fcntl
import json
import os
import select
import shutil
import tempfile
import time


def find():
    """Path of Chromium; None where it is not installed."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


class Browser:
    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.count, self.events, self.rest, self.session = 0, [], b"", None
        their_input, self.output = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in os.pipe())
        self.input, their_output = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in os.pipe())
        null = os.open(os.devnull, os.O_RDWR)
        arguments = [program, "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--hide-scrollbars",
                     "--disable-dev-shm-usage", "--disable-background-networking", f"--user-data-dir={self.profile.name}"]
        arguments += ["--no-sandbox"] if os.getuid() == 0 else []
        self.process = os.posix_spawn(program, arguments + ["about:blank"], os.environ, setpgroup=0, file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2),
            (os.POSIX_SPAWN_DUP2, their_input, 3), (os.POSIX_SPAWN_DUP2, their_output, 4)])
        for fd in (null, their_input, their_output):
            os.close(fd)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.session = None
            self.call("Browser.close")
        finally:
            os.waitpid(self.process, 0)
            os.close(self.input), os.close(self.output)
            self.profile.cleanup()

    def receive(self, deadline):
        """The next message; TimeoutError where none comes."""
        while b"\0" not in self.rest:
            if not select.select([self.input], [], [], max(0.0, deadline - time.time()))[0]:
                raise TimeoutError("Chromium does not answer")
            part = os.read(self.input, 1 << 20)
            if not part:
                raise ConnectionError("Chromium ended")
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.output, data):]
        deadline = time.time() + 60
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path, width, scheme, height=900):
        """Shows a file; returns what it logged as an error and what it loaded besides itself."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        url = "file://" + os.path.abspath(path)
        self.call("Page.navigate", url=url)
        deadline = time.time() + 60
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive(deadline))
        self.script("0")  # what happened by now has been told
        problems = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Network.requestWillBeSent" and parameters["request"]["url"] != url:
                problems.append("loads " + parameters["request"]["url"])
            if method == "Log.entryAdded" or method == "Runtime.exceptionThrown" or method == "Runtime.consoleAPICalled":
                problems.append(json.dumps(parameters))
        return problems

    def script(self, text):
        """Value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=text, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def picture(self, path, clip=None):
        """The whole page, or a part of it: {x, y, width, height}."""
        options = {"clip": {**clip, "scale": 1}} if clip else {}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, **options)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
