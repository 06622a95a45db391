"""Hostile input: what is promised of every bytes there are, and what looks for bytes that break a promise."""
