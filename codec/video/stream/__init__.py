"""Videos of any length as chunks: planning, fitting with a work file, reading back frame by frame.

One chunk by itself is the matter of `laconic.codec.video.chunk`.
"""
