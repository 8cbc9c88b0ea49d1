"""Lossless codecs: hidden Chow-Liu trees for records, conditional circuits for photographs."""
