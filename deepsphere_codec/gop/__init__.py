"""Division of a film into GOPs and groups, buffers of references, and checks of headers."""
