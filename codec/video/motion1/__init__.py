"""The network kind ``motion-1``: frames predicted from decoded frames, residuals in the DCT domain.

Files of it decode as ever; new ones are of kind ``motion`` (`laconic.codec.video.motion`). `mixing`
reads decisions, `syntax` a frame's numbers from them (`field`, `residual`); `order` says which
frame is predicted from which, `warp` and `rebuild` make images, `decoder` all of it.
"""
