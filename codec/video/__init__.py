"""Video: a film chunk is a small network fitted to its frames, and the file holds the network.

`chunk` fits and decodes one chunk of frames; the modules beside it hold the published networks
(HNeRV, HNeRV-Boost), the toolkit's own, and what turns fitted weights into bytes.
"""
