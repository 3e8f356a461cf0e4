"""Questions over documents: SQuAD's and HotpotQA's, among documents that do not tell the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longspan.evaluation.ruler.drawing import Draw, Drawer
from longspan.evaluation.ruler.prompts import TaskWords


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        query: its words.
        answers: any of them is right.
        evidence: documents that tell the answer, by their numbers.
        near: other documents of the same article.
    """

    query: str
    answers: list[str]
    evidence: list[int]
    near: list[int]


@dataclass(frozen=True)
class Questions:
    """A data set of questions, and the documents of all of them, sorted."""

    questions: Sequence[Question]
    documents: Sequence[str]


def squad_questions(content: Any) -> Questions:
    """SQuAD's questions that have an answer."""
    articles = [article["paragraphs"] for article in content["data"]]
    documents = sorted({paragraph["context"] for article in articles for paragraph in article})
    number_of = {document: number for number, document in enumerate(documents)}
    questions = []
    for article in articles:
        numbers = [number_of[paragraph["context"]] for paragraph in article]
        for number, paragraph in zip(numbers, article, strict=True):
            questions += [
                Question(
                    query=question["question"],
                    answers=[answer["text"] for answer in question["answers"]],
                    evidence=[number],
                    near=[other for other in numbers if other != number],
                )
                for question in paragraph["qas"]
                if not question["is_impossible"]
            ]
    return Questions(questions, documents)


def hotpotqa_questions(content: Any) -> Questions:
    """HotpotQA's questions, with their ten documents."""
    contexts = [[f"{title}\n{''.join(parts)}" for title, parts in entry["context"]] for entry in content]
    documents = sorted({document for context in contexts for document in context})
    number_of = {document: number for number, document in enumerate(documents)}
    questions = [
        Question(entry["question"], [entry["answer"]], [number_of[document] for document in context], [])
        for entry, context in zip(content, contexts, strict=True)
    ]
    return Questions(questions, documents)


READERS = {"squad": squad_questions, "hotpotqa": hotpotqa_questions}


class QuestionDrawer(Drawer):
    """Draws the documents around a question; the questions come in the data set's order.

    Args:
        words: the task's words.
        questions: the data set.
        seed: what all draws depend on.
    """

    step = 10
    unit = "documents"

    def __init__(self, words: TaskWords, questions: Questions, *, seed: int):
        super().__init__(seed)
        self._words, self._questions = words, questions
        # With all of them in it, the published generator loses track of which is which.
        self.most_units = len(questions.documents) - 1
        self.most_samples = len(questions.questions)

    def draw(self, units, index=0):
        """Documents of the article first, then any others."""
        question, documents = self._questions.questions[index], self._questions.documents
        known = question.evidence + question.near
        if units - len(question.evidence) > len(question.near):
            left_out = set(known)
            others = [number for number in range(len(documents)) if number not in left_out]
            numbers = known + self.random.sample(others, max(0, units - len(known)))
        else:
            numbers = question.evidence + self.random.sample(question.near, units - len(question.evidence))
        numbers = self.shuffled(numbers)

        def write() -> str:
            context = "\n\n".join(
                f"Document {place}:\n{documents[number]}" for place, number in enumerate(numbers, start=1)
            )
            return self._words.filled(context=context, query=question.query)

        return Draw(question.answers, write, f" {question.answers}")
