"""Faults that a running stack must survive: each is injected under load and judged. See docs/faults.md."""
