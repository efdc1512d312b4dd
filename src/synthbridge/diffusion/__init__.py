"""Style token, prompts, inversion and sampling: knows diffusers and transformers."""
