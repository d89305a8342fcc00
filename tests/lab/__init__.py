"""Faults, fuzzing and trials of a running stack: what breaks it, loads it and judges it. See docs/faults.md."""
