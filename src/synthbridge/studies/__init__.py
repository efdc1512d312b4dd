"""Studies: the papers' figures and tables by name, from definitions to experiments to drawings."""
