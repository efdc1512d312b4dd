"""Words for prompts: lists that ship, own files, senses of names, a language model's lines."""
