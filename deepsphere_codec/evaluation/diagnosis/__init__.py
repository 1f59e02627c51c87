"""Diagnosis of where a model's bits go, beside what classical encoders need for the same pictures."""
