from synthbridge.prompts.templates import TEMPLATES, template_prompts


def test_every_template_ends_on_its_class():
    """So that a superclass can follow it: `a photo of a cat, a type of pet`."""
    assert all(template.endswith(" {}") for template in TEMPLATES)


def test_a_class_is_filled_into_each_as_it_stands():
    prompts = template_prompts("{0} cat")
    assert len(set(prompts)) == len(TEMPLATES)
    assert all(prompt.endswith(" {0} cat") for prompt in prompts)
