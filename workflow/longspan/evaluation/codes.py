"""Names and values that stand in no text by chance, for sentences that are put into one."""

from random import Random

_QUALITIES = """
    amber ancient azure bitter bright broken copper crimson crooked distant dusty early eastern empty faded
    frozen gentle gilded golden hidden hollow humble ivory jagged lonely lucky marble mellow misty narrow
    noble northern painted pale patient polished quiet ragged restless royal rusty sacred salted scarlet
    secret silent silver simple slender southern speckled steady stormy sunken tangled timid velvet violet
    wandering western whispering wooden woven yellow
"""
_THINGS = """
    anchor anvil arbour balcony barrel basket beacon bellows bridge cabinet candle canyon castle cellar
    chapel chimney compass cottage cradle curtain dagger fountain furnace garden glacier granary hammer
    harbour harvest helmet island kettle ladder lagoon lantern lattice ledger library lighthouse meadow
    mirror monument orchard pavilion pebble pendulum piano quarry rampart ribbon saddle shelter shutter
    steeple tavern telescope terrace thicket tower tunnel vessel village vineyard workshop
"""


def draw_names(draw: Random, count: int, *, absent_from: str = "") -> list[str]:
    """Pairs of words, each once, none of which stands in a text.

    Raises:
        ValueError: there are not so many.
    """
    text, found = absent_from.lower(), []
    for _ in range(100 * max(count, 1)):
        if len(found) == count:
            break
        name = f"{draw.choice(_QUALITIES.split())} {draw.choice(_THINGS.split())}"
        if name not in found and name not in text:
            found.append(name)
    if len(found) < count:
        raise ValueError(f"there are no {count} names that the text lacks; ask for fewer")
    return found


def draw_codes(draw: Random, count: int, *, absent_from: str = "") -> list[str]:
    """Numbers of five digits, each once, none of which stands in a text."""
    found: list[str] = []
    while len(found) < count:
        code = str(draw.randint(10000, 99999))
        if code not in found and code not in absent_from:
            found.append(code)
    return found
