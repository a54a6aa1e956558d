"""The relay of chat completions: forwarded bytes are unchanged, the end is withheld, and usage is read."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backends.relay import DocumentRelay, EventRelay
from app.backends.sse import MAX_LINE_BYTES
from app.contract.completion import Usage

TEXT = [
    b'{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}',
    b'{"choices":[{"delta":{"content":"\\"usage\\":{ is no usage"}}],"usage":null}',
    b'{"choices":[{"delta":{"content":" more"},"finish_reason":"stop"}],"usage":null}',
]
USED = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}'
DONE = b"[DONE]"


def stream(*events: bytes, end: bytes = b"\n") -> bytes:
    return b"".join(b"data: " + event + end + end for event in events)


def relayed(relay: EventRelay, sent: bytes, cuts: list[int]) -> bytes:
    ends = [0, *sorted(cut % (len(sent) + 1) for cut in cuts), len(sent)]
    return b"".join(relay.feed(sent[start:end]) for start, end in pairwise(ends)) + relay.flush()


@given(st.lists(st.integers(0)), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_all_bytes_but_an_unrequested_usage_are_forwarded(cuts: list[int], end: bytes, requested: bool) -> None:
    sent = b": ping" + end + end + stream(*TEXT, USED, DONE, end=end)
    relay = EventRelay(requested)
    got = relayed(relay, sent, cuts)
    assert got == (sent if requested else sent.replace(stream(USED, end=end), b""))
    assert relay.usage == Usage(5, 2, cached_tokens=3)
    assert relay.done


def test_spaces_in_the_json_make_no_difference() -> None:
    relay = EventRelay(usage_requested=False)
    spaced = json.dumps(json.loads(USED)).encode()
    assert relayed(relay, stream(*TEXT, spaced, DONE), []) == stream(*TEXT, DONE)
    assert relay.usage == Usage(5, 2, cached_tokens=3)


def test_usage_beside_text_is_read_and_forwarded() -> None:
    relay = EventRelay(usage_requested=False)
    events = [
        b'{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":5,"completion_tokens":%d}}' % n
        for n in (1, 2)
    ]
    assert relay.feed(stream(*events)) == stream(*events)
    assert relay.usage == Usage(5, 2)


WITH_USAGE = [
    (
        b'{"choices":[{"delta":{"content":"%d, \\"usage\\":{"}}]%s,"usage":{"prompt_tokens":5,"completion_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":3}}}'
    )
    % (n, more, n)
    for n, more in enumerate((b"", b',"system_fingerprint":"x"'))
]


@given(st.lists(st.integers(0)), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_continuous_usage_of_the_gateway_is_read_and_removed(cuts: list[int], end: bytes, requested: bool) -> None:
    plain = [
        json.dumps({k: v for k, v in json.loads(e).items() if k != "usage"}, separators=(",", ":")) for e in WITH_USAGE
    ]
    relay = EventRelay(requested, strip_usage=True)
    last = [USED] if requested else []
    expected = stream(*(event.encode() for event in plain), *last, DONE, end=end)
    assert relayed(relay, stream(*WITH_USAGE, USED, DONE, end=end), cuts) == expected
    cut = EventRelay(requested, strip_usage=True)
    cut.feed(stream(*WITH_USAGE, end=end))
    assert cut.usage == Usage(5, 1, cached_tokens=3)


def test_events_with_text_are_counted() -> None:
    relay = EventRelay(usage_requested=False)
    relay.feed(stream(*TEXT[:2]))
    assert (relay.usage, relay.text_events) == (None, 1)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\n\n: bye"])
def test_the_end_marker_is_withheld_until_the_end(end: bytes) -> None:
    relay = EventRelay(usage_requested=True)
    assert relay.feed(stream(TEXT[0]) + b"data: [DONE]\n" + end[1:]) == stream(TEXT[0])
    assert relay.done
    rest = relay.flush()
    assert rest.startswith(b"data: [DONE]" + end)
    assert rest.endswith(b"\n\n")


def test_a_line_without_an_end_is_refused() -> None:
    relay = EventRelay(usage_requested=True)
    with pytest.raises(ValueError, match="does not end"):
        for _ in range(MAX_LINE_BYTES // 1000 + 2):
            relay.feed(b"x" * 1000)


@pytest.mark.parametrize(
    ("document", "usage"),
    [
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, Usage(5, 2)),
        ({"usage": None}, None),
        ({}, None),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": 2}}, None),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 0}}, Usage(5, 0)),
    ],
)
def test_a_whole_document(document: dict[str, object], usage: Usage | None) -> None:
    relay, sent = DocumentRelay(), json.dumps(document | {"choices": [{"message": {}}]}).encode()
    assert relay.feed(sent[:7]) + relay.feed(sent[7:]) + relay.flush() == sent
    assert relay.usage == usage


@pytest.mark.parametrize("document", [[], {}, {"choices": []}, {"choices": [{}]}, {"error": {"message": "no"}}])
def test_a_document_that_is_no_completion(document: object) -> None:
    relay = DocumentRelay()
    assert relay.feed(json.dumps(document).encode()) == b""
    with pytest.raises(ValueError, match="validation error"):
        relay.flush()
