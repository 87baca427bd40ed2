"""Evaluation: is the attribution true? Retraining without what a method names, rank metrics, and other methods to compare."""
