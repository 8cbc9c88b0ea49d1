"""Published image models under their published names: MLIC++ and MLICv2 at full size.

State-dict keys, shapes and numbers are those of the authors' code, so that checkpoints load. The
small model that ships (``laconic.codec.image``) is made of the same ideas at a fortieth of the
cost; choose these to reproduce a paper or to use its weights.
"""
