"""Evaluation: the papers' test protocols, their metrics, and the record of a run."""
