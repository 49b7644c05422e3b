"""The pix2pix network for segmentation: generator, discriminator, losses and the model file."""
