"""Training of models: stages, losses, optimisers, checkpoints and validation."""
