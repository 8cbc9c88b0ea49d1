"""The hybrid codec behind the network kind ``motion``: frames predicted block by block from decoded
samples, residuals as transform coefficients, all of it coded by mixed contexts. Integers only.

The stream, for encoder and decoder alike: `frames` (order of coding), `syntax` (a tree block),
`elements` (single decisions), `residual` (levels), `mix` (contexts and the coder). Samples:
`intra`, `inter`, `rebuild`, `filters`. The encoder alone: `search` (the walk over the tree),
`inter_search`, `vectors`, `repeats` (of screens), `trial`, `prices`. How kernels are compiled:
`compiled`.
"""
