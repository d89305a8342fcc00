"""Size limits of a request, for settings, parsers and views."""

BODY_LIMIT_BYTES = 1024 * 1024  # as client_max_body_size in the gateway's template
ANONYMOUS_BODY_LIMIT_BYTES = 16 * 1024  # on anonymous routes; also in the gateway's template
MAX_CONTENT_TYPE_LENGTH = 256  # Django parses 8,000 semicolons in quadratic time
