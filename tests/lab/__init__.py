"""Fault injection, load and fuzzing of a running stack. See docs/faults.md."""
