"""What the tasks of this folder name with `!function`."""


def right_word(doc):
    """The index of the word that fits: 0 where the answer is yes."""
    return 0 if doc["yes"] else 1


def beginnings(doc):
    """The sentence up to its blank, with one word and the other in it."""
    before = doc["sentence"].split("_")[0]
    first, second = (doc["word"], "stone") if doc["yes"] else ("stone", doc["word"])
    return [before + first, before + second]


def rest(doc):
    """The sentence after its blank."""
    return doc["sentence"].split("_")[1].strip()


def without_short(dataset):
    """Documents whose answer has five letters and more."""
    return dataset.filter(lambda doc: len(doc["a"]) >= 5)


def two_to_four(doc):
    """Choices, more of them for longer names."""
    return [doc["a"], *doc["choices"][: len(doc["q"]) - 3]]


def beginnings_of_answer(doc):
    """The answer, and all that it begins with: some are what a model would write."""
    return [doc["a"][:length] for length in range(len(doc["a"]), 0, -1)]


def margins(doc, results):
    """How far the right choice is ahead of the best other one."""
    right, *others = (loglikelihood for loglikelihood, _ in results)
    return {"margin": right - max(others, default=0.0), "wins": [right > one for one in others]}


def most_wins(items):
    """The largest number of choices that a right one is ahead of."""
    return float(max(sum(wins) for wins in items))


def overlap(references, predictions):
    """The share of the reference's letters that the answer has."""
    return len(set(references[0]) & set(predictions[0])) / len(set(references[0]))
