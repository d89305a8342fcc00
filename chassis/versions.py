"""Minimum versions of the services' dependencies."""

MIN_POSTGRESQL = 15
