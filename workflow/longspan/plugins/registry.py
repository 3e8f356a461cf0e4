"""Kinds of plug-ins: each member is one file here, or an entry point of another package.

A built-in member lies in the kind's package, in a module of its name. Another package adds one by an entry
point of the kind's group, whose name is the member's and which gives its class::

    [project.entry-points."longspan.selection_methods"]
    mine = "my_package.mine:Mine"

Only the member that is asked for is imported, so that a job depends on no other.
"""

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, get_origin

from longspan.plugins.options import Options, own_options


class PlugIn(Options):
    """One member of a kind. Its fields are its options.

    Attributes:
        name: what the settings call it; also the name of its module or entry point.
        citations: BibTeX entries, those of :mod:`longspan.plugins.citations` or its own.
    """

    name: ClassVar[str]
    citations: ClassVar[tuple[str, ...]] = ()

    @property
    def cited(self) -> tuple[str, ...]:
        """BibTeX entries of what its options use."""
        return self.citations

    @classmethod
    def description(cls) -> str:
        """The first sentence of its docstring: what it is, in the schema and in the docs."""
        return inspect.getdoc(cls).partition("\n")[0]


@dataclass(frozen=True)
class PlugInKind:
    """A kind of plug-ins.

    Attributes:
        what: what one is, in words.
        package: where the built-in members lie.
        group: group of entry points of other packages' members.
        base: class that all derive from.
    """

    what: str
    package: str
    group: str
    base: type[PlugIn]

    def names(self) -> list[str]:
        """Names of all members, the built-in ones first.

        Raises:
            ValueError: two members of one name.
        """
        return list(self._members())

    def __getitem__(self, name: str) -> type[PlugIn]:
        """The member of a name.

        Raises:
            ValueError: there is none, or two, or what its entry point gives cannot be used or is not whole.
        """
        members = self._members()
        if name not in members:
            near = get_close_matches(name, members, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"valid are: {', '.join(members)}"
            raise ValueError(f"there is no {self.what} '{name}'; {hint}")
        return self._load(name, members[name])

    def __iter__(self) -> Iterator[type[PlugIn]]:
        """All members."""
        return (self._load(name, point) for name, point in self._members().items())

    @functools.cache  # noqa: B019 - kinds live as long as the process, and jobs by the thousand ask
    def source_file(self, name: str) -> Path:
        """The file that defines a member."""
        return Path(inspect.getfile(self[name]))

    def of_settings(self, key: str, block: dict[str, Any]) -> PlugIn:
        """The member that `block[key]` names, with those of its options that the block holds."""
        found = self[block[key]]
        return found(**own_options(found, block))

    def _members(self) -> dict[str, importlib.metadata.EntryPoint | None]:
        """Entry points of all members by name, None for the built-in ones, which come first."""
        package = importlib.import_module(self.package)
        found = dict.fromkeys(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))
        points = sorted(_entry_points(tuple(sys.path)).select(group=self.group), key=lambda point: point.name)
        for point in points:
            if point.name in found:
                homes = [other.value for other in points if other.name == point.name]
                homes += [f"{self.package}.{point.name}"] if found[point.name] is None else []
                raise ValueError(
                    f"two {self.what}s are called '{point.name}': {', '.join(homes)}; remove one package"
                )
            found[point.name] = point
        return found

    def _load(self, name: str, point: importlib.metadata.EntryPoint | None) -> type[PlugIn]:
        if point is None:
            return self._checked(name, importlib.import_module(f"{self.package}.{name}"))
        try:
            found = point.load()
        except Exception as error:
            raise ValueError(
                f"{self.what} '{name}' of {_distribution(point)} cannot be loaded ({point.value}: {error})"
            ) from error
        return self._checked(name, found)

    def _checked(self, name: str, found: Any) -> type[PlugIn]:
        if inspect.ismodule(found):
            own = [value for value in vars(found).values() if self._is_member(value)]
            found = next((cls for cls in own if cls.__module__ == found.__name__), None)
        if not self._is_member(found) or found.name != name:
            raise ValueError(
                f"{self.what} '{name}' must be a class derived from "
                f"{self.base.__module__}.{self.base.__name__} "
                f"with name = '{name}'"
            )
        if lacking := [*_unset_attributes(found), *sorted(found.__abstractmethods__)]:
            raise ValueError(
                f"{self.what} '{name}' lacks {', '.join(lacking)}, which "
                f"{self.base.__module__}.{self.base.__name__} describes"
            )
        return found

    def _is_member(self, value: Any) -> bool:
        return inspect.isclass(value) and issubclass(value, self.base) and hasattr(value, "name")


def _unset_attributes(member: type[PlugIn]) -> list[str]:
    """Class attributes that its bases declare, and none gives a value."""
    declared = [
        name
        for cls in reversed(member.__mro__)
        for name, kind in vars(cls).get("__annotations__", {}).items()
        if get_origin(kind) is ClassVar and not name.startswith("_")
    ]
    return [name for name in dict.fromkeys(declared) if not hasattr(member, name)]


@functools.cache
def _entry_points(path: tuple[str, ...]) -> importlib.metadata.EntryPoints:
    """Those of all packages that are found on a path: looking for them opens a file of each package."""
    return importlib.metadata.entry_points()


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"
