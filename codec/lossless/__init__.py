"""Lossless codecs: pictures and records, exact to the last bit."""
