"""Test helpers for chassis and both services."""
