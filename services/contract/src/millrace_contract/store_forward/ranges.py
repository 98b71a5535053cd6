"""Sets of whole numbers as sorted closed ranges: sequence numbers are many, but nearly always without gaps."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

Range = tuple[int, int]


def merge_ranges(ranges: Iterable[Range]) -> list[Range]:
    """Sorted, disjoint ranges that cover the same numbers; ranges that overlap or touch become one, empty ones go."""
    merged: list[Range] = []
    for first, last in sorted(pair for pair in ranges if pair[0] <= pair[1]):
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def ranges_of(numbers: Sequence[int]) -> list[Range]:
    """Rising numbers, at least one, as ranges. For many numbers at once it is far quicker than merging a range for each."""
    found: list[Range] = []
    first = last = numbers[0]
    for number in numbers:
        if number > last + 1:
            found.append((first, last))
            first = number
        last = number
    return [*found, (first, last)]


class RangeSet:
    """A mutable set of whole numbers; adding at the upper end and removing at the lower end cost constant time."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        """Return how many ranges there are, not how many numbers."""
        return len(self._firsts)

    def __iter__(self) -> Iterator[Range]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def lowest(self, numbers: int) -> list[Range]:
        """Return ranges of the lowest numbers, at most so many."""
        taken: list[Range] = []
        for first, last in zip(self._firsts, self._lasts, strict=True):
            if numbers <= 0:
                break
            taken.append((first, min(last, first + numbers - 1)))
            numbers -= last - first + 1
        return taken

    def add(self, first: int, last: int) -> None:
        """Add first..last, both included."""
        if self._lasts and first == self._lasts[-1] + 1:
            self._lasts[-1] = last
            return
        lower = bisect_left(self._lasts, first - 1)  # the first range that reaches first - 1 or beyond
        upper = bisect_right(self._firsts, last + 1)  # the first range that begins beyond last + 1
        if lower < upper:
            first = min(first, self._firsts[lower])
            last = max(last, self._lasts[upper - 1])
        self._firsts[lower:upper] = [first]
        self._lasts[lower:upper] = [last]

    def remove(self, first: int, last: int) -> None:
        """Remove first..last, both included; numbers that are not in the set do no harm."""
        lower = bisect_left(self._lasts, first)
        upper = bisect_right(self._firsts, last)
        if lower >= upper:
            return
        kept: list[Range] = []
        if self._firsts[lower] < first:
            kept.append((self._firsts[lower], first - 1))
        if self._lasts[upper - 1] > last:
            kept.append((last + 1, self._lasts[upper - 1]))
        self._firsts[lower:upper] = [pair[0] for pair in kept]
        self._lasts[lower:upper] = [pair[1] for pair in kept]

    def touching(self, first: int, last: int) -> list[Range]:
        """Return the ranges that have a number of first..last, or lie right beside it."""
        lower = bisect_left(self._lasts, first - 1)
        upper = bisect_right(self._firsts, last + 1)
        return list(zip(self._firsts[lower:upper], self._lasts[lower:upper], strict=True))

    def within(self, first: int, last: int) -> list[Range]:
        """Return what of first..last is in the set."""
        return [(max(low, first), min(high, last)) for low, high in self.touching(first, last) if low <= last and high >= first]

    def missing(self, first: int, last: int) -> Iterator[Range]:
        """Ranges of first..last that are not in the set, the lowest first. The set may not change meanwhile."""
        at = bisect_left(self._lasts, first)
        while first <= last:
            low, high = (self._firsts[at], self._lasts[at]) if at < len(self._firsts) else (last + 1, last + 1)
            if first < low:
                yield first, min(last, low - 1)
            first = high + 1
            at += 1

    def count(self) -> int:
        """Return how many numbers there are."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def keep_newest(self, ranges: int) -> None:
        """Forget the lowest ranges beyond that many."""
        if len(self._firsts) > ranges:
            del self._firsts[:-ranges]
            del self._lasts[:-ranges]

    def clear(self) -> None:
        """Forget everything."""
        self._firsts.clear()
        self._lasts.clear()
