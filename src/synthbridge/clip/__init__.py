"""CLIP: knows transformers' CLIP and pools of captioned images, no generator and no classifier."""
