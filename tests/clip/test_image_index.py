import faiss
import numpy as np
import pytest

from synthbridge.clip.image_index import (
    build_index,
    check_index,
    find_nearest,
    read_index,
    stored_vectors,
    write_index,
)


def _unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    """As a pool's are: many images of some 40 things."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 16))
    return _unit(centres[rng.integers(40, size=4000)] + 0.4 * rng.standard_normal((4000, 16)))


@pytest.fixture(scope="module")
def queries(vectors):
    rng = np.random.default_rng(1)
    return _unit(vectors[:50] + 0.1 * rng.standard_normal((50, 16)))


def test_a_small_pool_is_searched_exactly(vectors, queries):
    index = build_index(vectors)
    assert isinstance(index, faiss.IndexFlatIP)
    for query in queries[:5]:
        exact = np.argsort(-(vectors @ query), kind="stable")[:10]
        assert set(find_nearest(index, ["q"], query[None], 10)) == set(exact.tolist())


def test_a_large_pool_is_searched_nearly_as_well_with_an_eighth_of_the_work(vectors, queries):
    exact, cells = build_index(vectors), build_index(vectors, exact_up_to=3999)
    faiss.cvar.indexIVF_stats.reset()
    recall = [
        len(found.keys() & find_nearest(exact, ["q"], query[None], 10).keys()) / 10
        for query in queries
        for found in [find_nearest(cells, ["q"], query[None], 10)]
    ]
    assert np.mean(recall) > 0.95
    visited = faiss.cvar.indexIVF_stats.ndis / len(queries)
    assert 0 < visited < len(vectors) / 7  # an eighth of the cells, which differ in size


@pytest.mark.parametrize("exact_up_to", [4000, 3999])
def test_an_index_keeps_its_vectors(vectors, queries, exact_up_to, tmp_path):
    index = build_index(vectors, exact_up_to=exact_up_to)
    write_index(tmp_path, index, clip="c" * 64, pool="p" * 64)
    check_index(tmp_path, clip="c" * 64, pool="p" * 64)
    again = read_index(tmp_path)
    np.testing.assert_array_equal(stored_vectors(again, [3999, 0, 7]), vectors[[3999, 0, 7]])
    assert find_nearest(again, ["q"], queries[:1], 20) == find_nearest(
        index, ["q"], queries[:1], 20
    )
    assert stored_vectors(again, []).shape == (0, 16)


def test_an_image_is_found_by_the_text_nearest_to_it():
    index = build_index(np.eye(3, dtype=np.float32))
    texts = _unit(np.array([[1, 0.5, 0], [0.2, 1, 0]]))
    assert find_nearest(index, ["a", "b"], texts, 2) == {0: "a", 1: "b"}
    assert find_nearest(index, ["a", "b"], texts, 99) == {0: "a", 1: "b", 2: "a"}


@pytest.mark.parametrize(
    ("clip", "pool", "sentence"),
    [
        ("d" * 64, "p" * 64, "of another CLIP (cccccccccccc) than the one at hand (dddddddddddd)"),
        ("c" * 64, "q" * 64, "of another pool (pppppppppppp) than the one at hand (qqqqqqqqqqqq)"),
    ],
)
def test_an_index_of_another_clip_or_pool_is_refused(tmp_path, clip, pool, sentence):
    write_index(tmp_path, build_index(np.eye(3, dtype=np.float32)), clip="c" * 64, pool="p" * 64)
    with pytest.raises(ValueError) as error:
        check_index(tmp_path, clip=clip, pool=pool)
    assert sentence in str(error.value) and "set index to null" in str(error.value)


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no image index \(index.faiss, index.json\); set i"
    ):
        check_index(tmp_path, clip="", pool="")
