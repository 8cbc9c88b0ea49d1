"""Photographs, losslessly: a conditional shallow circuit in exact integer arithmetic.

A small network per colour plane reads an activity-normalised causal neighbourhood (`ends`), runs
in integers (`network`), and emits a mixture of discretised logistics (`ends`), the sum node
whose weights, means and scales depend on the context. Samples are coded along a wavefront
with interleaved lanes of a stack coder (`wave`). For synthetic images see `fallback`; for lossy
coding choose `laconic.codec.image`.
"""
