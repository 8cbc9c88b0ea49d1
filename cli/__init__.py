"""Command line of Laconic: parses, calls ``laconic.codec``, prints."""
