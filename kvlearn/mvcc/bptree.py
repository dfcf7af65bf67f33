"""A B+tree whose pages can be looked at: the grey tree, in memory.

Everything lives in *pages*. Leaves hold the pairs, in order, and each leaf knows the next one;
branches hold only signposts: separator `k` stands between a left child, whose keys are all below
`k`, and a right child, whose keys are `k` and above. A page that overflows is split in two and its
parent gets one more signpost; if the root overflows, the tree grows a new root. So all leaves stay
at the same depth, and a page stays between half full and full:

>>> tree = BPlusTree(order=3)
>>> for number in (10, 20, 30, 40, 50, 60, 70):
...     tree.put(number, str(number))
>>> print(tree)
30 50
10 20 | 30 40 | 50 60 70
>>> for number in (80, 90):
...     tree.put(number, str(number))
>>> print(tree)
30 50 70
10 20 | 30 40 | 50 60 | 70 80 90

Deleting goes the other way: a page that is less than half full is merged with a neighbour, and if
the two are too much for one page, they are divided anew.

>>> for number in (60, 50):
...     gone = tree.delete(number)
>>> print(tree)
30 70
10 20 | 30 40 | 70 80 90
>>> list(tree.range(20, 80))
[(20, '20'), (30, '30'), (40, '40'), (70, '70')]
>>> tree.pages()[-1][1].gone  # the leaf remembers its holes until something is put into it
[60, 50]

Source: Comer, The Ubiquitous B-Tree (1979); bbolt node.go. Differs: bbolt copies a page before it
changes it, links no leaves, and merges a page only when it is less than a quarter full.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any


class Page:
    """A leaf (`values`, `next`) or a branch (`children`); the other fields are None.

    `number` is the page's own for as long as it lives. `gone` are the holes of a leaf: keys that
    were deleted since something was last put into it, in that order, the newest `order` of them.
    Invariant of a branch: it has one child more than it has keys.
    """

    __slots__ = ("number", "keys", "values", "children", "next", "gone")

    def __init__(self, number: int, keys: list, values: list | None, children: list | None):
        self.number = number
        self.keys = keys
        self.values = values
        self.children = children
        self.next: Page | None = None
        self.gone: Sequence = ()

    @property
    def is_leaf(self) -> bool:
        """Whether the page holds values, and no children."""
        return self.children is None

    def __repr__(self) -> str:
        kind = "leaf" if self.is_leaf else "branch"
        return f"<{kind} page {self.number}: {' '.join(map(str, self.keys))}>"


class BPlusTree:
    """A sorted map; keys of one comparable kind, values anything but None.

    `order` is the most keys that a page holds (at least 3). Invariants: all leaves are at the same
    depth; every page but the root holds at least `order // 2` keys; the linked leaves hold all
    keys in rising order, each between the signposts above it.
    """

    def __init__(self, order: int = 64):
        assert order >= 3, "a page of fewer than three keys cannot be split into two useful ones"
        self.order = order
        self._pages_made = 0
        self.root = self._last = self._new_page([], values=[])
        self._size = 0

    def __len__(self) -> int:
        return self._size

    # Reading --------------------------------------------------------------------------------

    def get(self, key: Any) -> Any:
        """The value of `key`, or None."""
        page = self._leaf(key)
        place = bisect_left(page.keys, key)
        if place < len(page.keys) and page.keys[place] == key:
            return page.values[place]
        return None

    def range(self, start: Any = None, end: Any = None) -> Iterator[tuple[Any, Any]]:
        """The pairs with start <= key < end, in order; None: no bound. Do not write meanwhile."""
        page: Page | None = self.root
        while page.children is not None:
            page = page.children[0 if start is None else bisect_right(page.keys, start)]
        place = 0 if start is None else bisect_left(page.keys, start)
        while page is not None:
            stop = len(page.keys) if end is None else bisect_left(page.keys, end, place)
            yield from zip(page.keys[place:stop], page.values[place:stop], strict=True)
            if stop < len(page.keys):
                return
            page, place = page.next, 0

    def pages(self) -> list[list[Page]]:
        """All pages, level by level from the root, left to right: what a picture draws; the last
        level are the leaves, with their holes (`Page.gone`)."""
        levels = [[self.root]]
        while levels[-1][0].children is not None:
            levels.append([child for page in levels[-1] for child in page.children])
        return levels

    def __str__(self) -> str:
        return "\n".join(
            " | ".join(" ".join(map(str, page.keys)) for page in level) for level in self.pages()
        )

    # Writing --------------------------------------------------------------------------------

    def put(self, key: Any, value: Any) -> Any:
        """Set the value of `key`; returns the old value, or None."""
        last = self._last
        keys = last.keys
        # Revisions only grow, so nearly every put belongs behind everything that is there.
        if keys and key > keys[-1] and len(keys) < self.order:
            keys.append(key)
            last.values.append(value)
            if last.gone:
                last.gone = ()
            self._size += 1
            return None
        path, page = self._path(key)
        page.gone = ()
        place = bisect_left(page.keys, key)
        if place < len(page.keys) and page.keys[place] == key:
            old, page.values[place] = page.values[place], value
            return old
        page.keys.insert(place, key)
        page.values.insert(place, value)
        self._size += 1
        self._split_up(path, page)
        return None

    def delete(self, key: Any) -> Any:
        """Take `key` out; returns its value, or None if it was not there."""
        page = self._leaf(key)
        place = bisect_left(page.keys, key)
        if place == len(page.keys) or page.keys[place] != key:
            return None
        page.gone = page.gone or []
        page.gone.append(page.keys.pop(place))
        del page.gone[: -self.order]
        value = page.values.pop(place)
        self._size -= 1
        if len(page.keys) < self.order // 2:
            self._mend_up(*self._path(key))
        return value

    def _leaf(self, key: Any) -> Page:
        """The leaf for `key`."""
        page = self.root
        while page.children is not None:
            page = page.children[bisect_right(page.keys, key)]
        return page

    def _path(self, key: Any) -> tuple[list[tuple[Page, int]], Page]:
        """The leaf for `key`, and the way to it: (branch, which child) from the root down."""
        path = []
        page = self.root
        while page.children is not None:
            place = bisect_right(page.keys, key)
            path.append((page, place))
            page = page.children[place]
        return path, page

    def _split_up(self, path: list[tuple[Page, int]], page: Page) -> None:
        """Split `page` if it overflows, and then its parent, and so on."""
        while len(page.keys) > self.order:
            if not path:
                self.root = self._new_page([], children=[page])
                path = [(self.root, 0)]
            parent, place = path.pop()
            self._split(parent, place)
            page = parent

    def _split(self, parent: Page, place: int) -> None:
        """Move the upper half of a child to a new page on its right."""
        page = parent.children[place]
        half = (len(page.keys) + 1) // 2
        if page.is_leaf:
            right = self._new_page(page.keys[half:], values=page.values[half:])
            separator = right.keys[0]  # the leaf keeps its key: the branch has a copy
            right.gone = [key for key in page.gone if key >= separator]
            page.gone = [key for key in page.gone if key < separator]
            page.keys, page.values = page.keys[:half], page.values[:half]
            right.next, page.next = page.next, right
            if self._last is page:
                self._last = right
        else:
            right = self._new_page(page.keys[half:], children=page.children[half:])
            separator = page.keys[half - 1]  # a branch's key moves up: signposts have no copies
            del page.keys[half - 1 :], page.children[half:]
        parent.keys.insert(place, separator)
        parent.children.insert(place + 1, right)

    def _mend_up(self, path: list[tuple[Page, int]], page: Page) -> None:
        """Merge `page` with a neighbour if it is not half full; then its parent, and so on."""
        while path and len(page.keys) < self.order // 2:
            parent, place = path.pop()
            place = max(place - 1, 0)
            self._merge(parent, place)
            if len(parent.children[place].keys) > self.order:
                self._split(parent, place)  # too much for one page: now both have their half
            page = parent
        if not self.root.is_leaf and not self.root.keys:
            self.root = self.root.children[0]

    def _merge(self, parent: Page, place: int) -> None:
        """Empty the child right of separator `place` into the child left of it."""
        left, right = parent.children[place], parent.children[place + 1]
        if left.is_leaf:
            left.keys += right.keys
            left.values += right.values
            left.next = right.next
            left.gone = [*left.gone, *right.gone][-self.order :]
            if self._last is right:
                self._last = left
        else:
            left.keys += [parent.keys[place], *right.keys]
            left.children += right.children
        del parent.keys[place], parent.children[place + 1]

    # Pages ----------------------------------------------------------------------------------

    def packed(self) -> BPlusTree:
        """The same pairs in as few pages as can hold them, without holes.

        The last page of a level may be too small for the tree's rules: it shares evenly with the
        one before it.
        """
        twin, pairs = BPlusTree(self.order), list(self.range())
        leaves = [twin._new_page(*map(list, zip(*part))) for part in _parts(pairs, self.order)]
        if not leaves:
            return twin
        for page, following in zip(leaves, leaves[1:]):
            page.next = following
        twin._last, twin._size = leaves[-1], len(pairs)
        level = [(page.keys[0], page) for page in leaves]  # the least key below each page
        while len(level) > 1:
            level = [
                (
                    part[0][0],
                    twin._new_page([k for k, _ in part[1:]], children=[p for _, p in part]),
                )
                for part in _parts(level, self.order + 1)
            ]
        twin.root = level[0][1]
        return twin

    def _new_page(
        self, keys: list, values: list | None = None, children: list | None = None
    ) -> Page:
        self._pages_made += 1
        return Page(self._pages_made, keys, values, children)

    def __deepcopy__(self, memo: dict) -> BPlusTree:
        """A tree of its own pages, with the same numbers, that shares keys and values."""
        twin = BPlusTree(self.order)
        twin._pages_made, twin._size = self._pages_made, self._size
        twin.root, twin._last = _copy(self.root, None)
        return twin


def _copy(page: Page, last: Page | None) -> tuple[Page, Page]:
    """A copy of the pages from `page` down, and its last leaf; `last` is the leaf before them."""
    if page.is_leaf:
        leaf = Page(page.number, list(page.keys), list(page.values), None)
        leaf.gone = list(page.gone)
        if last is not None:
            last.next = leaf
        return leaf, leaf
    branch = Page(page.number, list(page.keys), None, [])
    for child in page.children:
        twin, last = _copy(child, last)
        branch.children.append(twin)
    return branch, last


def _parts(items: list, most: int) -> list[list]:
    """`items` in parts of `most`; a last part that is not half full shares with its neighbour."""
    parts = [items[at : at + most] for at in range(0, len(items), most)]
    if len(parts) > 1 and len(parts[-1]) < (most + 1) // 2:
        both = parts[-2] + parts[-1]
        parts[-2:] = both[: len(both) // 2], both[len(both) // 2 :]
    return parts
