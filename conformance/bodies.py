"""Random bodies. Owns what a body may look like; knows no provider. Equal generators make equal bytes."""

import json
from urllib.parse import quote_plus

LARGE_BYTES = 1 << 20

# What readers of text stumble over: NUL, line ends of every kind, a byte order mark, separators that look like nothing,
# letters that combine, change length with their case or stand beyond 16 bits. No lone surrogates: they are not text.
AWKWARD = "\0\x01\x1b\x7f\t\n\r\x0b\x85\u2028\u2029\ufeff\u200b\u200d\u0301\u00df\u0130\u0131\u212a\ud7ff\ue000\uffff\U0001f514\U0010ffff\"\\/<>&=+%;,.:'"
RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x5FF), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)]


def text(rng, chars):
    """Text of that many characters."""
    made = []
    while len(made) < chars:
        if rng.random() < 0.15:
            made.append(rng.choice(AWKWARD))
        else:
            # A run of one script, as people write.
            first, last = rng.choice(RANGES)
            made.extend(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 12)))
    return "".join(made[:chars])


def value(rng, depth):
    """A JSON value."""
    kind = rng.randrange(9 if depth else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice([0, -1, 2**53 + 1, -(2**63), rng.getrandbits(64), rng.random(), 1e300, -0.0])
    if kind < 6:
        return text(rng, rng.randint(0, 30))
    if kind == 6:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 5))]
    return {text(rng, rng.randint(0, 12)): value(rng, depth - 1) for _ in range(rng.randint(0, 5))}


def written(rng, document):
    """JSON as its writers differ: compact or spaced, escaped or not, with and without a line end."""
    separators = rng.choice([(",", ":"), (", ", ": "), (" ,\r\n", " :\t")])
    made = json.dumps(document, ensure_ascii=rng.random() < 0.5, separators=separators)
    return (made + rng.choice(["", "", "\n", "\r\n"])).encode()


def of_json(rng):
    document = {text(rng, rng.randint(1, 12)): value(rng, 3) for _ in range(rng.randint(0, 6))}
    document |= {"id": text(rng, 8), "type": rng.choice(["invoice.paid", "message.received", text(rng, 10)])}
    return written(rng, document)


def of_list(rng):
    return written(rng, [value(rng, 2) for _ in range(rng.randint(0, 6))])


def of_form(rng):
    """Names that repeat, values that are empty or alike, both ways to write a blank, escapes in either case."""
    names = [text(rng, rng.randint(1, 8)) for _ in range(rng.randint(1, 8))] + ["Body", "From", "payload"]
    pairs = []
    for _ in range(rng.randint(1, 20)):
        name, content = rng.choice(names), text(rng, rng.choice([0, 1, 10, 60]))
        sides = [quote_plus(side, safe=rng.choice(["", "/:@!~*'()"])) for side in (name, content)]
        if rng.random() < 0.3:
            sides[1] = sides[1].replace("+", "%20")
        if rng.random() < 0.2:
            sides = [escapes_in_lower_case(side) for side in sides]
        pairs.append("=".join(sides))
        if rng.random() < 0.1:
            pairs.append(rng.choice([pairs[-1], sides[0], "", "a=b=c"]))
    return "&".join(pairs).encode()


def escapes_in_lower_case(text_):
    parts = text_.split("%")
    return "%".join(parts[:1] + [part[:2].lower() + part[2:] for part in parts[1:]])


def of_size(rng, kind):
    """About a megabyte; a piece is repeated, because this is about length."""
    if kind == "binary":
        return rng.randbytes(LARGE_BYTES)
    piece = text(rng, 997)
    if kind == "form":
        return f"Body={quote_plus(piece * (LARGE_BYTES // len(quote_plus(piece)) + 1))}&From=1".encode()
    piece *= LARGE_BYTES // len(piece.encode()) + 1
    if kind == "text":
        return piece.encode()
    document = {"id": "large", "type": "message.received", "data": piece}
    return json.dumps([document] if kind == "list" else document).encode()


MAKERS = {
    "empty": lambda rng: b"",
    "json": of_json,
    "list": of_list,
    "form": of_form,
    "text": lambda rng: text(rng, rng.choice([1, 2, 30, 300])).encode(),
    "binary": lambda rng: rng.randbytes(rng.choice([1, 2, 64, 1000, 5000])),
}


def make(rng, kinds, is_large):
    """The kind of body, and a body of it; only what has a content can be large."""
    if is_large:
        kind = rng.choice([kind for kind in kinds if kind != "empty"])
        return f"large {kind}", of_size(rng, kind)
    kind = rng.choice(kinds)
    return kind, MAKERS[kind](rng)
