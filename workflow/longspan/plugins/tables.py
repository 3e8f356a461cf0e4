"""Plug-ins that write tables of a kind of their own."""

from typing import ClassVar

from longspan.plugins.registry import PlugIn
from longspan.store.contracts import Contract, add_contract


class WithTable(PlugIn):
    """A plug-in whose results are tables of one kind.

    Attributes:
        table: kind of the tables that it writes.
        contract: columns of these tables, where :mod:`longspan.store.contracts` does not know them yet.
    """

    table: ClassVar[str]
    contract: ClassVar[Contract | None] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **options) -> None:
        """Make the tables of a new member known to their readers."""
        if "table" in vars(cls) and cls.contract is not None:
            add_contract(cls.table, cls.contract)
