"""The B+tree: its invariants and its content, against a sorted dictionary."""

import copy
import random

import pytest
from sortedcontainers import SortedDict

from kvlearn.mvcc.bptree import BPlusTree


def check_invariants(tree):
    """Everything that the class promises of its pages."""
    levels = tree.pages()
    least = tree.order // 2
    numbers = [page.number for level in levels for page in level]
    assert len(set(numbers)) == len(numbers)
    for level in levels:
        for page in level:
            assert page.is_leaf == (level is levels[-1]), "all leaves are at the same depth"
            assert page.keys == sorted(set(page.keys))
            assert len(page.keys) <= tree.order
            assert page is tree.root or len(page.keys) >= least
            if page.is_leaf:
                assert len(page.values) == len(page.keys)
            else:
                assert len(page.children) == len(page.keys) + 1
    check_signposts(tree.root, None, None, tree.order)
    leaves = levels[-1]
    following = [*leaves[1:], None]
    assert all(leaf.next is after for leaf, after in zip(leaves, following, strict=True))
    assert len(tree) == sum(len(leaf.keys) for leaf in leaves)


def check_signposts(page, low, high, order):
    for key in [*page.keys, *page.gone]:
        assert (low is None or low <= key) and (high is None or key < high)
    assert not set(page.keys) & set(page.gone) and len(page.gone) <= order
    if not page.is_leaf:
        bounds = [low, *page.keys, high]
        for child, lower, upper in zip(page.children, bounds[:-1], bounds[1:], strict=True):
            check_signposts(child, lower, upper, order)


@pytest.mark.parametrize("order", [3, 4, 5, 6, 7, 16])
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_agree_with_a_sorted_dictionary(order, seed):
    rng = random.Random(f"{order} {seed}")
    tree, model = BPlusTree(order), SortedDict()
    space = rng.choice([10, 60, 400])
    for phase in range(4):
        growing = phase % 2 == 0
        for _ in range(rng.randrange(120)):
            key = rng.randrange(space)
            if rng.random() < 0.1:
                key = max(model, default=0) + 1  # as revisions come
            if rng.random() < (0.8 if growing else 0.2):
                assert tree.put(key, f"{key}!") == model.get(key)
                model[key] = f"{key}!"
            else:
                assert tree.delete(key) == model.pop(key, None)
            probe = rng.randrange(space)
            assert tree.get(probe) == model.get(probe)
        check_invariants(tree)
        start, end = rng.randrange(space), rng.randrange(space)
        inside = [(k, v) for k, v in model.items() if start <= k < end]
        assert list(tree.range(start, end)) == inside
        assert list(tree.range(start)) == [(k, v) for k, v in model.items() if start <= k]
        assert list(tree.range(None, end)) == [(k, v) for k, v in model.items() if k < end]
        assert list(tree.range()) == list(model.items())
    for key in list(model):
        tree.delete(key)
    assert [len(level) for level in tree.pages()] == [1]
    assert tree.root.is_leaf and len(tree) == 0


def test_a_value_is_replaced_in_place():
    tree = BPlusTree(order=3)
    for key in range(10):
        tree.put(key, "old")
    pages = [page.number for level in tree.pages() for page in level]
    assert tree.put(4, "new") == "old"
    assert tree.get(4) == "new"
    assert [page.number for level in tree.pages() for page in level] == pages
    assert len(tree) == 10


def test_the_root_splits_and_is_given_up_again():
    tree = BPlusTree(order=3)
    heights = []
    for key in range(12):
        tree.put(key, key)
        heights.append(len(tree.pages()))
    assert heights == [1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3]
    for key in range(12):
        tree.delete(key)
        heights.append(len(tree.pages()))
        check_invariants(tree)
    assert heights[-1] == 1


def test_a_copy_has_pages_of_its_own():
    tree = BPlusTree(order=3)
    for key in range(20):
        tree.put(key, str(key))
    before = str(tree)
    twin = copy.deepcopy(tree)
    assert str(twin) == before
    assert [p.number for level in twin.pages() for p in level] == [
        p.number for level in tree.pages() for p in level
    ]
    check_invariants(twin)
    for key in (20, 21, 3, 5):
        twin.put(key, "twin")
    twin.delete(7)
    check_invariants(twin)
    assert sum(holes(twin), []) == [7] and sum(holes(tree), []) == []
    again = copy.deepcopy(twin)
    again.delete(8)
    again.delete(9)
    assert sum(holes(twin), []) == [7]
    assert str(tree) == before and tree.get(3) == "3" and tree.get(20) is None
    tree.put(20, "tree")
    assert twin.get(20) == "twin"


def test_an_order_below_three_is_refused():
    with pytest.raises(AssertionError, match="fewer than three"):
        BPlusTree(order=2)


# Holes -------------------------------------------------------------------------------------------


def holes(tree):
    return [list(page.gone) for page in tree.pages()[-1]]


def test_a_leaf_keeps_its_holes_until_something_is_put_into_it():
    tree = BPlusTree(order=5)
    for key in range(10):
        tree.put(key, key)
    assert str(tree).splitlines()[-1] == "0 1 2 | 3 4 5 | 6 7 8 9"
    for key in (8, 0, 9):
        tree.delete(key)
    tree.delete(0)  # it is not there any more: no second hole
    assert holes(tree) == [[0], [], [8, 9]]
    tree.put(5, "replaced")  # another leaf
    assert holes(tree) == [[0], [], [8, 9]]
    tree.put(10, "appended")
    assert holes(tree) == [[0], [], []]
    tree.put(1, "replaced")
    assert holes(tree) == [[], [], []]


def test_pages_that_merge_put_their_holes_together_and_a_page_that_is_split_divides_them():
    tree = BPlusTree(order=4)
    for key in range(7):
        tree.put(key, key)
    assert str(tree).splitlines()[-1] == "0 1 2 | 3 4 5 6"
    tree.delete(0)
    tree.delete(1)  # 2 | 3 4 5 6 become one page of five, which is divided anew
    assert str(tree).splitlines()[-1] == "2 3 4 | 5 6"
    assert holes(tree) == [[0, 1], []]
    tree.delete(6)
    assert str(tree) == "2 3 4 5"
    assert holes(tree) == [[0, 1, 6]]
    tree.delete(4)
    tree.delete(2)
    assert holes(tree) == [[1, 6, 4, 2]], "no more holes than a page has cells"


def test_a_hole_goes_with_the_half_that_it_lies_in():
    tree = BPlusTree(order=4)
    for key in (0, 10, 20, 30, 40, 25):
        tree.put(key, key)
    assert str(tree).splitlines()[-1] == "0 10 20 25 | 30 40"
    tree.delete(40)  # the two become one page of five, which is divided anew
    assert str(tree).splitlines()[-1] == "0 10 20 | 25 30"
    assert holes(tree) == [[], [40]]


# Packing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [3, 4, 5, 8])
@pytest.mark.parametrize("size", [*range(14), 27, 63, 64, 65, 100, 257])
def test_a_packed_tree_holds_the_same_in_as_few_pages_as_can_be(order, size):
    tree = BPlusTree(order)
    for key in range(2 * size):
        tree.put(key, str(key))
    for key in range(0, 2 * size, 2):
        tree.delete(key)
    packed = tree.packed()
    check_invariants(packed)
    assert list(packed.range()) == list(tree.range()) and len(packed) == size
    assert holes(packed) == [[]] * max(1, -(-size // order))
    for key in (2 * size, 2 * size + 1, 4, 0):  # it goes on as any tree does
        packed.put(key, "new")
        check_invariants(packed)
    for key, _ in list(packed.range()):
        packed.delete(key)
        check_invariants(packed)
