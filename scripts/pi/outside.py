"""The world around an emulated Pi, on this machine: GitHub, which signs and posts, and something that plays Slack.

QEMU's network lets the guest reach this machine's loopback as 10.0.2.2, and forwards a port of ours to the guest.
"""

import hashlib
import hmac
import http.client
import http.server
import json
import re
import threading
import time
import uuid


class Slack:
    """Takes messages and keeps their texts in their order. While `down`, it answers 503."""

    def __init__(self):
        slack = self
        self.down = False
        self.refused = 0
        self.texts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = slack.take(body)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A guest that loses its power leaves connections behind; that is no news.
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def take(self, body):
        """Status and answer to a message, in Slack's own words."""
        if self.down:
            self.refused += 1
            return 503, b"service_unavailable"
        try:
            message = json.loads(body)
        except ValueError:
            return 400, b"invalid_payload"
        if not isinstance(message, dict) or not message.get("text"):
            return 400, b"no_text"
        self.texts.append(message["text"])
        return 200, b"ok"

    def numbers(self, word):
        """The numbers of the issues of this kind, in the order in which their messages came."""
        return [int(number) for text in list(self.texts) for number in re.findall(rf"{word} no\. (\d+)", text)]


class Answer:
    """What the door said to one delivery. `status` is 0 where it said nothing."""

    def __init__(self, number, delivery, status, said, posted, answered):
        self.number = number
        self.delivery = delivery
        self.status = status
        self.said = said
        self.posted = posted
        self.answered = answered

    @property
    def event_id(self):
        return json.loads(self.said)["event_id"]


class GitHub:
    """Signs an issue and posts it to the forwarded port."""

    def __init__(self, port, secret):
        self.port = port
        self.secret = secret.encode()

    def post(self, word, number, action="opened", issue=None, seconds=20):
        """`issue` is what several deliveries are about; without it, each is about another one."""
        issue = issue or number
        delivery = str(uuid.uuid4())
        # What GitHub says of an issue is some kilobytes; here most of it is a text.
        body = json.dumps({
            "action": action,
            "issue": {
                "number": issue,
                "title": f"{word} no. {number}",
                "html_url": f"https://github.com/acme/lamp/issues/{issue}",
                "body": f"{delivery} " * 60,
                "user": {"login": "octocat"},
            },
            "repository": {"full_name": "acme/lamp", "html_url": "https://github.com/acme/lamp"},
            "sender": {"login": "octocat"},
        }).encode()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "issues",
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": "sha256=" + hmac.new(self.secret, body, hashlib.sha256).hexdigest(),
        }
        posted = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("POST", "/webhooks/github", body, headers)
            response = connection.getresponse()
            # An answer counts as one only when all of it has come.
            said = response.read().decode()
            status = response.status
        except (OSError, http.client.HTTPException) as error:
            status, said = 0, f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        return Answer(number, delivery, status, said, posted, time.monotonic())


class Load:
    """Several senders that post one issue after the other until they are told to stop."""

    def __init__(self, github, word, first, senders=3, action="opened", every=0.0, seconds=20):
        """`every`: seconds from one post of a sender to its next; 0 is as fast as the answers come. `seconds`: how
        long each waits for its answer."""
        self.github = github
        self.word = word
        self.action = action
        self.every = every
        self.seconds = seconds
        self.next = first
        self.lock = threading.Lock()
        self.answers = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(senders)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.ended.is_set():
            with self.lock:
                number, self.next = self.next, self.next + 1
            answer = self.github.post(self.word, number, self.action, seconds=self.seconds)
            with self.lock:
                self.answers.append(answer)
            # Who got no answer waits a little, as nobody would ask a dead machine a thousand times a second.
            self.ended.wait(max(self.every - (time.monotonic() - answer.posted), 0.2 if answer.status == 0 else 0))

    def accepted(self):
        """Those that were answered 200 so far."""
        with self.lock:
            return accepted(self.answers)

    def stop(self, seconds=30):
        """Ends all senders; returns what they were answered, in the order of the answers."""
        self.ended.set()
        until = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(until - time.monotonic(), 0))
        with self.lock:
            return list(self.answers)


def accepted(answers):
    return [answer for answer in answers if answer.status == 200]


def percentile(values, share):
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]
