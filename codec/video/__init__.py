"""Video: a chunk of video is fitted by itself, and the file holds what was fitted.

`chunk` fits and decodes one chunk of frames. `motion` predicts frames from decoded frames (the
default); the modules beside it hold the published networks (HNeRV, HNeRV-Boost), the toolkit's
first own network, and what turns fitted weights into bytes.
"""
