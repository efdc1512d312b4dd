import pytest

from synthbridge.sources.names import class_names, order_keys, readable_name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("house_sparrow", "house sparrow"),
        ("AmericanCrow", "American Crow"),
        ("McLaren F1", "McLaren F1"),
        ("BMW_X5", "BMW X5"),
        ("T-shirt", "T-shirt"),
        ("n02085620", "n02085620"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02086240-Shih-Tzu", "Shih-Tzu"),
        ("3-wheeler", "3-wheeler"),
        ("747-400", "747-400"),
        (" a__b ", "a b"),
        ("ca\u0301n", "c\u00e1n"),
    ],
)
def test_a_key_becomes_words(key, name):
    assert readable_name(key, numbered=False) == name


def test_numbers_go_only_where_every_class_has_one(tmp_path):
    numbered = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    assert class_names(numbered, tmp_path) == ("Black footed Albatross", "Laysan Albatross")
    assert class_names(["7_up", "cola"], tmp_path) == ("7 up", "cola")
    assert class_names(["12.Rook", "07.Crow"], tmp_path) == ("Rook", "Crow")  # a part of a list
    assert class_names(["1-rook", "2-crow", "3_jay"], tmp_path) == ("rook", "crow", "jay")


@pytest.mark.parametrize(
    "keys",
    [
        ("0-2 years", "3-5 years"),
        ("0.25 mm", "0.5 mm"),
        ("1 cent", "2 cent", "5 cent"),
        ("1 cent", "2 euro"),
        ("1-year-old", "2-year-old"),
        ("10-K", "8-K"),
        ("1-ply", "3-ply paper"),
        ("01 a", "01 b"),
    ],
)
def test_numbers_that_do_not_count_the_classes_stay(tmp_path, keys):
    assert class_names(keys, tmp_path) == keys


def test_the_order_is_natural_and_depends_on_the_keys_alone():
    keys = ["class10", "b", "class2", "A", "class02", "1", "a"]
    expected = ("1", "A", "a", "b", "class02", "class2", "class10")
    assert order_keys(keys) == order_keys([*reversed(keys), "a"]) == expected


def _names_yaml(folder, text):
    (folder / "names.yaml").write_text(text)
    return folder


def test_names_yaml_overrides_and_the_super_class_is_added(tmp_path):
    keys = ["n02085620", "pug_dog"]
    raw = _names_yaml(tmp_path, "n02085620: Chihuahua\n")
    assert class_names(keys, raw) == ("Chihuahua", "pug dog")
    raw = _names_yaml(tmp_path, "n02085620: Chihuahua\nsuperclass: breed\n")
    assert class_names(keys, raw) == ("Chihuahua breed", "pug dog breed")
    raw = _names_yaml(tmp_path, "superclass: a {} on a lawn\nn02085620: Chihuahua\n")
    assert class_names(keys, raw) == ("a Chihuahua on a lawn", "a pug dog on a lawn")


def test_keys_of_names_yaml_are_read_as_they_stand(tmp_path):
    raw = _names_yaml(tmp_path, "0: zero\n1: one\nnull: nothing\nyes: consent\n1.50: price\n")
    keys = ["0", "1", "null", "yes", "1.50"]
    assert class_names(keys, raw) == ("zero", "one", "nothing", "consent", "price")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_names_yaml_names_nothing(tmp_path, text):
    assert class_names(["cat", "dog"], _names_yaml(tmp_path, text)) == ("cat", "dog")


def test_another_ending_of_names_yaml_is_told(tmp_path):
    (tmp_path / "names.yml").write_text("cat: Cat\n")
    with pytest.raises(ValueError, match=r"names\.yml is not read; call it names\.yaml"):
        class_names(["cat", "dog"], tmp_path)


def test_classes_without_a_name_are_said(tmp_path, capsys):
    class_names(["n02085620", "n02085621", "pug"], tmp_path)
    assert "2 classes have no name but a number ('n02085620')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cat: x\ncat: y\n", "is not valid YAML: .*duplicate key"),
        ("kat: Cat\n", "'kat' is no class; the classes are cat, dog"),
        ("1: Cat\n", "'1' is no class; the classes are cat, dog"),
        ("cat:\n", "'cat' has no name; write 'cat: NAME' or remove the line"),
        ("cat: ''\n", "'cat' has no name; write 'cat: NAME'"),
        ("cat: [a]\n", "'cat' has no name"),
        ("- cat\n", "holds no names; write a line 'folder: name' for each class"),
        ("superclass: '{x} {}'\n", "superclass is '{x} {}'; write a word"),
        ("superclass: '{} {}'\n", "superclass is '{} {}'; write a word"),
        ("cat: Dog\n", "classes 'cat' and 'dog' have the same name 'dog'; rename one of them in"),
    ],
)
def test_a_wrong_names_yaml_is_a_sentence(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        class_names(["cat", "dog"], _names_yaml(tmp_path, text))


def test_two_folders_with_one_readable_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="classes 'red_fox' and 'red fox' have the same name"):
        class_names(["red_fox", "red fox"], tmp_path)
    with pytest.raises(ValueError, match="classes 'Cat' and 'cat' have the same name"):
        class_names(["Cat", "cat"], tmp_path)
