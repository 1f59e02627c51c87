"""Evaluation: metrics, classical anchors, results in JSON, BD-rates and figures, all from decoded files."""
