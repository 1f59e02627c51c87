"""Motion as a quadtree of HEALPix pixels (nside / 64 to nside / 4) with vectors, chosen by rate and distortion."""
