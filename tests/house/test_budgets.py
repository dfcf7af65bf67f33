"""The core stays an evening's reading, and no file or function outgrows a reader's head."""

from __future__ import annotations

from pathlib import Path

from tests.house import floors, measure

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvlearn"

# The first measure, 2,600 and 1,000, was a prototype's: without refusals that say why, snapshots in
# chunks and joint changes of members. From 4,700 on, real members asked for a directory of numbers
# and URLs, and for users, roles and permissions: all of it is replicated, so all of it is core.
CORE_LINES = 5350  # floors 0 to 2 without the client
CLIENT = ("client.py", "handles.py", "words.py")
RAFT_LINES = 1300
FILE_LINES = 700  # prose and all
FUNCTION_LINES = 40
COLUMNS = 100
SCENE_LINES = 120  # a longer transcript's diff nobody reads


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def code(paths: list[Path]) -> int:
    return sum(len(measure.code_lines(path.read_text(encoding="utf-8"))) for path in paths)


def test_the_core_keeps_its_budget():
    table = floors.read((ROOT / "README.md").read_text(encoding="utf-8"))
    core = [
        path
        for path in modules()
        if table.floor.get(room := floors.room_of(path.relative_to(PACKAGE)), 9) <= floors.LOW
        and room not in CLIENT
    ]
    assert len(core) > 10, "the core was not found"
    assert code(core) <= CORE_LINES


def test_raft_keeps_its_budget():
    assert 0 < code(sorted((PACKAGE / "raft").glob("*.py"))) <= RAFT_LINES


def test_no_file_is_too_long():
    files = [p for kind in ("py", "js", "css") for p in PACKAGE.rglob(f"*.{kind}")]
    lines = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in files}
    long = [f"{name} has {count} lines" for name, count in lines.items() if count > FILE_LINES]
    assert not long, "\n".join(long)


def test_no_function_is_too_long():
    long = [
        f"{path.relative_to(ROOT)} {name} has {lines} lines of code"
        for path in modules()
        for name, lines in measure.functions(path.read_text(encoding="utf-8")).items()
        if lines > FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_no_line_is_too_wide():
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*modules(), *sorted((ROOT / "tests").rglob("*.py"))]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > COLUMNS
    ]
    assert not wide, "\n".join(wide)


def test_no_transcript_is_too_long():
    scenes = (ROOT / "tests" / "transcripts").rglob("*.txt")
    assert [s.name for s in scenes if len(s.read_bytes().splitlines()) > SCENE_LINES] == []


def test_the_measure_sees_what_is_too_long():
    body = "".join(f"    x = {n}\n" for n in range(FUNCTION_LINES))
    assert measure.functions(f"def f():\n{body}") == {"f:1": FUNCTION_LINES + 1}
    assert measure.functions(f'def f():\n    """Doc.\n    """\n    # why\n\n{body}') == {
        "f:1": FUNCTION_LINES + 1
    }
