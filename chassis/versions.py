"""The oldest version of what a service stands on that it works with."""

MIN_POSTGRESQL = 15
