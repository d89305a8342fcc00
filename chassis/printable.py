"""Text from outside on a terminal: no character moves the cursor, ends the line or turns the reading direction."""


def printable(text: str) -> str:
    """Escape control, format and separator characters as Python spells them."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
