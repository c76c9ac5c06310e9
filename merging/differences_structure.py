"""Where eutectic differs from mergekit in structure and vocabularies; see `differences`."""

from .difference import Difference

STRUCTURE = (
    Difference(
        "lost-sources",
        "norm and head, where the last slice has more sources than the first",
        "those beyond the first slice's number are lost",
        "all take part",
        "yes",
        "merging.alignment",
    ),
    Difference(
        "donor",
        "config and tokenizer without `base_model`",
        "those of a model that the hash seed picks",
        "those of the first model",
        "no: nobody could pick it again",
        "merging.recipe",
    ),
    Difference(
        "optional-tensors",
        "a tensor that is optional to the architecture and that some models lack",
        "merged from those that have it; some methods pass a lone one on, or leave it out",
        "refused, with the models",
        "no: a merge of fewer models is another merge",
        "merging.compatibility",
    ),
    Difference(
        "unnamed-modules",
        "a module that `modules` does not name",
        "missing from the output",
        "taken as it is from the base, with a warning",
        "no: the output would not load",
        "merging.modules",
    ),
    Difference(
        "default-module",
        "the module `default` beside other modules",
        "tensors outside all stacks",
        "all that no other module claims",
        "no: a name for less would be another recipe",
        "merging.modules",
    ),
    Difference(
        "widths",
        "slices of models of different widths",
        "not checked",
        "refused, with the place",
        "no: the output would not load",
        "merging.alignment",
    ),
    Difference(
        "fused-experts",
        "experts of a mixture",
        "one tensor, as transformers 5 holds them: thresholds, norms and angles span all",
        "merged as they are stored, expert by expert",
        "no: the recipe speaks of what is stored",
        "merging.conversion",
    ),
)

VOCABULARIES = (
    Difference(
        "union-order",
        "rows of the tokens that `union` adds",
        "in the order of a hash, other in every run",
        "in the order of the recipe, then of ids",
        "no: nobody could order them so again",
        "merging.vocabulary_alignment",
    ),
    Difference(
        "token-ids",
        "`*_token_id` in configs",
        "the base's, whatever the tokenizer",
        "those of the output's tokenizer",
        "no: generation would not end",
        "merging.speech",
    ),
    Difference(
        "gaps",
        "ids that no token has, tokens beyond the rows of a model",
        "fails",
        "rows of padding; the tokens are left out",
        "no: nothing is merged",
        "merging.output_tokenizer",
    ),
    Difference(
        "row-means",
        "rows that are means of others",
        "rounded at every step",
        "in float32, rounded once",
        "no: only rows that a model lacks",
        "merging.aligned",
    ),
    Difference(
        "templates",
        "built-in chat templates",
        "with line breaks of their own",
        "as the formats are published",
        "no: those are mergekit's own texts",
        "merging.chat_templates",
    ),
    Difference(
        "no-tokenizer",
        "a tokenizer that does not load",
        "taken to be the base's",
        "refused",
        "no: its rows may mean anything",
        "merging.output_tokenizer",
    ),
)
