"""hookbell's own messages before the judges of their kind: what it forwards before the official library of Standard Webhooks,
what it mails before aiosmtpd, and what it hands to a program before a JSON parser. Started by scripts/test-conformance.

One service, five sinks, a few deliveries: the receiver refuses each message once, so that the second attempt must carry the
same id; one mail server is on loopback in the clear, one speaks TLS by a certificate whose authority this test has made.
"""

import argparse
import datetime
import email
import email.policy
import json
import logging
import os
import queue
import ssl
import subprocess
import tempfile
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import standardwebhooks
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# aiosmtpd says at each connection that a password in the clear is unwise, and that parts of it will change.
warnings.filterwarnings("ignore", module="aiosmtpd")
logging.getLogger("mail.log").setLevel(logging.ERROR)

SECONDS_MAX = 60
DELIVERIES = 3
OLD, NEW = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZA==", "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldw=="
USER, PASSWORD = "desk", "correct horse battery"


class Receiver:
    """Takes each message on its second attempt."""

    def __init__(self):
        heard = self.heard = []
        seen = set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append((dict(self.headers), body))
                status = 200 if self.headers["webhook-id"] in seen else 500
                seen.add(self.headers["webhook-id"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()


class Mailbox:
    """A mail server that wants a password, and keeps what it gets."""

    def __init__(self, context=None):
        self.letters = []
        probe = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        self.port = probe.server_port
        probe.server_close()

        def is_known(_server, _session, _envelope, _mechanism, login):
            return AuthResult(success=(login.login, login.password) == (USER.encode(), PASSWORD.encode()))

        asks = {"authenticator": is_known, "auth_required": True, "auth_require_tls": False}
        self.server = Controller(self, hostname="127.0.0.1", port=self.port, ssl_context=context, **asks)
        self.server.start()

    async def handle_DATA(self, _server, _session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append((envelope.rcpt_tos, message))
        return "250 2.0.0 Ok: kept"


def authority(directory):
    """A certificate for localhost: the server's context, and the file that clients have to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)

    def signed(name, public, issuer, by, extension):
        built = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(public)
        built = built.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        return built.add_extension(*extension).sign(by, hashes.SHA256())

    def named(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    root = signed(named("A test"), key.public_key(), named("A test"), key, (x509.BasicConstraints(True, 0), True))
    own = ec.generate_private_key(ec.SECP256R1())
    names = (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
    leaf = signed(named("localhost"), own.public_key(), named("A test"), key, names)
    trust, chain = os.path.join(directory, "root.pem"), os.path.join(directory, "chain.pem")
    pem = serialization.Encoding.PEM
    with open(trust, "wb") as file:
        file.write(root.public_bytes(pem))
    with open(chain, "wb") as file:
        file.write(leaf.public_bytes(pem))
        file.write(own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, trust


CONFIGURATION = """
[door]
listen = "127.0.0.1:0"
[store]
path = "{directory}/hookbell.db"
[sources.github]
[sinks.forward]
url = "http://127.0.0.1:{receiver}/hook"
secret = [{{ env = "OLD" }}, {{ env = "NEW" }}]
allow_private = true
include_body = true
[sinks.mail]
kind = "email"
smtp = "smtp://127.0.0.1:{clear}"
user = "{user}"
password = {{ env = "PASSWORD" }}
from = "Desk <desk@example.com>"
to = ["ada@example.com", "Otto <otto@example.org>"]
[sinks.tls]
kind = "email"
smtp = "smtps://localhost:{tls}"
user = "{user}"
password = {{ env = "PASSWORD" }}
from = "desk@example.com"
to = ["ada@example.com"]
[sinks.exec]
command = ["/bin/sh", "-c", "cat >>\\"$0\\"; echo kept", "{directory}/told"]
[[rules]]
[retry]
first = "100 ms"
"""


def wait_for(what, service, ask):
    deadline = time.monotonic() + SECONDS_MAX
    while not ask():
        if time.monotonic() > deadline or service.poll() is not None:
            raise SystemExit(f"destinations: {what} did not happen")
        time.sleep(0.05)


def same(what, found, expected):
    if found != expected:
        raise SystemExit(f"destinations: {what}: {found!r}, and not {expected!r}")


def check_forwarded(heard):
    ids = {}
    for headers, body in heard:
        lower = {name.lower(): value for name, value in headers.items()}
        for secret in (OLD, NEW):
            said = standardwebhooks.Webhook(secret).verify(body, lower)
        same("the type", said["type"], said["data"]["kind"])
        same("the request", json.loads(said["data"]["body"])["action"], "opened")
        same("the id", lower["webhook-id"], said["data"]["reference"])
        ids.setdefault(lower["webhook-id"], []).append(body)
    same("ids", len(ids), DELIVERIES)
    for reference, bodies in ids.items():
        same(f"attempts of {reference}", (len(bodies), len(set(bodies))), (2, 1))
    return set(ids)


def check_mail(letters, recipients, references):
    named = set()
    for envelope, letter in letters:
        same("recipients", envelope, recipients)
        same("the sort of message", (letter["Auto-Submitted"], letter.get_content_type()), ("auto-generated", "text/plain"))
        reference = letter["Message-ID"].removeprefix("<").removesuffix("@hookbell.example.com>")
        text = letter.get_content()
        if not letter["Subject"].startswith("[") or reference not in text or letter.defects:
            raise SystemExit(f"destinations: {letter['Subject']!r}, {text!r}, {letter.defects}")
        named.add(reference)
    same("mailed references", named, references)


def main():
    parser = argparse.ArgumentParser(prog="destinations.py", add_help=False)
    parser.add_argument("hookbell")
    executable = parser.parse_args().hookbell
    with tempfile.TemporaryDirectory() as directory:
        context, trust = authority(directory)
        receiver, clear, tls = Receiver(), Mailbox(), Mailbox(context)
        file = os.path.join(directory, "hookbell.toml")
        ports = {"receiver": receiver.port, "clear": clear.port, "tls": tls.port}
        with open(file, "w", encoding="utf-8") as out:
            out.write(CONFIGURATION.format(directory=directory, user=USER, **ports))
        secrets = {"GITHUB_WEBHOOK_SECRET": "conformance", "OLD": OLD, "NEW": NEW, "PASSWORD": PASSWORD}
        surroundings = {"PATH": os.environ["PATH"], "HOOKBELL_CONFIG": file, "SSL_CERT_FILE": trust} | secrets
        service = subprocess.Popen([executable, "run"], env=surroundings, stderr=subprocess.PIPE, text=True)
        lines, addresses = [], queue.SimpleQueue()

        def listen():
            for line in service.stderr:
                lines.append(line)
                if "listening address=" in line:
                    addresses.put(line.split("listening address=")[1].strip())

        threading.Thread(target=listen, daemon=True).start()
        try:
            door = addresses.get(timeout=SECONDS_MAX)
            send = [executable, "send", "github", "issue_opened", "--to", f"{door}/webhooks/github", "--count", str(DELIVERIES)]
            subprocess.run(send, env=surroundings, check=True, capture_output=True, timeout=SECONDS_MAX)
            told = os.path.join(directory, "told")

            def programs():
                return os.path.exists(told) and open(told, encoding="utf-8").read().count("\n") >= DELIVERIES

            wait_for("forwarding twice", service, lambda: len(receiver.heard) >= 2 * DELIVERIES)
            wait_for("mail", service, lambda: len(clear.letters) >= DELIVERIES)
            wait_for("mail by TLS", service, lambda: len(tls.letters) >= DELIVERIES)
            wait_for("a program", service, programs)
            references = check_forwarded(receiver.heard)
            check_mail(clear.letters, ["ada@example.com", "otto@example.org"], references)
            check_mail(tls.letters, ["ada@example.com"], references)
            with open(told, encoding="utf-8") as out:
                same("programs", {json.loads(line)["reference"] for line in out}, references)
        except BaseException:
            print("".join(lines))
            raise
        finally:
            service.terminate()
            service.wait(SECONDS_MAX)
            clear.server.stop()
            tls.server.stop()
        # Whatever happens, the log has no secret.
        same("secrets in the log", [secret for secret in (PASSWORD, OLD, NEW) if secret in "".join(lines)], [])
    print(f"destinations: {DELIVERIES} deliveries forwarded twice, mailed twice, told to a program; every judge agrees")


if __name__ == "__main__":
    main()
