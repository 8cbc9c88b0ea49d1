"""The network kind ``motion``: frames predicted from decoded frames, residuals in the DCT domain.

`order` says which frame is predicted from which, `warp` and `blocks` make images, `syntax` names
what a frame consists of and `mixing` turns it into bits; `search`, `quantise` and `loop` are the
encoder, `fit` and `decoder` what `laconic.codec.video.chunk` chooses by the network's name.
"""
