"""Statistics, LEEP, plots and the report: knows numbers only."""
