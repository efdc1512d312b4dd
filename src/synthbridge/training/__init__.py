"""Classifier, arms, loop and checkpoints: knows timm."""
