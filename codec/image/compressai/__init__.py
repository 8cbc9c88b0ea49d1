"""Models of CompressAI's zoo as codecs: their networks and checkpoints, our tables and files."""
