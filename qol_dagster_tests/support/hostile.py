"""A hundred requests that no Garmin sends, with what is answered and what is stored.

Belongs here: their bytes. What must come of each is in docs/reference/hostile-requests.md, and is worked out by hand.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

SECRET_PATH = "/garmin/0123456789abcdef0123"
CLIENT_ID = "client-7"
RECORD = {"userId": "u-1", "calendarDate": "2026-11-14", "steps": 1}
BODY = json.dumps({"dailies": [RECORD]}).encode()


def push(body: bytes | str | Any = BODY, *lines: str, path: str = SECRET_PATH, method: str = "POST") -> bytes:
    """Return a push with a right length, unless the lines say otherwise; what is no text is made JSON."""
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    names = {line.partition(":")[0].lower() for line in lines}
    head = [f"{method} {path} HTTP/1.1", *lines]
    head += [] if "host" in names else ["Host: x"]
    head += [] if "garmin-client-id" in names else [f"garmin-client-id: {CLIENT_ID}"]
    head += [] if names & {"content-length", "transfer-encoding"} else [f"Content-Length: {len(content)}"]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1") + content


def packed(body: bytes) -> bytes:
    return push(gzip.compress(body, mtime=0), "Content-Encoding: gzip")


def chunked(*parts: bytes) -> bytes:
    return push(b"".join(parts), "Transfer-Encoding: chunked")


def one(record: str) -> bytes:
    """Return the push of one daily summary in exactly these letters."""
    return push(f'{{"dailies":[{record}]}}')


def requests() -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes."""
    yield from paths()
    yield from heads()
    yield from framing()
    yield from packings()
    yield from texts()
    yield from shapes()
    yield from records()


def paths() -> Iterator[tuple[str, bytes]]:
    yield "no secret", push(path="/garmin/")
    yield "no slash before the secret", push(path="/garmin")
    yield "a wrong secret", push(path="/garmin/0123456789abcdef0124")
    yield "half of the secret", push(path=SECRET_PATH[:-8])
    yield "the secret twice", push(path=SECRET_PATH + SECRET_PATH[8:])
    yield "the secret in capitals", push(path=SECRET_PATH.upper())
    yield "the secret with a slash behind it", push(path=SECRET_PATH + "/")
    yield "the secret with two slashes behind it", push(path=SECRET_PATH + "//")
    yield "the secret with a query", push(path=SECRET_PATH + "?a=1")
    yield "the secret in escapes", push(path="/garmin/" + "".join(f"%{ord(char):02x}" for char in SECRET_PATH[8:]))
    yield "a NUL behind the secret", push(path=SECRET_PATH + "%00")
    yield "an escape that is no UTF-8", push(path="/garmin/%ff%fe")
    yield "a way up", push(path="/garmin/../garmin/x")
    yield "a way up to a file", push(path="/garmin/..%2f..%2fetc%2fpasswd")
    yield "the root", push(path="/")
    yield "a path of 10,000 letters", push(path="/" + "a" * 10_000)
    yield "the raw files", push(path="/raw/daily/", method="GET")
    yield "a whole URL in place of the path", push(path="http://example.org" + SECRET_PATH)
    yield "GET with the secret", push(method="GET")
    yield "PUT with the secret", push(method="PUT")
    yield "DELETE with a wrong secret", push(path="/garmin/x", method="DELETE")
    yield "TRACE of the health page", push(path="/health", method="TRACE")
    yield "POST to the health page", push(path="/health")
    yield "HEAD of the health page", push(b"", path="/health", method="HEAD")
    yield "a method that nobody knows", push(method="GARMIN")
    yield "an enrolment where there is none", push(path="/oauth/start", method="GET")


def heads() -> Iterator[tuple[str, bytes]]:
    yield "a wrong client id", push(BODY, "garmin-client-id: client-8")
    yield "no client id", push(BODY, "garmin-client-id:")
    yield "the client id twice", push(BODY, f"garmin-client-id: {CLIENT_ID}", f"garmin-client-id: {CLIENT_ID}")
    yield "no host", push(BODY, "Host: x").replace(b"Host: x\r\n", b"")
    yield "two hosts", push(BODY, "Host: x", "Host: y")
    yield "a head that does not end", push(BODY, "X: " + "a" * 40_000)[:30_000]
    yield "a header without a colon", push(BODY, "nonsense")
    yield "a space before the colon", push(BODY, "X : 1")
    yield "a header over two lines", push(BODY, "X: 1\r\n 2")
    yield "a NUL in a header", push(BODY, "X: a\0b")
    yield "line feeds only", push().replace(b"\r\n", b"\n")
    yield "HTTP/0.9", b"GET /health\r\n\r\n"
    yield "HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "TLS to the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200
    yield "no HTTP at all", b"\xff" * 100 + b"\r\n\r\n"
    yield "a wish to become a web socket", push(BODY, "Upgrade: websocket", "Sec-WebSocket-Key: x")
    yield "half a head, and silence", push()[:60]
    yield "nothing, and silence", b""


def framing() -> Iterator[tuple[str, bytes]]:
    yield "a length below zero", push(BODY, "Content-Length: -1")
    yield "a length that is a word", push(BODY, "Content-Length: ten")
    yield "a length with a plus sign", push(BODY, f"Content-Length: +{len(BODY)}")
    yield "two lengths that differ", push(BODY, f"Content-Length: {len(BODY)}", "Content-Length: 1")
    yield "one length twice", push(BODY, f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY)}")
    yield "a length and chunks", push(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked")
    yield "a length of 101 MB", push(BODY, "Content-Length: 105906176")
    yield "a length of 10^30", push(BODY, f"Content-Length: {10**30}")
    yield "less than its length, and silence", push(BODY[:-1], f"Content-Length: {len(BODY)}")
    yield "more than its length", push(BODY + b"GET / HTTP/1.1\r\n\r\n", f"Content-Length: {len(BODY)}")
    yield "chunks that fit", chunked(b"%x\r\n%b\r\n" % (len(BODY), BODY), b"0\r\n\r\n")
    yield "a chunk size that is no number", chunked(b"zz\r\n", BODY)
    yield "a chunk size below zero", chunked(b"-1\r\n", BODY)
    yield "a chunk larger than it says", chunked(b"5\r\n%b\r\n0\r\n\r\n" % BODY)
    yield "chunks without an end, and silence", chunked(b"%x\r\n%b\r\n" % (len(BODY), BODY))
    yield "an encoding that nobody knows", push(BODY, "Transfer-Encoding: gzip, chunked")


def packings() -> Iterator[tuple[str, bytes]]:
    whole = gzip.compress(BODY, mtime=0)
    yield "gzip", packed(BODY)
    yield "plain that says gzip", push(BODY, "Content-Encoding: gzip")
    yield "gzip cut short", push(whole[:-9], "Content-Encoding: gzip")
    yield "gzip with a wrong checksum", push(whole[:-8] + b"\0" * 8, "Content-Encoding: gzip")
    yield "gzip in gzip", packed(whole)
    yield "gzip that does not say so", push(whole)
    yield "10 KB of gzip that hold 10 MB of records", packed(b'{"a":[' + b"{}," * 3_300_000 + b"{}]}")
    yield "100 KB of gzip that hold 100 MB", packed(b'{"a":[' + b" " * 100_000_000 + b"]}")
    yield "2,000 gzip streams in one", push(gzip.compress(b"") * 1999 + whole, "Content-Encoding: gzip")
    yield "brotli", push(BODY, "Content-Encoding: br")


def texts() -> Iterator[tuple[str, bytes]]:
    yield "no body", push(b"")
    yield "spaces", push(b"  \n ")
    yield "no JSON", push("userId=u-1&steps=1")
    yield "JSON cut short", push(BODY[:-1])
    yield "JSON with more behind", push(BODY + b"{}")
    yield "UTF-16", push(BODY.decode().encode("utf-16"))
    yield "bytes that are no UTF-8", push(b'{"dailies":[{"a":"\xff"}]}')
    yield "100,000 lists in each other", push(b'{"dailies":[' + b"[" * 100_000)
    yield "a comma at the end", push('{"dailies":[{"userId":"u-1"},]}')
    yield "single quotes", push("{'dailies': []}")
    yield "XML that includes a file", push('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>')


def shapes() -> Iterator[tuple[str, bytes]]:
    yield "null", push("null")
    yield "a list", push([{"dailies": [RECORD]}])
    yield "an empty object", push("{}")
    yield "a type that is no list", push({"dailies": {"records": [RECORD]}})
    yield "a type that is null", push({"dailies": None})
    yield "records that are no objects", push({"dailies": [1, "a", None, [], True]})
    yield "a type without a name", push({"": [RECORD]})
    yield "a type that leads up", push({"../../etc": [RECORD]})
    yield "a type of 5,000 letters", push({"a" * 5_000: [RECORD]})
    yield "50,001 records", push({"a": [1] * 50_001})
    yield "401 dates", push({"a": [{"calendarDate": f"{2000 + n // 28}-01-{1 + n % 28:02}"} for n in range(401)]})


def records() -> Iterator[tuple[str, bytes]]:
    yield "our own keys", one('{"userId":"u-1","calendarDate":"2026-11-14","_ingest_id":"x"}')
    yield "a key twice", one('{"userId":"u-1","calendarDate":"2026-11-14","userId":"u-2"}')
    yield "NaN", one('{"userId":"u-1","calendarDate":"2026-11-14","steps":NaN}')
    yield "a date that leads up", one('{"userId":"u-1","calendarDate":"../../x"}')
    yield "an integer of 100,000 digits", one(f'{{"calendarDate":"2026-11-14","steps":{"9" * 100_000}}}')
    yield "a line break in a text", one('{"calendarDate":"2026-11-14","a":"x\\n\\u2028y"}')
    yield "a ping to somebody's own host", one('{"userId":"u-1","callbackURL":"https://example.org/x"}')
    yield "a user whose id is a list", one('{"userId":["u-1"],"calendarDate":"2026-11-14"}')
