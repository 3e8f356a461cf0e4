"""The words around a task: its template, the form of a prompt, and how the answer begins."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptForm:
    """What stands before and after a task's words; nothing does for a base model.

    Attributes:
        before, after: of a chat, what its template puts around the user's words.
    """

    before: str = ""
    after: str = ""


BASE_FORM = PromptForm()


@dataclass(frozen=True)
class TaskWords:
    """A task's template and the beginning of its answer, in a form.

    Attributes:
        template, answer_prefix: with fields in braces.
        form: what stands around the template; braces in it are just braces.
    """

    template: str
    answer_prefix: str
    form: PromptForm = BASE_FORM

    def filled(self, **fields: object) -> str:
        """The whole prompt."""
        task, answer = self.template.format(**fields), self.answer_prefix.format(**fields)
        return f"{self.form.before}{task}{self.form.after}{answer}"

    def replaced(self, *pairs: tuple[str, str]) -> "TaskWords":
        """With some words for others, one pair after another."""
        template, answer_prefix = self.template, self.answer_prefix
        for old, new in pairs:
            template, answer_prefix = template.replace(old, new), answer_prefix.replace(old, new)
        return TaskWords(template, answer_prefix, self.form)
