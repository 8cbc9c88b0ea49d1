"""The network kind ``motion-1``: frames predicted from decoded frames, residuals in the DCT domain.

Files of it decode as ever; new ones are of kind ``motion`` (`laconic.codec.video.motion`). `mixing`
reads decisions, `syntax` a frame's numbers from them (`field`, `residual`), `warp` and `rebuild`
make images, `decoder` all of it.
"""
