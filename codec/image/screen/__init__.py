"""Exact and nearly exact coding of screens, text and drawings beside a learned model."""
