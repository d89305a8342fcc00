"""Technical code shared by both services. It contains no domain models."""

__version__ = "0.1.0"
