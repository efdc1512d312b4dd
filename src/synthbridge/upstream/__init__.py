"""The pretrained models and the image pool that the pipeline starts from."""
