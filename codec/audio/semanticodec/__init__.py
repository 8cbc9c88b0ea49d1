"""SemantiCodec as published: AudioMAE, merged k-means codebooks, latent diffusion, HiFi-GAN."""
