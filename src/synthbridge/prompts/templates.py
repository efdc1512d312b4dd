"""The 27 templates around a class's name, which need no model and no real image."""

# The 27 templates of Bridged, appendix B, in its order, full stops included; one is drawn at random
# per image. CLIP's own templates end in a full stop, too (arXiv:2103.00020, section 3.1.4), so the
# classes' texts that CLIP scores images by are these as well.
TEMPLATES = (
    "a photo of a {}.",
    "a rendering of a {}.",
    "a cropped photo of the {}.",
    "the photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
    "a close-up photo of the {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a good photo of a {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "a photo of the large {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
)


def template_prompts(class_name: str) -> list[str]:
    """Fill all 27 templates, in their order; a class may bring its own `, a type of pet`."""
    return [template.format(class_name) for template in TEMPLATES]
