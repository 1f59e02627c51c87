"""Training data: preparation of films, generated films, and random samples of them on the sphere and the plane."""
