"""The report: figures, sample rows and a graph picture of a root, in one HTML file that needs nothing else."""
