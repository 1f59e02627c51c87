"""Measuring: metrics, classical anchors, results in JSON, BD-rates and figures. All from decoded files."""
