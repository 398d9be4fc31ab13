"""Numbers and amounts as a person reads them."""

import math


def short(value: float) -> str:
    """A number to three digits: `0.912`, `3.21`, `1,240`, `2.5e-05`; infinity and what is missing in words.

    >>> [short(value) for value in (0.91234, 1239.6, 0.000025, -3.0, float("inf"), float("nan"))]
    ['0.912', '1,240', '2.5e-05', '-3', 'infinite', 'unknown']
    """
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite" if value > 0 else "minus infinity"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 trial`, `2,000 trials`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def lasting(seconds: float) -> str:
    """A time: `45 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`.

    >>> [lasting(seconds) for seconds in (0.4, 45, 200, 7500, 273600)]
    ['0.4 s', '45 s', '3 min 20 s', '2 h 5 min', '3 days 4 h']
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    for size, unit, part, smaller in ((86400, "days", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size * (2 if unit == "days" else 1):
            whole, rest = divmod(round(seconds / part), size // part)
            return f"{whole} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.0f} s"


def many(count: float) -> str:
    """A large count: `57,600`, `1.9 million`, `2.4 billion`."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:,.0f}"
