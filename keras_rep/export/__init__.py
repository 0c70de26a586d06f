"""Export of deployed models to files for other runtimes."""
