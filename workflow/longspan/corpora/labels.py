"""Titles, ids and groups of rows, whatever type their column has."""

import datetime
import decimal
import math
import numbers
import uuid

from longspan.corpora.limits import label_fault
from longspan.corpora.raw_files import Fault, Row

_PRINTED = (
    numbers.Number,
    decimal.Decimal,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
)
_KINDS = {list: "a list", dict: "an object", bytes: "bytes that are not UTF-8"}


def label_in(row: Row, column: str | None) -> str | Fault | None:
    """The value of a column as text; None where there is none.

    Numbers and dates become what Python prints of them; what is no label, as a list, is a fault.
    """
    value = row.get(column) if column else None
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return _fault(value, column)
    if isinstance(value, Fault):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        return str(value) if isinstance(value, _PRINTED) else _fault(value, column)
    if (place := value.find("\0")) >= 0:
        return Fault("bad column", f"has a NUL byte in column '{column}' (at character {place})")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return Fault("bad column", f"has a lone surrogate in column '{column}' (at character {error.start})")
    if detail := label_fault(value, column):
        return Fault("too long", detail)
    return value


def _fault(value: object, column: str) -> Fault:
    kind = _KINDS.get(type(value), f"a value of type {type(value).__name__}")
    return Fault("bad column", f"has {kind} in column '{column}', where text or a number is wanted")
