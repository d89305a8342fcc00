"""The local stack: everything that docker compose would run, from PyPI's packages alone."""
