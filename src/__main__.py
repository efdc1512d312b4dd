"""`python src STAGE`, as dvc.yaml says it: the package's entry, without installing the package."""

from synthbridge.__main__ import run

if __name__ == "__main__":
    run()
