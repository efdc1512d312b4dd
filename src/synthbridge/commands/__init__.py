"""What a person types beside dvc: `python src COMMAND`."""
