"""Health check of the service in this container: python -I -S probe.py PATH. The exit status is 1 if it is unhealthy.

It runs often, so it imports no package, not even urllib.
"""

import os
import socket
import sys

TIMEOUT_SECONDS = 4


def main() -> None:
    address = ("127.0.0.1", int(os.environ.get("PORT", "8000")))
    request = f"GET {sys.argv[1]} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    try:
        with socket.create_connection(address, TIMEOUT_SECONDS) as connection:
            connection.sendall(request)
            status_line = connection.makefile().readline()
    except OSError as error:
        sys.exit(f"{address}: {error}")
    if status_line.split()[1:2] != ["200"]:
        sys.exit(f"{sys.argv[1]}: {status_line.strip() or 'no response'}")


if __name__ == "__main__":
    main()
