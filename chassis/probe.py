"""Asks this container's own service whether it is healthy: python -m chassis.probe PATH. Exit status 1 says no."""

import os
import sys
import urllib.request

TIMEOUT_SECONDS = 4


def main() -> None:
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}{sys.argv[1]}"
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS).close()
    except OSError as error:  # also an answer of 4xx and 5xx
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
