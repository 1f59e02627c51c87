"""Metrics of decoded ERP pictures against their sources."""
