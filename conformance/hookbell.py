"""The program under test: its `verify` on recorded requests, and its `send`, caught by a server on loopback. Knows no SDK."""

import base64
import json
import os
import queue
import subprocess
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

SECONDS_MAX = 60


@dataclass
class Request:
    """A request, signed or not: the URL as the sender has it, its headers, its body."""

    url: str
    headers: dict
    body: bytes

    def header(self, name):
        """What the header says, whatever the case of its name; None without it."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    def with_header(self, name, value):
        """The same request with another value there; with none when it is None."""
        others = {key: text for key, text in self.headers.items() if key.lower() != name.lower()}
        return Request(self.url, others if value is None else others | {name: value}, self.body)


class Broken(Exception):
    """The program did something that is neither yes nor no."""


class Hookbell:
    """The executable, and a directory for what it reads."""

    def __init__(self, executable, scratch):
        self.executable = executable
        self.scratch = scratch
        self.catcher = Catcher()

    def run(self, arguments, secrets):
        environment = {key: text for key, text in os.environ.items() if not key.startswith("HOOKBELL")}
        environment |= {f"SECRET_{index}": secret for index, secret in enumerate(secrets)}
        command = [self.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS_MAX, check=False)

    def verify(self, provider, secrets, record, public_url):
        """What it says about the record, as an object."""
        path = os.path.join(self.scratch, "request.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file, ensure_ascii=False)
        names = [argument for index in range(len(secrets)) for argument in ("--secret-env", f"SECRET_{index}")]
        at = ["--public-url", public_url] if public_url else []
        done = self.run(["verify", path, "--provider", provider, "--json", *names, *at], secrets)
        try:
            verdict = json.loads(done.stdout)
        except ValueError:
            verdict = {}
        if verdict.get("valid") is not {0: True, 1: False}.get(done.returncode, "neither"):
            raise Broken(f"exit {done.returncode}: {(done.stdout + done.stderr).decode(errors='replace').strip()[:2000]}")
        return verdict

    def send(self, provider, event, payload, secret, public_url):
        """The request that it makes of the payload."""
        path = os.path.join(self.scratch, "payload")
        with open(path, "wb") as file:
            file.write(payload)
        target = f"http://127.0.0.1:{self.catcher.port}/webhooks/{provider}"
        at = ["--public-url", public_url] if public_url else []
        arguments = ["send", provider, event, "--payload", path, "--to", target, "--secret-env", "SECRET_0", *at]
        done = self.run(arguments, [secret])
        caught = self.catcher.take()
        if done.returncode != 0 or len(caught) != 1:
            words = (done.stdout + done.stderr).decode(errors="replace").strip()[:2000]
            raise Broken(f"exit {done.returncode}, {len(caught)} requests: {words}")
        path, headers, body = caught[0]
        return Request((public_url or f"http://127.0.0.1:{self.catcher.port}") + path, headers, body)


class Catcher:
    """Answers every POST on a free port of loopback with `accepted`, and keeps it."""

    def __init__(self):
        caught = self.caught = queue.SimpleQueue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                # A header that comes twice would be lost in a dictionary, and no provider sends one twice.
                if len({name.lower() for name in self.headers}) != len(self.headers):
                    self.send_error(400)
                    return
                caught.put((self.path, dict(self.headers), body))
                answer = b'{"status":"accepted","event_id":1}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def take(self):
        taken = []
        while not self.caught.empty():
            taken.append(self.caught.get())
        return taken


def record(rng, request, public_url, received_at):
    """The request in one of the forms that `hookbell verify` reads."""
    url = request.url
    if public_url and url.startswith(public_url):
        url = url[len(public_url) :]
    spell = rng.choice([str, str.lower, str.upper])
    recorded = {
        "method": "POST",
        "url": url,
        "headers": {spell(name): value for name, value in request.headers.items()},
        "received_at": datetime.fromtimestamp(received_at, tz=timezone.utc).isoformat(),
    }
    try:
        body = request.body.decode()
    except UnicodeDecodeError:
        body = None
    if body is None or rng.random() < 0.5:
        return recorded | {"body_base64": base64.b64encode(request.body).decode()}
    return recorded | {"body": body}
