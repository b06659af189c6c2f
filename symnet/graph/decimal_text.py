"""Exact decimal texts of whole numbers of any length: orders of groups
soon have tens of thousands of digits.
"""

from __future__ import annotations

# Python turns integers of up to 4,300 digits into text and refuses longer ones, for the whole
# process.
_CHUNK = 4000


def decimal_text(number: int) -> str:
    """All digits of a whole number.

    Example:
        >>> len(decimal_text(10**5000))
        5001
    """
    if number < 0:
        return "-" + decimal_text(-number)
    return _text(number, max(int(number.bit_length() * 0.30103), 1)).lstrip("0") or "0"


def short_decimal_text(number: int, most: int = 40) -> str:
    """The number if it has few digits, else its first ones and how many there are.

    Example:
        >>> short_decimal_text(24), short_decimal_text(10**50)
        ('24', '1.000e+50')
    """
    digits = decimal_text(number)
    return digits if len(digits) <= most else f"{digits[0]}.{digits[1:4]}e+{len(digits) - 1}"


def _text(number: int, digits: int) -> str:
    """A text of at least this many digits, padded with zeros: halves are turned into text apart."""
    if digits <= _CHUNK:
        return str(number).zfill(digits)
    half = digits // 2
    high, low = divmod(number, 10**half)
    return _text(high, digits - half) + _text(low, half)
