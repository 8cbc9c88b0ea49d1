"""The small SemantiCodec: trained here, made for a processor."""
