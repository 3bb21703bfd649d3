"""Reading bits, most significant first."""

from __future__ import annotations


class Bits:
    """A reader over bytes; past the end it gives zeros."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        """The next `count` bits as an unsigned number."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def golomb(self) -> int:
        """The next unsigned Exp-Golomb number, ue(v) of ITU-T H.264, 9.1."""
        rest = self._value & ((1 << self._left) - 1) if self._left > 0 else 0
        zeros = min(self._left - rest.bit_length(), 32) if rest else 32
        self._left -= zeros + 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_golomb(self) -> int:
        """The next signed Exp-Golomb number, se(v) of ITU-T H.264, 9.1.1."""
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)
