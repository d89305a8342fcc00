"""Checks common to all token types: form, encoding, lifetime and clock."""

import json
import time
from types import SimpleNamespace

import pytest

from chassis.auth import tokens
from chassis.auth.tokens import InvalidToken
from chassis.testing.forge import MISSING, claims, signed, signed_text

KINDS = {
    "access": {"token_type": "access", "aud": "tmservice"},
    "refresh": {"token_type": "refresh", "aud": "tmservice"},
    "service": {"token_type": "service", "aud": "tmservice-internal", "sub": "task_service"},
}
LIFETIMES = {"access": 300, "refresh": 7 * 24 * 3600, "service": 60}
DEEP = "[" * 1_400 + "]" * 1_400


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def good(kind):
    """The claims of a valid token of this type, with changes."""

    def make(**changes):
        now = int(time.time())
        times = {"iat": now, "exp": now + LIFETIMES[kind]}
        return claims(**KINDS[kind] | times | changes)

    return make


@pytest.fixture
def verify(kind):
    return lambda token: tokens.verify(token, token_type=kind, audience=KINDS[kind]["aud"])


@pytest.fixture
def refused(verify):
    def check(token, *, match=None):
        with pytest.raises(InvalidToken, match=match):
            verify(token)

    return check


def test_it_works(verify, good):
    payload = good()

    assert verify(signed(payload)) == payload


def test_a_token_has_at_most_4096_characters(verify, good, refused):
    def of_length(length):
        room = (length - len(signed(good(padding="")))) * 3 // 4
        paddings = ("x" * number for number in range(room - 20, room))
        made = (signed(good(padding=padding), note=note) for padding in paddings for note in ("", "x", "xx"))
        return next(token for token in made if len(token) == length)

    assert verify(of_length(4096))
    refused(of_length(4097), match="compact form")


@pytest.mark.parametrize(
    "spoil",
    [
        *(lambda token, form=form: form.format(token) for form in ("{}=", "{}\n", " {}", "{}.", ".{}", "{0}.{0}")),
        *(lambda token, dots=dots: token.replace(".", dots, 1) for dots in ("=.", "==.", "..")),
        *(lambda token, mark=mark: token[:5] + mark + token[6:] for mark in ("\n", "+", "/", "\u0661", "\ud800")),
    ],
)
def test_base64url_has_neither_padding_nor_other_characters(good, refused, spoil):
    refused(spoil(signed(good())), match="compact form")


def test_the_unused_bits_of_the_last_character_are_zero(good, refused):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = signed(good())
    last = alphabet.index(token[-1])

    refused(token[:-1] + alphabet[last ^ 1])


def header(**changes):
    return {"alg": "HS256", "typ": "JWT", "kid": tokens.signing_key("").id} | changes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_header_and_payload_are_utf8_without_a_bom(good, refused, encoding):
    refused(signed(json.dumps(good()).encode(encoding)), match="not JSON in UTF-8")
    refused(signed_text(json.dumps(header()).encode(encoding), json.dumps(good())), match="not JSON in UTF-8")


@pytest.mark.parametrize("stray", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"])
def test_invalid_utf8_is_rejected(good, refused, stray):
    payload = json.dumps(good(note="?")).encode().replace(b"?", stray)

    refused(signed(payload), match="not JSON in UTF-8")


@pytest.mark.parametrize("name", ["sub", "exp", "aud", "token_type", "note"])
def test_a_duplicate_claim_is_rejected(good, refused, name):
    whole = json.dumps(good(note="x"))
    repeated = json.dumps({name: good(note="x")[name]})

    refused(signed(f"{repeated[:-1]}, {whole[1:]}"), match="appears twice")


def test_a_duplicate_name_in_the_header_is_rejected(good, refused):
    refused(signed_text(f'{{"alg": "none", {json.dumps(header())[1:]}', json.dumps(good())), match="appears twice")


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ('{"a": 1, "a": 2}', "appears twice"),
        *((f"[{constant}]", "is not JSON") for constant in ("NaN", "Infinity", "-Infinity")),
    ],
)
def test_claims_are_strict_json_at_any_depth(good, refused, note, reason):
    refused(signed(json.dumps(good())[:-1] + f', "note": {note}}}'), match=reason)


@pytest.mark.parametrize("text", ["null", "[]", '"x"', "7", "{", "{}x", '{"exp":' + "9" * 2_500 + "}"])
def test_header_and_payload_are_objects(good, refused, text):
    refused(signed(text))
    refused(signed_text(text, json.dumps(good())))


def test_deeply_nested_json_is_rejected(refused):
    refused(signed_text(f'{{"alg":"HS256","kid":{DEEP}}}', "{}"))
    refused(signed(f'{{"exp":{DEEP}}}'))


@pytest.mark.parametrize(
    "header",
    [*({"crit": extension} for extension in (["b64"], ["exp"], [], "exp", None)), {"crit": ["b64"], "b64": False}],
    ids=str,
)
def test_a_critical_extension_is_rejected(good, refused, header):
    refused(signed(good(), **header), match="extension")


def test_an_unencoded_payload_is_rejected(good, refused):
    refused(signed(good(), b64=False))


@pytest.mark.parametrize("name", ["iss", "aud"])
def test_issuer_and_audience_are_strings(good, refused, name):
    for value in ([good()[name]], [good()[name], "other"], {good()[name]: 1}, 1, True, None, MISSING):
        refused(signed(good(**{name: value})))


def test_no_token_exceeds_the_lifetime_of_its_type(kind, good, verify, refused):
    now = int(time.time())
    assert verify(signed(good(iat=now, exp=now + LIFETIMES[kind])))

    refused(signed(good(iat=now, exp=now + LIFETIMES[kind] + 1)), match="lifetime is longer")
    refused(signed(good(iat=now - 10**6, exp=now + 60)), match="lifetime is longer")


def test_a_clock_30_seconds_ahead_is_tolerated(monkeypatch, kind, good, verify, refused):
    now = int(time.time()) + 3600  # ahead of the clock that PyJWT reads, so that nothing has expired
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=lambda: float(now)))

    def issued_at(instant):
        return signed(good(iat=instant, exp=instant + LIFETIMES[kind]))

    assert verify(issued_at(now + 30))
    refused(issued_at(now + 31), match="issued in the future")


@pytest.mark.parametrize("seconds_ago", [0, 1])
def test_no_token_is_valid_after_its_expiry(good, refused, seconds_ago):
    now = int(time.time())

    refused(signed(good(iat=now - 30, exp=now - seconds_ago)))


def test_a_not_before_time_in_the_past_is_accepted(good, verify):
    assert verify(signed(good(nbf=1)))
    assert verify(signed(good(nbf=int(time.time()))))


@pytest.mark.parametrize(
    "changes",
    [
        *({name: value} for name in ("exp", "iat") for value in ("1", True, 1.5, None, [], {}, 10**30, -1)),
        *({"nbf": value} for value in (4102444800, "1", "abc", True, 1.5, None, [], {}, float("inf"), 1e30)),
        *({"jti": digits} for digits in ("\u0660" * 32, "\uff10" * 32, "0" * 31 + "\u0660")),
    ],
    ids=ascii,
)
def test_times_are_whole_numbers_and_ids_ascii_digits(good, refused, changes):
    refused(signed(good(**changes)))
