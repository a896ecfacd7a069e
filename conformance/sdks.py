"""The official SDKs, each behind the same few words: it signs, and it judges. Knows nothing of hookbell.

What an SDK cannot take, because it decodes bodies to text, or refuses although the rules allow it, is left out by
`kinds`, with the reason beside it. Everything else that differs is a disagreement to look at.
"""

import base64
import importlib.metadata
import json
import re
import string
import subprocess
import threading
import uuid
from datetime import datetime, timezone
from hashlib import sha256
from urllib.parse import parse_qsl

import discord_interactions
import slack_sdk.signature
import standardwebhooks
import stripe
import svix
import twilio.request_validator
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from sendgrid.helpers.eventwebhook import EventWebhook
from werkzeug.datastructures import MultiDict

from hookbell import Request

# It prints its refusals, between the lines of this test.
discord_interactions.print = lambda *_: None

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

# Bodies of every shape that is text. Every SDK but Discord's decodes the body, so bytes that are no text are beyond them.
TEXTS = ["empty", "json", "list", "form", "text"]


class Sdk:
    """What all have in common; a subclass says how its provider differs."""

    provider = ""
    package = ""
    kinds = TEXTS
    # The provider's own words for events, as `hookbell send` takes them.
    events = ["conformance"]
    # Where the signature stands, what precedes it there, and in which digits it is written.
    header = ""
    scheme = ""
    digits = "hex"
    # Whether the header may hold several signatures, and what stands between them.
    between = None
    # Python's base64 reads up to the padding and passes over the rest, and some libraries compare what it read.
    is_loose = False
    # Seconds that the signed time may be behind and ahead; None when that side, or time as a whole, is not looked at.
    behind = ahead = None
    public_url = None

    def version(self):
        return importlib.metadata.version(self.package)

    def secret(self, rng):
        """A secret as the signer has it, and as the judge has it."""
        made = "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.choice([1, 20, 32, 64, 65, 200])))
        # The key is the text's UTF-8, whatever the text is.
        made = made if rng.random() < 0.8 else made + "\u00fc\u2603 \U0001f511"
        return made, made

    def sign(self, secret, body, at, rng):
        """A request with that body, signed at that second."""
        raise NotImplementedError

    def elsewhere(self, request, rng):
        """The same request where the receiver knows its address otherwise; None where the address is not signed."""
        return None

    def judge(self, secret, request):
        """Whether the SDK takes it; may also refuse by raising."""
        raise NotImplementedError

    def accepts(self, secret, request):
        """Whether the SDK takes it, and what it says of it."""
        try:
            return bool(self.judge(secret, request)), ""
        except Exception as error:  # each SDK has exceptions of its own for a refusal
            return False, f"{type(error).__name__}: {error}"

    def request(self, body, headers):
        return Request(f"/webhooks/{self.provider}", {"Content-Type": JSON} | headers, body)


class Node:
    """The SDKs of Node, in one process that answers a line for each line."""

    def __init__(self, directory):
        command = ["node", "sdks.mjs"]
        self.lock = threading.Lock()
        self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, call, secret, body, **more):
        question = {"call": call, "secret": secret, "body": base64.b64encode(body).decode()} | more
        with self.lock:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise SystemExit("conformance: the SDKs of Node have ended; what they say stands above")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["said"]


class OfNode(Sdk):
    # Both refuse an empty body before they compare anything: Octokit raises, Shopify says missing_body.
    kinds = ["json", "list", "form", "text"]

    def __init__(self, node, versions):
        self.node = node
        self.versions = versions

    def version(self):
        return self.versions[self.package]


class GitHub(OfNode):
    provider = "github"
    package = "@octokit/webhooks-methods"
    events = ["push", "pull_request", "issues", "ping", "a_new_event"]
    header = "X-Hub-Signature-256"
    scheme = "sha256="

    def sign(self, secret, body, at, rng):
        made = self.node.ask("octokit sign", secret, body)
        identity = {"X-GitHub-Event": rng.choice(self.events), "X-GitHub-Delivery": str(uuid.UUID(int=rng.getrandbits(128)))}
        return self.request(body, identity | {self.header: made})

    def judge(self, secret, request):
        return self.node.ask("octokit verify", secret, request.body, signature=request.header(self.header))["valid"]


class Shopify(OfNode):
    provider = "shopify"
    package = "@shopify/shopify-api"
    events = ["orders/create", "refunds/create", "app/uninstalled"]
    header = "X-Shopify-Hmac-Sha256"
    digits = "base64"

    def sign(self, secret, body, at, rng):
        made = self.node.ask("shopify sign", secret, body)
        # The library also refuses a request without these, which is not a matter of signatures.
        said = {"Topic": rng.choice(self.events), "Shop-Domain": "desk.myshopify.com", "API-Version": "2026-07"}
        said |= {"Webhook-Id": str(uuid.UUID(int=rng.getrandbits(128))), "Event-Id": str(uuid.UUID(int=rng.getrandbits(128)))}
        if rng.random() < 0.5:
            return self.request(body, {f"X-Shopify-{name}": value for name, value in said.items()} | {self.header: made})
        # The newer "events". Beside them the other family may stand, and does not count.
        beside = {self.header: base64.b64encode(rng.randbytes(32)).decode()} if rng.random() < 0.5 else {}
        said = {f"shopify-{name}".lower(): value for name, value in said.items()}
        return self.request(body, said | beside | {"shopify-hmac-sha256": made})

    def judge(self, secret, request):
        verdict = self.node.ask("shopify verify", secret, request.body, headers=lower(request.headers))
        if not verdict["valid"]:
            raise ValueError(verdict.get("why"))
        return True


class Stripe(Sdk):
    provider = package = "stripe"
    header = "Stripe-Signature"
    scheme = "v1="
    between = ","
    behind = 300

    def secret(self, rng):
        # The key is the whole text, `whsec_` included.
        made, _ = super().secret(rng)
        return ("whsec_" + made,) * 2

    def sign(self, secret, body, at, rng):
        # The library has no public signer; this is what it compares with.
        made = stripe.WebhookSignature._compute_signature(f"{at}.{body.decode()}", secret)
        parts = [f"t={at}", f"v1={made}"]
        if rng.random() < 0.3:
            parts.append(f"v0={rng.randbytes(32).hex()}")
            rng.shuffle(parts)
        return self.request(body, {self.header: ",".join(parts)})

    def judge(self, secret, request):
        return stripe.WebhookSignature.verify_header(request.body, request.header(self.header), secret, self.behind)


class Slack(Sdk):
    provider = "slack"
    package = "slack_sdk"
    header = "X-Slack-Signature"
    scheme = "v0="
    behind = ahead = 300

    def sign(self, secret, body, at, rng):
        verifier = slack_sdk.signature.SignatureVerifier(secret)
        made = verifier.generate_signature(timestamp=str(at), body=body)
        kind = {"Content-Type": rng.choice([JSON, FORM])}
        return self.request(body, kind | {"X-Slack-Request-Timestamp": str(at), self.header: made})

    def judge(self, secret, request):
        return slack_sdk.signature.SignatureVerifier(secret).is_valid_request(request.body, lower(request.headers))


class Twilio(Sdk):
    """Signs the address, and a form's parameters or the digest of what is no form."""

    provider = package = "twilio"
    # A body that is a form or JSON: a framework reads nothing else for the library.
    kinds = ["empty", "form", "json", "list"]
    header = "X-Twilio-Signature"
    settings = "X-Twilio-Webhooks-Signature-Settings"
    digits = "base64"
    public_url = "https://hooks.example.com"

    def sign(self, secret, body, at, rng):
        url = rng.choice(["", "?a=1&b=%20x", "?bodySHA256=", "?q=%C3%BC+1"])
        if url == "?bodySHA256=" and not (body and self.is_form(body)):
            url = ""
        headers = {"Content-Type": rng.choice([FORM, FORM + "; charset=UTF-8"])}
        if body and not self.is_form(body):
            url += f"{'&' if url else '?'}bodySHA256={sha256(body).hexdigest()}"
            headers = {"Content-Type": rng.choice([JSON, JSON + "; charset=utf-8"])}
        base = self.public_url if rng.random() < 0.5 else self.base(rng)
        request = Request(f"{base}/webhooks/{self.provider}{url}", headers, body)
        # Shared keys, in beta, sign with another hash and say so.
        named = rng.choice([None, None, "HMAC_SHA256", "hmac_sha256", "HMAC_SHA1"])
        if named:
            request = request.with_header(self.settings, f"key=webhooks_sharedkey_1,algorithm={named}")
        validator = twilio.request_validator.RequestValidator(secret)
        said = self.parameters(request)
        made = validator.compute_signature(request.url, {} if isinstance(said, str) else said, named)
        return request.with_header(self.header, made)

    @staticmethod
    def base(rng):
        """Scheme, host and mostly a port. No user name: twilio-python takes what stands before its colon for the host."""
        scheme, port = rng.choice([("https", 443), ("http", 80), ("https", 8443), ("http", 5000), ("https", 80)])
        return rng.choice([f"{scheme}://desk.example", f"{scheme}://desk.example:{port}"])

    def elsewhere(self, request, rng):
        path = request.url.split("/", 3)[3]
        return Request(f"{self.base(rng)}/{path}", request.headers, request.body)

    @staticmethod
    def is_form(body):
        return body[:1] not in (b"{", b"[")

    @staticmethod
    def parameters(request):
        """What a framework hands to the library: the form's fields, decoded, or the body's text."""
        if request.header("Content-Type").startswith(FORM):
            return MultiDict(parse_qsl(request.body.decode(), keep_blank_values=True))
        return request.body.decode()

    def judge(self, secret, request):
        validator = twilio.request_validator.RequestValidator(secret)
        named = twilio.request_validator.get_signature_algorithm(request.header(self.settings))
        return validator.validate(request.url, self.parameters(request), request.header(self.header) or "", named)


class SendGrid(Sdk):
    provider = package = "sendgrid"
    header = "X-Twilio-Email-Event-Webhook-Signature"
    time = "X-Twilio-Email-Event-Webhook-Timestamp"
    digits = "base64"
    is_loose = True

    def secret(self, rng):
        # A key pair that follows from the seed; its order is just below 2^256.
        private = ec.derive_private_key(rng.getrandbits(255) + 1, ec.SECP256R1())
        pkcs8 = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        spki = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(pkcs8).decode(), base64.b64encode(spki).decode()

    def sign(self, secret, body, at, rng):
        # The library only judges.
        private = serialization.load_der_private_key(base64.b64decode(secret), None)
        made = private.sign(str(at).encode() + body, ec.ECDSA(hashes.SHA256()))
        return self.request(body, {self.header: base64.b64encode(made).decode(), self.time: str(at)})

    def judge(self, secret, request):
        hook = EventWebhook()
        key = hook.convert_public_key_to_ecdsa(secret)
        text = request.body.decode()
        return hook.verify_signature(text, request.header(self.header), request.header(self.time), key)


class Standard(Sdk):
    provider = package = "standardwebhooks"
    library = standardwebhooks
    header = "webhook-signature"
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    scheme = "v1,"
    digits = "base64"
    is_loose = True
    between = " "
    behind = ahead = 300

    def secret(self, rng):
        made = base64.b64encode(rng.randbytes(rng.choice([24, 25, 26, 32, 64]))).decode()
        return (rng.choice(["whsec_", ""]) + made,) * 2

    def sign(self, secret, body, at, rng):
        named = f"msg_{rng.getrandbits(96):x}"
        when = datetime.fromtimestamp(at, tz=timezone.utc)
        made = self.library.Webhook(secret).sign(named, when, body.decode())
        # Versions that nobody knows are passed over.
        made = rng.choice([made, made, f"v2,{made[3:]} {made}", f"{made} v1a,{base64.b64encode(rng.randbytes(64)).decode()}"])
        return self.request(body, dict(zip(self.names, [named, str(at), made], strict=True)))

    def judge(self, secret, request):
        try:
            self.library.Webhook(secret).verify(request.body, lower(request.headers))
        except json.JSONDecodeError:
            # It reads the body once the signature holds, and that is all that is asked here.
            pass
        return True


class Svix(Standard):
    provider = package = "svix"
    library = svix
    header = "svix-signature"
    names = ("svix-id", "svix-timestamp", "svix-signature")

    def sign(self, secret, body, at, rng):
        request = super().sign(secret, body, at, rng)
        if rng.random() < 0.3:
            # The standard's own names are as good.
            request.headers = {name.replace("svix-", "webhook-"): value for name, value in request.headers.items()}
        return request


class Discord(Sdk):
    provider = "discord"
    package = "discord-interactions"
    # Bytes as they are.
    kinds = [*TEXTS, "binary"]
    header = "X-Signature-Ed25519"
    time = "X-Signature-Timestamp"

    def secret(self, rng):
        seed = rng.randbytes(32)
        public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        return seed.hex(), public.hex()

    def sign(self, secret, body, at, rng):
        # The library only judges.
        private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
        return self.request(body, {self.header: private.sign(str(at).encode() + body).hex(), self.time: str(at)})

    def judge(self, secret, request):
        return discord_interactions.verify_key(request.body, request.header(self.header), request.header(self.time), secret)


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def signature_header(sdk, request):
    """The header that decides: some providers have a second family of names."""
    also = {"shopify": "shopify-hmac-sha256", "svix": "webhook-signature"}.get(sdk.provider)
    return also if also and request.header(also) is not None else sdk.header


DIGITS = {"hex": re.compile(r"[0-9a-f]+"), "base64": re.compile(r"[A-Za-z0-9+/]+=*")}
READ = {"hex": bytes.fromhex, "base64": base64.b64decode}
WRITE = {"hex": bytes.hex, "base64": lambda raw: base64.b64encode(raw).decode()}


def change_signature(sdk, request, rng):
    """The same request with another signature, and how it was changed. What stands in place of digits is written as the
    SDKs write them: some take base64 with loose last bits, which says nothing of who signed."""
    name = signature_header(sdk, request)
    value = request.header(name)
    start = value.index(sdk.scheme) + len(sdk.scheme)
    found = DIGITS[sdk.digits].match(value, start)
    before, digits, after = value[:start], found.group(), value[found.end() :]
    raw = bytearray(READ[sdk.digits](digits))
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    wrong = WRITE[sdk.digits](bytes(raw))
    ways = {
        "one bit": before + wrong + after,
        "cut": before + digits[:-1] + after,
        "other case": before + digits.swapcase() + after,
        "empty": "",
        "missing": None,
    }
    if not sdk.is_loose:
        ways["twice"] = before + digits + digits + after
    if sdk.scheme:
        ways["no scheme"] = before[: -len(sdk.scheme)] + digits + after
        ways["other scheme"] = value.replace(sdk.scheme, "v7" + sdk.scheme[2:])
    if sdk.between:
        # While a secret is rolled there are several, and one that holds is enough.
        ways["beside a wrong one"] = before + wrong + sdk.between + sdk.scheme + digits + after
    # Most often what only the comparison finds.
    way = "one bit" if rng.random() < 0.4 else rng.choice(sorted(ways))
    return way, request.with_header(name, ways[way])


def change_body(sdk, request, rng):
    """One bit of the body is another. Text stays text for an SDK that takes nothing else, so that it has to compare."""
    body = bytearray(request.body)
    for _ in range(50 if body else 0):
        place, bit = rng.randrange(len(body)), 1 << rng.randrange(8)
        body[place] ^= bit
        if "binary" in sdk.kinds or is_text(body):
            return Request(request.url, request.headers, bytes(body))
        body[place] ^= bit
    return Request(request.url, request.headers, request.body + b"0")


def is_text(body):
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def everyone(directory):
    """All of them; `directory` holds the modules of Node."""
    with open(f"{directory}/package.json", encoding="utf-8") as file:
        versions = json.load(file)["dependencies"]
    node = Node(directory)
    own = [Stripe(), Slack(), Twilio(), SendGrid(), Standard(), Svix(), Discord()]
    return [GitHub(node, versions), *own[:4], Shopify(node, versions), *own[4:]]
