"""What can be wrong with a user's task, and with a candidate's answers.

EvaluationError         the root: a fault of the input, told in one message, exit code 2
├── TaskError           a task's file, column, prompt, choice or lm-eval name
├── NoGoldError         a task without a gold answer whose loss could be taken
└── ExhaustedError      memory ran out in a pass: a smaller token budget may do
NonFiniteError          not the user's fault: a candidate whose logits are NaN or Inf; its trial
fails
"""


class EvaluationError(ValueError):
    """A fault of the user's tasks; its text is the whole message."""


class TaskError(EvaluationError):
    """A fault of one task; the message names the task, the file and, where there is one.

    The line.
    """


class NoGoldError(EvaluationError):
    """A task has no gold answer that a loss could be taken of; the message says why."""


class ExhaustedError(EvaluationError):
    """Memory ran out in a pass: what was asked may fit with fewer tokens at once."""


class NonFiniteError(ArithmeticError):
    """A candidate gave NaN or Inf: its scores do not exist, its trial is marked failed."""
