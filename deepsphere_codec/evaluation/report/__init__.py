"""The comparison as one HTML file that needs nothing else, and its figures as SVG and PNG."""
