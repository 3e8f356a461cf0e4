"""Controls of runs: what a gain is held against, as trainings of their own.

After the settings are checked, `add_controls` gives each control the blocks that it needs, under names that
hold a `~` and that nobody can give. From there on they are losses, selections and runs like all others:
wiring, cards, estimate and report need not know of them. The settings are written without them, so that a
record of settings gives the same trainings again.
"""

from dataclasses import dataclass

from longspan_workflow.settings.blocks import LOSSES, SELECTIONS, LossBlock, Run, SelectionBlock, Settings

_PLAIN = "control~plain"


@dataclass(frozen=True)
class Arm:
    """A training that is judged, and those that it is held against.

    Attributes:
        run, loss: of the training.
        controls: run and loss of each control, by the control's name.
    """

    run: Run
    loss: LossBlock
    controls: dict[str, tuple[Run, LossBlock]]


def is_plain(loss: LossBlock) -> bool:
    """Whether a loss is cross-entropy with all weights 1."""
    return loss.weighting().is_plain and getattr(loss, "exposure", None) is None


def add_controls(settings: Settings) -> None:
    """Add the blocks of all controls to settings that have no fault."""
    for run in list(settings.runs.values()):
        names = [name for control in ("plain", "shuffled") for name in _extra_losses(settings, run, control)]
        if names:
            settings.derive("runs", run.key, run, _control_losses=tuple(names))
        if "random_windows" in run.control_names:
            _add_random_windows(settings, settings.runs[run.key])


def arms(settings: Settings) -> list[Arm]:
    """Trainings that are no control themselves, by run and loss, with their controls."""
    return [
        Arm(run, loss, {name: _control(settings, run, loss, name) for name in _controls_of(run, loss)})
        for run in settings.runs.values()
        if run.control_of is None
        for loss in run.losses
        if loss.key in run.own_loss_names
    ]


def _controls_of(run: Run, loss: LossBlock) -> list[str]:
    """Those that say something of a loss: plain cross-entropy has no weights to take away or shuffle."""
    return [name for name in run.control_names if name == "random_windows" or not is_plain(loss)]


def _control(settings: Settings, run: Run, loss: LossBlock, name: str) -> tuple[Run, LossBlock]:
    if name == "random_windows":
        control = settings.runs[f"{run.key}~random_windows"]
        return control, control.losses[0]
    if name == "shuffled":
        return run, settings.losses[f"{loss.key}~shuffled"]
    return run, settings.losses[_plain_name(run)]


def _plain_name(run: Run) -> str:
    """The plain loss among a run's own, or one that is added."""
    return next((loss.key for loss in run.losses if is_plain(loss)), _PLAIN)


def _extra_losses(settings: Settings, run: Run, control: str) -> list[str]:
    if control not in run.control_names:
        return []
    if control == "plain":
        if _plain_name(run) != _PLAIN:
            return []
        _add_plain_loss(settings)
        return [_PLAIN]
    names = []
    for loss in run.losses:
        if not is_plain(loss):
            names.append(f"{loss.key}~shuffled")
            settings.derive("losses", names[-1], loss, shuffle_weights=True)
    return names


def _add_plain_loss(settings: Settings) -> None:
    if _PLAIN not in settings.losses:
        settings.derive("losses", _PLAIN, LOSSES["plain"].model_validate({"variant": "plain"}))


def _add_random_windows(settings: Settings, run: Run) -> None:
    if _plain_name(run) == _PLAIN:
        _add_plain_loss(settings)
    key = f"{run.key}~random_windows"
    changes = {"selection_name": _random_selection(settings, run.selection).key, "select_first": False}
    changes |= {"loss": _plain_name(run), "controls": None}
    settings.derive("runs", key, run, **changes, _control_of=run, _control_losses=())


def _random_selection(settings: Settings, selection: SelectionBlock) -> SelectionBlock:
    """One that keeps as much of the same windows, at random: the user's own, or one that is added."""
    like = {"windowing": selection.windowing_name, "method": "random", "keep": selection.keep.as_settings()}
    own = (block for block in settings.selections.values() if block.as_settings() == like)
    if (found := next(own, None)) is not None:
        return found
    key = f"{selection.key}~random"
    settings.derive("selections", key, SELECTIONS["random"].model_validate(like))
    return settings.selections[key]
