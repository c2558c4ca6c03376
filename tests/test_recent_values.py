"""Values in the order of their last use, in bounded memory."""

from p2l.recent_values import RecentValues


def test_the_least_recently_used_are_dropped_until_the_others_fit() -> None:
    kept: RecentValues[str] = RecentValues()
    for name, size in ((b"a", 3), (b"b", 4), (b"c", 5)):
        assert kept.put(name, name.decode(), size) is None
    kept.touch(b"a")
    assert kept.get(b"b") == "b"  # no use of it
    assert kept.shrink(9) == ["b"] and kept.num_bytes == 8 and b"b" not in kept
    assert kept.shrink(8) == []
    assert kept.shrink(0) == ["c", "a"] and (len(kept), kept.num_bytes) == (0, 0)


def test_a_value_replaces_its_own_bytes_and_becomes_the_newest() -> None:
    kept: RecentValues[str | None] = RecentValues()
    kept.put(b"a", None, 7)
    kept.put(b"b", "old", 2)
    assert b"a" in kept and kept.get(b"a") is None
    assert kept.put(b"a", "new", 1) is None and kept.num_bytes == 3
    assert kept.put(b"b", "newer", 2) == "old"
    assert kept.shrink(2) == ["new"]
    assert kept.pop(b"b") == "newer" and kept.pop(b"b") is None and kept.num_bytes == 0
