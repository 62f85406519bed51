"""Fast forms of convolution and pooling."""
