"""How byte-level vocabularies spell bytes."""


def byte_spellings():
    """GPT-2's printable character for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(b if b in plain else next(hidden)) for b in range(256)]
