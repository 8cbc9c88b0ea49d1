"""Audio codecs: sound as tokens."""
