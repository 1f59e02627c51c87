"""Fuzzing of the decoder: every file must be decoded or rejected with an error, in limited time and memory."""
