"""Motion as a tree: HEALPix pixels of nside / 64 to nside / 4, each with a vector, chosen by rate and distortion."""
