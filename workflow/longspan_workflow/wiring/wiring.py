"""Everything that the rule files know, made once from the settings."""

from collections.abc import Callable

from longspan_workflow.settings.blocks import Settings
from longspan_workflow.wiring.evaluations import Evaluations
from longspan_workflow.wiring.exports import Exports
from longspan_workflow.wiring.models import Models
from longspan_workflow.wiring.pages import Pages
from longspan_workflow.wiring.places import Places
from longspan_workflow.wiring.reports import Reports
from longspan_workflow.wiring.runs import Runs
from longspan_workflow.wiring.scores import Scores
from longspan_workflow.wiring.selections import Selections
from longspan_workflow.wiring.texts import Texts
from longspan_workflow.wiring.windows import Windows


class Wiring:
    """The twin of each rule file.

    Args:
        settings: the settings.
        here: gives a path as it is on the disk; see `Places`.
    """

    def __init__(self, settings: Settings, here: Callable[[str], str] = str):
        self.settings = settings
        self.places = Places(settings.results_dir, settings.downloads_dir, here)
        self.models = Models(settings, self.places)
        self.texts = Texts(settings, self.places)
        self.windows = Windows(settings, self.places)
        self.scores = Scores(settings, self.places, self.windows)
        self.selections = Selections(settings, self.places, self.windows, self.scores)
        self.exports = Exports(settings, self.places, self.windows)
        self.runs = Runs(settings, self.places, self.windows, self.scores)
        self.evaluations = Evaluations(settings, self.places, self.windows)
        self.reports = Reports(settings, self.places, self.windows, self.scores, self.runs, self.evaluations)
        self.pages = Pages(
            settings,
            self.places,
            self.windows,
            self.scores,
            self.selections,
            self.runs,
            self.evaluations,
            self.reports,
        )
