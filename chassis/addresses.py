"""Accepted mail addresses: a strict subset of RFC 5321 that every program parses the same way.

No quoted local parts, no comments, no literals such as root@[127.0.0.1], and neither "=" nor "?": Python's mail package
also decodes encoded words (RFC 2047) in addresses: it would send a mail for "=?utf-8?q?alice?=@example.com" to
alice@example.com.

A domain may contain non-ASCII letters; `normalize` converts it to the form that is stored and compared.
"""

import re
import unicodedata

MAX_LENGTH = 254  # a path is at most 256 octets, with its angle brackets (RFC 5321, section 4.5.3.1.3)
ATOM = "[A-Za-z0-9!#$%&'*+/^_`{|}~-]+"
LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# At most 64 characters before the "@", and no last label of digits only, as in an IP address.
ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){ATOM}(?:\.{ATOM})*@(?:{LABEL}\.)+(?![0-9]+ *$){LABEL}")


def normalize(text: str) -> str:
    """Return an address, or a part of one, with the domain in ASCII: xn--mnchen-3ya.example for münchen.example.

    The text is returned unchanged if Python's codec (IDNA 2003) cannot encode its domain or would encode a different
    one: strasse for straße, where IDNA 2008 has xn--strae-oqa.
    """
    local, at, domain = text.rpartition("@")
    if domain.isascii() or len(text) > MAX_LENGTH:
        return text
    try:
        ascii_domain = domain.encode("idna")
        is_same = ascii_domain.decode("idna") == unicodedata.normalize("NFC", domain).lower()
    except UnicodeError:
        return text
    return f"{local}{at}{ascii_domain.decode()}" if is_same else text


def is_address(text: str) -> bool:
    return len(text) <= MAX_LENGTH and ADDRESS.fullmatch(text) is not None
