"""The network kind ``motion-1``: frames predicted from decoded frames, residuals in the DCT domain.

Files of it decode as ever; new ones are of kind ``motion`` (`laconic.codec.video.motion`). `mixing`
reads decisions, `field` and `residual` a frame's numbers from them, `warp` and `rebuild` make
images, `decoder` does all of it.
"""
