"""How large the parts of a request may be, for settings, parsers and views alike."""

BODY_LIMIT_BYTES = 1024 * 1024  # as client_max_body_size in the gateway's template
ANONYMOUS_BODY_LIMIT_BYTES = 16 * 1024  # on routes that let anyone in; the gateway's template has it too
MAX_CONTENT_TYPE_LENGTH = 256  # Django parses one of 8,000 semicolons in quadratic time
