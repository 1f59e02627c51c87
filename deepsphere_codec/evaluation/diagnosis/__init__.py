"""Analysis of a model's bits by part, compared with the bits that classical encoders need for the same pictures."""
