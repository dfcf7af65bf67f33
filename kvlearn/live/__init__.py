"""What is real: files of one's own on a real disk. Nothing here is loaded unless asked for by name.

```
lmdb_backend.py   the store's backend in a memory-mapped LMDB file: kill -9 loses no commit
lmdb_pages.py     the same file read page by page, for pictures and before it is trusted
```

Differs from the simulator in this alone: what the core is told and what it tells are the same.
"""
