"""Mail addresses for the tests of all packages."""

LABEL, LONG = "l" * 63, ".".join(["l" * 61] * 3)
ACCEPTED = [
    *("alice@example.com", "Alice.Smith+tasks@Mail.Example.co.uk", "a!#$%&'*+/^_`{|}~-z@example.com"),
    *("alice@xn--exmple-cua.com", "alice@3com.example", f"alice@{LABEL}.example", "a" * 64 + "@example.com"),
    f"alice@{LONG}.{'l' * 62}",  # 254 characters
]
# Some are parsed as other addresses by Python's mail package, or try to forge a header or a command.
REFUSED = [
    *(f"=?utf-8?q?{word}?=@example.com" for word in ("alice", "=00", "a=0d=0ab", "a=2cb")),
    *("alice@=?utf-8?q?evil?=.com", "a=b@example.com", "a?b@example.com", '"victim@x.com"@evil.com'),
    *('"eve@evil.test,"@example.com', '"alice"@example.com', '"<script>"@x.com', "root@[127.0.0.1]"),
    *("root@[IPv6:::1]", "root@127.0.0.1", "alice(comment)@example.com", "alice@(comment)example.com"),
    *("Alice <alice@example.com>", "<alice@example.com>", "@evil.test:alice@example.com", "a" * 65 + "@example.com"),
    *(
        f"alice@l{LABEL}.example",
        f"alice@{LONG}.{LABEL}",
        "alice@localhost",
        "alice@example.123",
    ),  # 2nd: 255 characters
    *("alice@-example.com", "alice@example-.com", "alice@exa_mple.com", "alice@example..com", "alice@example.com."),
    *("alice@.example.com", ".alice@example.com", "alice.@example.com", "al..ice@example.com", "al ice@example.com"),
    *("alice@@example.com", "alice", "alice@", "@example.com", "alice@example.com, eve@evil.test"),
    *("alice@example.com;eve@evil.test", "alice@example.com\r\nBcc: eve@evil.test", "\n"),
    *("alice@example.com>\r\nRCPT TO:<eve@evil.test", "zo\u00eb@example.com", "alice@\uff45xample.com"),
    "alice@stra\u00dfe.example",  # IDNA 2003 and IDNA 2008 encode it differently
    *("alice@\u03ba\u03cc\u03c3\u03bc\u03bf\u03c2.example", "alice@ex\u00e4mple..com", "alice\u200b@example.com"),
    *("alice@" + "\u00e4" * 64 + ".example", "alice@\u00e4" + ".example" * 40),
]
# International domains, with their stored form.
INTERNATIONAL = {
    "x@m\u00fcnchen.example": "x@xn--mnchen-3ya.example",
    "X@M\u00dcNCHEN.example": "X@xn--mnchen-3ya.example",
    "x@mu\u0308nchen.example": "x@xn--mnchen-3ya.example",  # as macOS types it
    "x@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444": "x@xn--e1afmkfd.xn--p1ai",
    "x@\u4f8b\u3048.jp": "x@xn--r8jz45g.jp",
}
# Rejected unless a field strips the line break.
REFUSED_UNTRIMMED = [*REFUSED, "alice@example.com\n"]
