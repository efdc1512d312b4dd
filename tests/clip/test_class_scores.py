import numpy as np

from synthbridge.clip.class_scores import class_vectors


class Texts:
    """Embeds a text as the unit vector of its first letter."""

    def embed_texts(self, texts):
        return np.stack([np.eye(26)[ord(text[0]) - 97] for text in texts])


def test_a_class_is_the_mean_of_its_templates():
    vectors = class_vectors(Texts(), ["a", "b"], ["{} x", "c {}"])
    assert vectors.shape == (2, 26)
    np.testing.assert_allclose(vectors[0, [0, 2]], 0.5**0.5)
    np.testing.assert_allclose(vectors[1, [1, 2]], 0.5**0.5)
