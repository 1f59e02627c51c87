"""Learned codecs of others, wrapped so that they write real files and are measured as ours are."""
