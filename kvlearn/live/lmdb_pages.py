"""The pages of an LMDB file, read byte by byte: the grey tree as it lies on the disk.

The file is an array of pages of one size; a page is named by its place. Two of them are *meta*
pages: they hold the roots of two trees, and a commit writes the one that is older. Which is why a
torn commit does no harm: the other meta page still leads to the tree that was there before.

```
    0  meta     transaction 6: free list 9, main 8         the older
    1  meta     transaction 7: free list 3, main 5         counts
    3  leaf     free list   7 -> 2 4 8 9                   which pages may be written again
    5  leaf     main        facts -> 6   records -> 7      a named tree is a value of the main one
    6  leaf     facts       applied=12 …
    7  branch   records     -> 10 11
   10  leaf     records     2.0 2.1 3.0 …
    …
```

A page that a transaction changes is written anew at another place, and its parent, and so on up to
the root; the old ones go to the free list. *Branch* pages hold keys and children, *leaf* pages
keys and values; a value that is too large for a leaf lies in a run of *overflow* pages.

    header          number (8 bytes) … flags (2)   lower (2) and upper (2), or the run's length (4)
    lower           where the pointers end, 2 bytes each, in the order of the keys
    …               room
    upper           where the nodes begin: size or child, flags, key's size (8 in all), key, value

Two formats are in use: 1 (LMDB 0.9) and 3 (LMDB 1.0: a header longer by the transaction that wrote
the page). Whoever reads here takes no lock: nobody may commit meanwhile.

Source: liblmdb mdb.c (MDB_page, MDB_node, MDB_db, MDB_meta). Differs: files of 64-bit little-endian
machines only, and no sorted duplicates.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kvlearn.errors import StorageError

DATA_FILE = "data.mdb"
FREE_LIST, MAIN = "free list", "main"  # the two trees that every file has

_MAGIC = 0xBEEFC0DE
_NO_PAGE = (1 << 64) - 1  # the root of an empty tree
_HEADER = {1: 16, 3: 24}  # format -> bytes of a page's header
_BRANCH, _LEAF, _OVERFLOW, _META, _DIRTY = 1, 2, 4, 8, 16
_KINDS = {_BRANCH: "branch", _LEAF: "leaf", _OVERFLOW: "overflow", _META: "meta"}
_BIG, _TREE, _DUPLICATES = 1, 2, 4  # a node's flags: its value lies elsewhere, is a tree, is many
_INTEGER_KEYS = 8  # a tree's flag: the free list has it
_ROOTS = struct.Struct("<IHHQQQQQ")  # MDB_db: pad, flags, depth, branches, leaves, …, root
_NODE = struct.Struct("<HHHH")


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a page. `page`: the child, the root of a named tree, or where a large value
    begins; `value_bytes` is 0 in a branch. The first key of a branch is empty: it stands for all
    that is below the second."""

    key: bytes
    value: bytes = b""  # empty in a branch, and when it lies in overflow pages
    value_bytes: int = 0
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `kind`: meta, branch, leaf, overflow, or free; `tree`: the one it belongs to.

    Each page of a large value is an overflow page; only the first has a header. A meta page leads
    to the roots of two trees; the one with the greater `transaction` counts.
    """

    number: int
    kind: str
    tree: str = ""
    cells: tuple[Cell, ...] = ()
    bytes_used: int = 0  # header, pointers, keys and values
    flags: int = 0  # as they stand in the header
    transaction: int = 0  # of a meta page: the commit that wrote it

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of its cells."""
        return tuple(cell.key for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as its record in the file tells of it; `depth` 0 and `root` None when it is empty."""

    name: str
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int | None


def pages(path: str | Path) -> list[Page]:
    """Every page of the file (or of the `data.mdb` in a folder), in the order of their numbers.

    Raises: StorageError when it is damaged, or no LMDB file.
    """
    with _opened(path) as file:
        return file.pages()


def trees(path: str | Path) -> dict[str, Tree]:
    """The trees by name: the free list, the main one, and the named ones. Raises: StorageError."""
    with _opened(path) as file:
        return file.trees


def levels(path: str | Path, name: str) -> list[list[Page]]:
    """The branch and leaf pages of one tree, level by level from the root, left to right.

    Raises: StorageError, KeyError (no such tree).
    """
    with _opened(path) as file:
        known, root = file.pages(), file.trees[name].root
    found = [] if root is None else [[known[root]]]
    while found and found[-1][0].kind == "branch":
        found.append([known[cell.page] for page in found[-1] for cell in page.cells])
    return found


def check(path: str | Path) -> None:
    """Follow every pointer once. To the processor a map is memory: a damaged pointer in it would
    not raise an error but end the process. Raises: StorageError.
    """
    with _opened(path):
        pass


@contextmanager
def _opened(path: str | Path) -> Iterator[_File]:
    path = Path(path)
    path = path / DATA_FILE if path.is_dir() else path
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise _Damage("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield _File(data)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from None
    except (struct.error, _Damage) as damage:
        why = str(damage) if isinstance(damage, _Damage) else "a page points behind the end"
        raise StorageError(f"{path}: {why}") from None


class _Damage(Exception):
    """What is wrong with the file."""


class _File:
    """The newest commit of a file. Invariant: `reached` has each page of each tree once."""

    def __init__(self, data: bytes | mmap.mmap):
        self.data = data
        self._read_meta()
        self.reached: dict[int, tuple[str, str]] = {}  # number -> kind, tree
        self.trees: dict[str, Tree] = {}
        self.free: set[int] = set()
        at = self.header + 24 + self._newest * self.page_bytes
        self._read_tree(FREE_LIST, at)
        self._read_tree(MAIN, at + _ROOTS.size)
        if both := self.free & self.reached.keys():
            raise _Damage(f"page {min(both)} is in use and on the free list")

    def _read_meta(self) -> None:
        """Which format, how large a page is, and which of the two meta pages counts."""
        formats = [
            form
            for form, header in _HEADER.items()
            if self.data[header : header + 8] == struct.pack("<II", _MAGIC, form)
        ]
        if not formats:
            raise _Damage("this is no LMDB file (or one of another kind of machine)")
        self.header = _HEADER[formats[0]]
        # Format 3 counts a page's places from the end of its header, and keys are padded there.
        self.base = 0 if formats[0] == 1 else self.header
        (self.page_bytes,) = struct.unpack_from("<I", self.data, self.header + 24)
        size = self.page_bytes
        if not 256 <= size <= 1 << 16 or size & (size - 1):
            raise _Damage(f"its first page says that pages have {size} bytes")
        self._metas = []  # (last page, transaction) of each
        for number in (0, 1):
            at = number * size
            if at + size > len(self.data):
                raise _Damage("it was cut off: there are two meta pages in every file")
            if (
                self.data[at + self.header : at + self.header + 4]
                != self.data[self.header : self.header + 4]
            ):
                raise _Damage(f"meta page {number} is overwritten")
            after = at + self.header + 24 + 2 * _ROOTS.size
            self._metas.append(struct.unpack_from("<QQ", self.data, after))
        self._newest = 1 if self._metas[1][1] > self._metas[0][1] else 0
        self.last_page = self._metas[self._newest][0]
        if self.last_page < 1:
            raise _Damage("its meta page says that it has no pages")

    # Walking --------------------------------------------------------------------------------

    def _read_tree(self, name: str, at: int) -> None:
        """Walk a tree from its record at byte `at`, and the trees that are its values."""
        _, flags, depth, branches, leaves, overflows, entries, root = _ROOTS.unpack_from(
            self.data, at
        )
        if flags & ~_INTEGER_KEYS:
            raise _Damage(f"{name} is no plain tree (flags {flags}), or the file is damaged")
        root = None if root == _NO_PAGE else root
        self.trees[name] = Tree(name, depth, branches, leaves, overflows, entries, root)
        inside = []
        waiting = [] if root is None else [(root, 1)]
        while waiting:
            number, level = waiting.pop()
            self._reach(number, name)
            if self.reached[number][0] == "branch":
                waiting += [(cell[-1], level + 1) for cell in self._nodes(number, name)]
                continue
            if level != depth:
                raise _Damage(f"leaf {number} lies {level} deep, not {depth}")
            for key, place, size, flags, page in self._nodes(number, name):
                if flags & _BIG:
                    self._reach_run(page, size, name)
                if name == FREE_LIST:
                    self._read_free(self._value(place, size, page))
                elif flags & _TREE:
                    own = self.data[key].rstrip(b"\0")  # format 3 ends a name with a zero
                    inside.append((own.decode("utf-8", "backslashreplace"), place))
        for inner, place in inside:
            self._read_tree(inner, place)

    def _reach(self, number: int, tree: str, run: bool = False) -> None:
        """Note that `tree` leads to a page, and check that the page is what it should be."""
        at = number * self.page_bytes
        if not 1 < number <= self.last_page or at + self.page_bytes > len(self.data):
            raise _Damage(f"it was cut off or damaged: {tree} leads to page {number}")
        if number in self.reached:
            raise _Damage(f"page {number} is reached twice, in {tree} the second time")
        (own,) = struct.unpack_from("<Q", self.data, at)
        flags = self._flags(number) & ~_DIRTY
        if own != number or flags not in ((_OVERFLOW,) if run else (_BRANCH, _LEAF)):
            raise _Damage(f"page {number} is damaged: it says {own}, flags {flags}")
        self.reached[number] = _KINDS[flags], tree

    def _reach_run(self, number: int, size: int, tree: str) -> None:
        """The overflow pages of a value of `size` bytes. A value that was overwritten by a smaller
        one in the same transaction keeps its run, so the first page's header has the length."""
        self._reach(number, tree, run=True)
        (length,) = struct.unpack_from("<I", self.data, self._end_of_header(number) - 4)
        end = number + length
        if end - 1 > self.last_page or end * self.page_bytes > len(self.data):
            raise _Damage(f"it was cut off: the value in page {number} ends behind its end")
        if self.header + size > length * self.page_bytes:
            raise _Damage(f"page {number} is damaged: {size} bytes do not fit into its run")
        for more in range(number + 1, end):
            if more in self.reached:
                raise _Damage(f"page {more} is reached twice, in {tree} the second time")
            self.reached[more] = "overflow", tree

    def _read_free(self, record: bytes) -> None:
        """A record of the free list: how many pages, and their numbers."""
        self.free.update(struct.unpack(f"<{len(record) // 8}Q", record)[1:])

    # One page -------------------------------------------------------------------------------

    def _flags(self, number: int) -> int:
        return struct.unpack_from("<H", self.data, self._end_of_header(number) - 6)[0]

    def _end_of_header(self, number: int) -> int:
        return number * self.page_bytes + self.header

    def _nodes(self, number: int, tree: str) -> Iterator[tuple[slice, int, int, int, int | None]]:
        """Of each node: where its key lies, where its value lies, the value's size, flags, page."""
        at, data = number * self.page_bytes, self.data
        branch = self.reached[number][0] == "branch"
        lower, upper = struct.unpack_from("<HH", data, at + self.header - 4)
        count = (lower - self.header + self.base) // 2
        if count < branch or not lower <= upper <= self.page_bytes - self.base:
            raise _Damage(f"page {number} in {tree} is damaged: its room is {lower} to {upper}")
        end = at + self.page_bytes
        for place in struct.unpack_from(f"<{count}H", data, at + self.header):
            node = at + self.base + place
            low, high, flags, key_bytes = _NODE.unpack_from(data, node)
            value = node + 8 + key_bytes + (key_bytes % 2 if self.base and not branch else 0)
            key = slice(node + 8, node + 8 + key_bytes)
            size, page = low | high << 16, None
            if branch:
                page, size, flags = size | flags << 32, 0, 0
            elif flags & _BIG:
                (page,) = struct.unpack_from("<Q", data, value)
            elif flags & _DUPLICATES or flags & _TREE and size != _ROOTS.size:
                raise _Damage(f"page {number} in {tree} has duplicates, or is damaged")
            if place < upper or value + (8 if flags & _BIG else size) > end:
                raise _Damage(f"page {number} in {tree} is damaged: a node leads out of it")
            yield key, value, size, flags, page

    def _value(self, place: int, size: int, run: int | None) -> bytes:
        if run is not None:
            place = run * self.page_bytes + self.header
        return self.data[place : place + size]

    # All pages ------------------------------------------------------------------------------

    def pages(self) -> list[Page]:
        """Every page up to the last one that the commit knows."""
        return [self._page(number) for number in range(self.last_page + 1)]

    def _page(self, number: int) -> Page:
        if number < 2:
            return self._meta_page(number)
        if number not in self.reached:
            return Page(number, "free")
        kind, tree = self.reached[number]
        if kind == "overflow":
            return Page(number, kind, tree, (), self.page_bytes, _OVERFLOW)
        lower, upper = struct.unpack_from("<HH", self.data, self._end_of_header(number) - 4)
        cells = tuple(self._cell(*node) for node in self._nodes(number, tree))
        used = self.page_bytes - (upper - lower)
        return Page(number, kind, tree, cells, used, self._flags(number))

    def _meta_page(self, number: int) -> Page:
        at = self._end_of_header(number) + 24
        roots = [_ROOTS.unpack_from(self.data, at + _ROOTS.size * place)[-1] for place in (0, 1)]
        cells = tuple(
            Cell(name.encode(), page=root if root <= self.last_page else None)
            for name, root in zip((FREE_LIST, MAIN), roots, strict=True)
        )
        used = self.header + 24 + 2 * _ROOTS.size + 16
        flags, transaction = self._flags(number), self._metas[number][1]
        return Page(number, "meta", "", cells, used, flags, transaction)

    def _cell(self, key: slice, place: int, size: int, flags: int, page: int | None) -> Cell:
        value = self.data[place : place + size] if page is None else b""
        if flags & _TREE:
            page = _ROOTS.unpack_from(value)[-1]
        return Cell(self.data[key], value, size, None if page == _NO_PAGE else page)
