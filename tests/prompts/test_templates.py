from synthbridge.prompts.templates import TEMPLATES, template_prompts


def test_every_template_ends_on_its_class_and_a_full_stop():
    """So that a superclass can follow it: `a photo of a cat, a type of pet.`."""
    assert all(template.endswith(" {}.") for template in TEMPLATES)


def test_the_templates_are_those_of_appendix_b_in_its_order():
    assert len(TEMPLATES) == 27
    assert TEMPLATES[0] == "a photo of a {}."
    assert TEMPLATES[4:7] == (
        "a photo of a clean {}.",
        "a photo of a dirty {}.",
        "a dark photo of the {}.",
    )
    assert TEMPLATES[16] == "a rendition of the {}."
    assert TEMPLATES[-2:] == ("a photo of a cool {}.", "a photo of a small {}.")


def test_a_class_is_filled_into_each_as_it_stands():
    prompts = template_prompts("{0} cat")
    assert len(set(prompts)) == len(TEMPLATES)
    assert all(prompt.endswith(" {0} cat.") for prompt in prompts)
