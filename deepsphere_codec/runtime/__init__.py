"""Worker processes, atomic outputs, progress, and settings of threads and memory."""
