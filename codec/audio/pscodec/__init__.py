"""PSCodec: a speech codec whose decoder is told once who speaks (prompts)."""
