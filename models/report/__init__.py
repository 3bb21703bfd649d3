"""The report: one page with everything that was measured."""
