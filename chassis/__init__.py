"""What both services stand on: technical things that are the same in each. No domain model lives here."""

__version__ = "0.1.0"
